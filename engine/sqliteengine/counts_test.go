package sqliteengine

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

func lanePage(t *testing.T, e *Engine, q engine.LaneQuery) []engine.LaneSummary {
	t.Helper()
	page, err := e.LanePage(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return page
}

func wantJobs(t *testing.T, e *Engine, want int) {
	t.Helper()
	got := 0
	for _, l := range lanePage(t, e, engine.LaneQuery{}) {
		got += l.Jobs
	}
	if got != want {
		t.Errorf("the lanes have %d jobs, want %d", got, want)
	}
}

func TestLanesAreCounted(t *testing.T) {
	t.Parallel()
	e := open(t, tempFile(t), nil)
	tickets := push(t, e, newJobs("a", 100, testLane, time.Minute))
	wantJobs(t, e, 100)
	settleAll(t, e, tickets[:30], engine.Outcome{Result: engine.Done})
	settleAll(t, e, tickets[:30], engine.Outcome{Result: engine.Done}) // stale
	wantJobs(t, e, 70)
	settleAll(t, e, tickets[30:40], engine.Outcome{Result: engine.Bury})
	wantJobs(t, e, 60)
	for i, r := range []engine.Result{engine.Retry, engine.Release, engine.Extend} {
		settleAll(t, e, tickets[40+i:41+i], engine.Outcome{Result: r, After: time.Minute})
	}
	push(t, e, newJobs("a", 100, testLane, time.Minute)) // known
	wantJobs(t, e, 60)
	dead, err := e.Dead(t.Context(), engine.DeadQuery{})
	if err != nil {
		t.Fatal(err)
	}
	if n, err := e.Redrive(t.Context(), []string{dead[0].ID}); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	wantJobs(t, e, 61)
	settleAll(t, e, tickets[50:51], engine.Outcome{Result: engine.Done, Follow: []engine.Job{
		{Lane: engine.Lane{Kind: engine.Handle, Name: "one"}}, {Lane: engine.Lane{Kind: engine.Handle, Name: "two"}},
	}})
	wantJobs(t, e, 62)
	failure := errors.New("failed")
	err = e.do(t.Context(), "test", &op{run: func(w *writer) error {
		w.counts.add(1, 1000)
		return failure
	}})
	if !errors.Is(err, failure) {
		t.Fatal(err)
	}
	wantJobs(t, e, 62)
}

// anyCall has the writer make a transaction.
func anyCall(t *testing.T, e *Engine) { inWriter(t, e, func(*writer) error { return nil }) }

func TestCountsAreWrittenNowAndThen(t *testing.T) {
	t.Parallel()
	clock, file := newFakeClock(), tempFile(t)
	opts := &Options{Time: clock.read}
	a, b := open(t, file, opts), open(t, file, opts)
	push(t, a, newJobs("a", 10, testLane, 0))
	push(t, a, newJobs("b", 10, testLane, 0))
	clock.add(5 * time.Second)
	anyCall(t, a)
	wantJobs(t, b, 20)
	tickets := push(t, b, newJobs("c", 10, testLane, time.Minute))
	settleAll(t, a, tickets[:9], engine.Outcome{Result: engine.Done})
	clock.add(5 * time.Second)
	anyCall(t, a)
	anyCall(t, b)
	wantJobs(t, a, 21)
	// An idle writer does it without a call; by the clock of the machine.
	e := open(t, tempFile(t), nil)
	push(t, e, newJobs("a", 10, testLane, 0))
	deadline := time.Now().Add(time.Minute)
	for owes := int64(1); owes > 0; time.Sleep(50 * time.Millisecond) {
		err := e.read(t.Context(), "test", func(c *conn) (err error) {
			owes, err = c.queryInt("SELECT count(*) FROM owners WHERE uncounted > 0")
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if time.Now().After(deadline) {
			t.Fatal("after a minute counts are not right")
		}
	}
}

func TestWhatADeadProcessOwedIsCounted(t *testing.T) {
	t.Parallel()
	clock, file := newFakeClock(), tempFile(t)
	opts := &Options{Time: clock.read}
	a, b := open(t, file, opts), open(t, file, opts)
	push(t, a, newJobs("a", 10, testLane, 0))
	// a dies, as far as b can see: it has not written what it owes.
	clock.add(21 * time.Second)
	wantJobs(t, b, 10)
	// It was only held up, and what it owed has been counted.
	push(t, a, newJobs("b", 5, testLane, 0))
	clock.add(4 * time.Second)
	anyCall(t, a)
	wantJobs(t, b, 15)
	wantJobs(t, a, 15)
}

func TestWhatAKilledProcessOwedIsCountedByTheNext(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	cmd, out := startChild(t, "push", file)
	line(t, out, "pushed")
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait()
	wantJobs(t, open(t, file, nil), 50)
}

func TestPagesOfLanes(t *testing.T) {
	t.Parallel()
	clock := newFakeClock()
	e := open(t, tempFile(t), &Options{Time: clock.read})
	ctx := t.Context()
	var want []string
	for _, kind := range []engine.Kind{engine.FanOut, engine.Deliver, engine.Handle} {
		for i := range 5 {
			l := engine.Lane{Kind: kind, Name: fmt.Sprint("lane", i)}
			switch i {
			case 0: // neither jobs nor deferred
				settleAll(t, e, push(t, e, newJobs(fmt.Sprint(kind, i), 3, l, time.Minute)), engine.Outcome{Result: engine.Done})
				continue
			case 1: // deferred only
				if err := e.Defer(ctx, l, time.Hour); err != nil {
					t.Fatal(err)
				}
			default:
				push(t, e, newJobs(fmt.Sprint(kind, i), i, l, time.Duration(i-2)*time.Minute))
			}
			want = append(want, fmt.Sprint(kind, l.Name))
		}
	}
	clock.add(time.Minute)
	var got []string
	var after engine.Lane
	for {
		page := lanePage(t, e, engine.LaneQuery{After: after, Max: 5})
		if len(page) == 0 {
			break
		}
		for _, l := range page {
			got = append(got, fmt.Sprint(l.Lane.Kind, l.Lane.Name))
			after = l.Lane
			var jobs int
			var deferred, next time.Duration
			switch l.Lane.Name {
			case "lane1":
				deferred = 59 * time.Minute
			case "lane2":
				jobs, next = 2, -time.Minute
			case "lane3":
				jobs = 3 // due just now
			case "lane4":
				jobs, next = 4, time.Minute
			}
			if l.Jobs != jobs || l.Deferred != deferred || l.Next != next {
				t.Errorf("got %+v, want %d jobs, deferred for %v, next in %v", l, jobs, deferred, next)
			}
		}
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("lanes %v, want %v", got, want)
	}
	for _, q := range []engine.LaneQuery{
		{Kind: engine.Deliver},
		{Kind: engine.Deliver, After: engine.Lane{Kind: engine.FanOut, Name: "z"}},
	} {
		if page := lanePage(t, e, q); len(page) != 4 || page[0].Lane.Kind != engine.Deliver {
			t.Errorf("%+v: %+v", q, page)
		}
	}
	if page := lanePage(t, e, engine.LaneQuery{Kind: engine.Deliver, After: engine.Lane{Kind: engine.Handle, Name: "a"}}); len(page) != 0 {
		t.Errorf("behind its kind there are %+v", page)
	}
}
