package redisengine_test

import (
	"context"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// A server that stood still finds commands whose callers have given up. It must
// not claim for them: nobody would have the jobs until the lease ends.
func TestLateClaimsTakeNothing(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	one, other := open(t, s.URL(), nil), open(t, s.URL(), nil)
	req := engine.ClaimRequest{Kind: engine.Deliver, Max: 100, MaxPerLane: 100, Lease: time.Hour}
	if _, err := one.Claim(t.Context(), req); err != nil {
		t.Fatal(err)
	}
	var jobs []engine.Job
	for range 50 {
		jobs = append(jobs, engine.Job{Event: newEvent(), Lane: deliver("due")})
	}
	if _, err := other.Push(t.Context(), engine.PushRequest{Jobs: jobs}); err != nil {
		t.Fatal(err)
	}
	held, err := other.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{{Event: newEvent(), Lane: deliver("held"), Lease: time.Hour}}})
	if err != nil {
		t.Fatal(err)
	}

	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	extended := make(chan error)
	go func() {
		_, err := other.Settle(ctx, []engine.Outcome{{Ticket: held.Tickets[0], Result: engine.Extend, After: 2 * time.Hour}})
		extended <- err
	}()
	if _, err := one.Claim(ctx, req); err == nil {
		t.Error("a server that stands still let a claim succeed")
	}
	if err := <-extended; err == nil {
		t.Error("a server that stands still let a settlement succeed")
	}
	s.Resume()

	// Both connections have answered once these have.
	for _, e := range []engine.Engine{one, other} {
		if err := e.Defer(t.Context(), deliver("another"), time.Second); err != nil {
			t.Fatal(err)
		}
	}
	res, err := other.Claim(t.Context(), req)
	if err != nil || len(res.Jobs) != len(jobs) {
		t.Errorf("%d of %d jobs are to be had, %v: the others were claimed for a caller that had given up", len(res.Jobs), len(jobs), err)
	}
	settled, err := other.Settle(t.Context(), []engine.Outcome{{Ticket: held.Tickets[0], Result: engine.Done}})
	if err != nil || !settled[0].OK {
		t.Errorf("the ticket is stale, %v: it was extended for a caller that had given up", err)
	}
}

// A server whose clock jumps is asked again.
func TestServerClockMayJump(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	e := open(t, s.URL(), nil)
	push(t, e, "job")
	e.SetServerTime(time.Now().Add(-time.Hour))
	res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 1, MaxPerLane: 1, Lease: time.Minute})
	if err != nil || len(res.Jobs) != 1 {
		t.Errorf("claimed %d jobs, %v", len(res.Jobs), err)
	}
}

// The age of a job is what the server says, however long its last answer was on
// its way.
func TestAgesAreByTheServersClock(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	e := open(t, s.URL(), nil)
	oldest := func(what string) {
		t.Helper()
		stats, err := e.Lanes(t.Context())
		if err != nil || len(stats) != 1 {
			t.Fatal(stats, err)
		}
		if age := stats[0].Oldest; age > time.Minute {
			t.Errorf("%s that was pushed just now is %v old", what, age)
		}
	}
	e.SetServerTime(time.Now().Add(-time.Hour))
	pushed, err := e.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{{Event: newEvent(), Lane: deliver("l"), Lease: time.Hour}}})
	if err != nil {
		t.Fatal(err)
	}
	oldest("a leased job")
	e.SetServerTime(time.Now().Add(-time.Hour))
	_, err = e.Settle(t.Context(), []engine.Outcome{{Ticket: pushed.Tickets[0], Result: engine.Done, Follow: []engine.Job{{Event: newEvent(), Lane: deliver("l"), Lease: time.Hour}}}})
	if err != nil {
		t.Fatal(err)
	}
	oldest("a follow-up job")
}
