package sqliteengine

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine/internal/sqlite"
)

var jumps = []time.Duration{-25 * time.Hour, -time.Hour, -11 * time.Second, 11 * time.Second, time.Hour, 25 * time.Hour}

// eachJump runs f for jumps in both directions, with two processes on a file.
// Both look at the clock before, as processes do.
func eachJump(t *testing.T, f func(t *testing.T, clock *fakeClock, a, b *Engine, jump func())) {
	for _, d := range jumps {
		t.Run(d.String(), func(t *testing.T) {
			t.Parallel()
			clock, file := newFakeClock(), tempFile(t)
			opts := &Options{Retention: engine.Retention{Dedupe: time.Hour}, Time: clock.read}
			a, b := open(t, file, opts), open(t, file, opts)
			f(t, clock, a, b, func() {
				a.clock.now()
				b.clock.now()
				clock.jump(d)
			})
		})
	}
}

func claimIDs(t *testing.T, e *Engine, lease time.Duration) (ids []string, next time.Duration) {
	t.Helper()
	res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 100, MaxPerLane: 100, Lease: lease})
	if err != nil {
		t.Fatal(err)
	}
	for _, j := range res.Jobs {
		ids = append(ids, j.Event.ID)
	}
	return ids, res.Next
}

func TestAJumpOfWallTimeMovesNothingThatWaits(t *testing.T) {
	t.Parallel()
	eachJump(t, func(t *testing.T, clock *fakeClock, a, b *Engine, jump func()) {
		later := newJobs("later", 1, testLane, 0)
		later[0].Delay = 10 * time.Minute
		push(t, a, later)
		deferred := engine.Lane{Kind: engine.Deliver, Name: "deferred"}
		if err := a.Defer(t.Context(), deferred, 20*time.Minute); err != nil {
			t.Fatal(err)
		}
		push(t, a, newJobs("deferred", 1, deferred, 0))
		leased := push(t, a, newJobs("leased", 1, testLane, 30*time.Minute))
		jump()
		for i, step := range []struct {
			after time.Duration
			want  string
		}{{0, "[]"}, {9 * time.Minute, "[]"}, {time.Minute, "[later-000000]"}, {10 * time.Minute, "[deferred-000000]"}, {9 * time.Minute, "[]"}, {time.Minute, "[leased-000000]"}} {
			clock.add(step.after)
			if ids, _ := claimIDs(t, []*Engine{b, a}[i%2], 100*time.Hour); fmt.Sprint(ids) != step.want {
				t.Fatalf("step %d: due are %v, want %s", i, ids, step.want)
			}
			jump() // and another one in the same direction
		}
		if n := settleAll(t, a, leased, engine.Outcome{Result: engine.Done}); n != 0 {
			t.Error("the lease did not end")
		}
	})
}

func TestAJumpOfWallTimeEndsNoLeaseThatIsExtended(t *testing.T) {
	t.Parallel()
	eachJump(t, func(t *testing.T, clock *fakeClock, a, b *Engine, jump func()) {
		tickets := push(t, a, newJobs("running", 1, testLane, time.Minute))
		for range 20 {
			clock.add(20 * time.Second)
			jump()
			if ids, _ := claimIDs(t, b, time.Minute); ids != nil {
				t.Fatal("a job that is being worked on runs again")
			}
			settled, err := a.Settle(t.Context(), []engine.Outcome{{Ticket: tickets[0], Result: engine.Extend, After: time.Minute}})
			if err != nil || !settled[0].OK {
				t.Fatal(settled, err)
			}
			tickets[0] = settled[0].Ticket
		}
	})
}

func TestAJumpIsTakenUpOnce(t *testing.T) {
	t.Parallel()
	eachJump(t, func(t *testing.T, clock *fakeClock, a, b *Engine, jump func()) {
		push(t, a, newJobs("a", 1, testLane, 0))
		push(t, b, newJobs("b", 1, testLane, 0))
		before := a.clock.now()
		jump()
		for i := range 10 {
			clock.add(time.Second)
			for _, e := range []*Engine{a, b, b, a} {
				push(t, e, newJobs(fmt.Sprint("c", i), 1, testLane, 0))
			}
		}
		for _, e := range []*Engine{a, b} {
			if got := e.clock.now() - before; got != (10 * time.Second).Microseconds() {
				t.Errorf("the clock went on by %v in ten seconds", time.Duration(got)*time.Microsecond)
			}
		}
		inWriter(t, a, func(w *writer) error {
			if w.time.jumps != 1 {
				t.Errorf("the offset was changed %d times", w.time.jumps)
			}
			return nil
		})
	})
}

