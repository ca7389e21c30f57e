package sqliteengine

import (
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

func TestAJobIsRememberedForOneToTwoWindows(t *testing.T) {
	t.Parallel()
	clock := newFakeClock()
	e := open(t, tempFile(t), &Options{Retention: engine.Retention{Dedupe: time.Hour}, Time: clock.read})
	for step := range 30 {
		// A generation begins with this job, the others come at any time
		// after that.
		settleAll(t, e, push(t, e, newJobs("first", 1, testLane, time.Minute)), engine.Outcome{Result: engine.Done})
		clock.add(time.Duration(step) * 2 * time.Minute)
		jobs := newJobs("job", 3, testLane, time.Minute)
		tickets := push(t, e, jobs)
		if tickets[0] == "" {
			t.Fatalf("step %d: a job is still known after two windows", step)
		}
		settleAll(t, e, tickets, engine.Outcome{Result: engine.Done})
		clock.add(time.Hour - time.Second)
		if push(t, e, jobs)[0] != "" {
			t.Fatalf("step %d: a job was forgotten within the window", step)
		}
		clock.add(time.Hour + 2*time.Second)
	}
}

func TestAJobThatWaitsIsRememberedAsLongAsItWaits(t *testing.T) {
	t.Parallel()
	clock := newFakeClock()
	e := open(t, tempFile(t), &Options{Retention: engine.Retention{Dedupe: time.Hour}, Time: clock.read})
	// More than a transaction looks at, so that the walk has several steps.
	jobs := newJobs("job", 3*carryChunk, testLane, 0)
	for i := range jobs {
		jobs[i].Delay = 1000 * time.Hour
	}
	push(t, e, jobs)
	moving := newJobs("moving", 10, testLane, 2000*time.Hour)
	tickets := push(t, e, moving)
	for round := range 4 {
		clock.add(time.Hour + time.Minute)
		// This call begins with the first step of the walk, and the jobs move
		// from ahead of it to behind it.
		if n := settleAll(t, e, tickets, engine.Outcome{Result: engine.Retry}); n != 10 {
			t.Fatalf("round %d: %d of 10 tickets are good", round, n)
		}
		finishWalk(t, e)
		res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 20, MaxPerLane: 20, Lease: 2000 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		if tickets = ticketsOf(res.Jobs); len(tickets) != 10 {
			t.Fatalf("round %d: %d of 10 jobs were claimed", round, len(tickets))
		}
	}
	for from := 0; from < len(jobs); from += 500 {
		push(t, e, jobs[from:from+500])
	}
	push(t, e, moving)
	stats, err := e.Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if got := stats[0].Waiting + stats[0].Leased; got != len(jobs)+10 {
		t.Errorf("the lane has %d jobs, want %d: some were stored twice", got, len(jobs)+10)
	}
}

// finishWalk makes transactions until no walk is under way.
func finishWalk(t *testing.T, e *Engine) {
	t.Helper()
	for carrying := true; carrying; {
		err := e.do(t.Context(), "walk", &op{run: func(w *writer) error {
			carrying = w.seen.carrying
			return nil
		}})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhatIsForgottenTakesNoRoom(t *testing.T) {
	t.Parallel()
	clock := newFakeClock()
	e := open(t, tempFile(t), &Options{Retention: engine.Retention{Dedupe: time.Hour}, Time: clock.read})
	settleAll(t, e, push(t, e, newJobs("job", 100, testLane, time.Minute)), engine.Outcome{Result: engine.Done})
	keep := engine.Lane{Kind: engine.Handle, Name: "keep"}
	push(t, e, newJobs("keep", 1, keep, 100*time.Hour))
	for range 10 {
		clock.add(time.Hour + time.Minute)
		if err := e.Defer(t.Context(), keep, 0); err != nil {
			t.Fatal(err)
		}
	}
	err := e.read(t.Context(), "test", func(c *conn) error {
		for sql, want := range map[string]int64{
			"SELECT (SELECT count(*) FROM seen0) + (SELECT count(*) FROM seen1) > 2": 0,
			"SELECT count(*) FROM lanes":  1,
			"SELECT count(*) FROM events": 1,
		} {
			got, err := c.queryInt(sql)
			if err != nil {
				return err
			}
			if got != want {
				t.Errorf("%s: %d, want %d", sql, got, want)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