func TestAJumpOfWallTimeMovesNoWindow(t *testing.T) {
	t.Parallel()
	eachJump(t, func(t *testing.T, clock *fakeClock, a, b *Engine, jump func()) {
		job := newJobs("job", 1, testLane, time.Minute)
		settleAll(t, a, push(t, a, job), engine.Outcome{Result: engine.Done})
		if kept, err := a.Remember(t.Context(), "key", []byte("value"), time.Hour); string(kept) != "value" || err != nil {
			t.Fatal(err)
		}
		if ok, err := a.SwapAttribute(t.Context(), "group", "name", nil, []byte("value"), time.Hour); !ok || err != nil {
			t.Fatal(err)
		}
		if ok, err := a.AddSubscriber(t.Context(), "channel", "https://example.org/", time.Hour); !ok || err != nil {
			t.Fatal(err)
		}
		jump()
		clock.add(59 * time.Minute)
		for _, e := range []*Engine{b, a} {
			wantSubscribers(t, e, 1)
			if a, err := e.Attribute(t.Context(), "group", "name"); err != nil || a.Age != 59*time.Minute || a.Left != time.Minute {
				t.Errorf("the attribute: %+v, %v", a, err)
			}
			if kept, err := e.Remember(t.Context(), "key", []byte("other"), time.Minute); err != nil || string(kept) != "value" {
				t.Errorf("remembered: %q, %v", kept, err)
			}
			if push(t, e, job)[0] != "" {
				t.Error("a job was forgotten within the window")
			}
		}
		jump()
		clock.add(time.Minute)
		for _, e := range []*Engine{b, a} {
			wantSubscribers(t, e, 0)
			if a, err := e.Attribute(t.Context(), "group", "name"); err != nil || a.Value != nil {
				t.Errorf("the attribute: %+v, %v", a, err)
			}
		}
		if kept, err := b.Remember(t.Context(), "key", []byte("other"), time.Minute); err != nil || string(kept) != "other" {
			t.Errorf("remembered: %q, %v", kept, err)
		}
		clock.add(61 * time.Minute)
		if push(t, b, job)[0] == "" {
			t.Error("a job is still known after two windows")
		}
	})
}

// wantSubscribers asks for the subscribers of "channel" in all ways there are.
func wantSubscribers(t *testing.T, e *Engine, want int) {
	t.Helper()
	urls, err := e.Subscribers(t.Context(), "channel")
	if err != nil || len(urls) != want {
		t.Errorf("Subscribers: %v, %v; want %d", urls, err, want)
	}
	channels, err := e.Channels(t.Context(), "")
	if err != nil || len(channels["channel"]) != want || want == 0 && len(channels) > 0 {
		t.Errorf("Channels: %v, %v; want %d", channels, err, want)
	}
	res, err := e.Push(t.Context(), engine.PushRequest{Channels: []string{"channel"}, MaxSubscribers: 100})
	if err != nil || len(res.Audiences) != 1 || res.Audiences[0].Err != nil || len(res.Audiences[0].CallbackURLs) != want {
		t.Errorf("Push: %+v, %v; want %d", res.Audiences, err, want)
	}
}

func TestDeadLettersAreShownByTheWallTimeOfNow(t *testing.T) {
	t.Parallel()
	eachJump(t, func(t *testing.T, clock *fakeClock, a, b *Engine, jump func()) {
		settleAll(t, a, push(t, a, newJobs("job", 1, testLane, time.Minute)), engine.Outcome{Result: engine.Bury})
		jump()
		clock.add(time.Minute)
		wall, _ := clock.read()
		dead, err := b.Dead(t.Context(), engine.DeadQuery{Since: wall.Add(-2 * time.Minute), Until: wall})
		if err != nil || len(dead) != 1 {
			t.Fatalf("%d dead letters, error %v", len(dead), err)
		}
		if got := wall.Sub(dead[0].At); got < 59*time.Second || got > 61*time.Second || dead[0].Age != time.Minute {
			t.Errorf("buried %v ago, age %v; want a minute", got, dead[0].Age)
		}
	})
}

// While nobody has the file open, wall time is all there is; but it does not
// take the clock back.
func TestAFileThatWasClosedForADay(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ wall, passed time.Duration }{{24 * time.Hour, 24 * time.Hour}, {-24 * time.Hour, 0}} {
		t.Run(c.wall.String(), func(t *testing.T) {
			t.Parallel()
			clock, file := newFakeClock(), tempFile(t)
			e, err := Open(file, &Options{Time: clock.read})
			if err != nil {
				t.Fatal(err)
			}
			push(t, e, newJobs("leased", 1, testLane, 20*time.Hour))
			before := e.clock.now()
			if err := e.Close(); err != nil {
				t.Fatal(err)
			}
			clock.jump(c.wall) // another process: its monotonic time says nothing
			e = open(t, file, &Options{Time: clock.read})
			got := time.Duration(e.clock.now()-before) * time.Microsecond
			if d := got - c.passed; d < -10*time.Second || d > 10*time.Second {
				t.Errorf("the clock went on by %v, want about %v", got, c.passed)
			}
			ids, _ := claimIDs(t, e, time.Minute)
			if want := c.passed > 20*time.Hour; (len(ids) == 1) != want {
				t.Errorf("due are %v; want the lease to have ended: %v", ids, want)
			}
		})
	}
}

// A process that calls nothing takes the jump up in time for one that opens the
// file after it.
func TestAnIdleProcessTakesAJumpUp(t *testing.T) {
	t.Parallel()
	clock, file := newFakeClock(), tempFile(t)
	a := open(t, file, &Options{Time: clock.read})
	defer a.Watch(func(engine.Kind) {})() // as every app does
	push(t, a, newJobs("running", 1, testLane, time.Minute))
	clock.jump(time.Hour)
	for range 100 {
		time.Sleep(20 * time.Millisecond)
		c, err := openConn(file, sqlite.Existing, nil)
		if err != nil {
			t.Fatal(err)
		}
		n, err := c.queryInt("SELECT clock_jumps FROM state")
		if err := c.close(); err != nil {
			t.Fatal(err)
		}
		if err != nil || n == 1 {
			break
		}
	}
	b := open(t, file, &Options{Time: clock.read})
	if ids, _ := claimIDs(t, b, time.Minute); ids != nil {
		t.Error("a job that is being worked on runs again")
	}
}

// A jump that a transaction was to write is not lost with it.
func TestAJumpOutlivesATransactionThatFails(t *testing.T) {
	t.Parallel()
	eachJump(t, func(t *testing.T, clock *fakeClock, a, b *Engine, jump func()) {
		push(t, a, newJobs("leased", 1, testLane, time.Minute))
		clock.add(30 * time.Second)
		before := a.clock.now()
		jump()
		for range 3 {
			err := a.do(t.Context(), "test", &op{run: func(*writer) error { return context.DeadlineExceeded }})
			if err == nil {
				t.Fatal("no error")
			}
		}
		push(t, a, newJobs("more", 1, testLane, time.Hour))
		push(t, b, newJobs("other", 1, testLane, time.Hour))
		if a.clock.now() != before || b.clock.now() != before {
			t.Errorf("the clocks went on by %d and %d µs", a.clock.now()-before, b.clock.now()-before)
		}
	})
}

// Small steps are no jumps, also where they add up for a process that looks
// rarely: it does not quarrel with one that looks often.
func TestProcessesThatSeeDifferentJumpsAgree(t *testing.T) {
	t.Parallel()
	for _, step := range []time.Duration{-6 * time.Second, 6 * time.Second} {
		clock, file := newFakeClock(), tempFile(t)
		busy, rare := open(t, file, &Options{Time: clock.read}), open(t, file, &Options{Time: clock.read})
		push(t, busy, newJobs("a", 1, testLane, 0))
		push(t, rare, newJobs("b", 1, testLane, 0))
		for i := range 20 {
			clock.add(time.Second)
			if i%5 == 0 {
				clock.jump(step)
			}
			push(t, busy, newJobs(fmt.Sprint("c", i), 1, testLane, 0))
		}
		before := busy.clock.now()
		for i := range 20 {
			clock.add(time.Second)
			push(t, rare, newJobs(fmt.Sprint("d", i), 1, testLane, 0))
			push(t, busy, newJobs(fmt.Sprint("e", i), 1, testLane, 0))
		}
		if d := busy.clock.now() - rare.clock.now(); d < -1000 || d > 1000 {
			t.Errorf("the clocks differ by %d µs", d)
		}
		inWriter(t, busy, func(w *writer) error {
			if w.time.jumps > 1 {
				t.Errorf("the offset was changed %d times", w.time.jumps)
			}
			return nil
		})
		if got := time.Duration(busy.clock.now()-before) * time.Microsecond; got < 0 || got > time.Minute {
			t.Errorf("the clock went on by %v", got)
		}
	}
}
