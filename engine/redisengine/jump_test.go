package redisengine_test

import (
	"fmt"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// held is what must neither end nor stand still when the clock jumps.
type held struct {
	t      *testing.T
	leased engine.Ticket
}

// inexact is how much may be wrong after a jump of hours: how far it went is
// known no more exactly than the calls took that found out.
const inexact = time.Minute

// hold leases, delays, defers, registers and keeps for an hour.
func hold(t *testing.T, e *redisengine.Engine) *held {
	t.Helper()
	ctx := t.Context()
	event := func(id string) *engine.Event { return &engine.Event{ID: id, Channel: "c"} }
	res, err := e.Push(ctx, engine.PushRequest{Jobs: []engine.Job{
		{Event: event("leased"), Lane: deliver("leased"), Lease: time.Hour},
		{Event: event("delayed"), Lane: deliver("delayed"), Delay: time.Hour},
		{Event: event("deferred"), Lane: deliver("deferred")},
	}})
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Defer(ctx, deliver("deferred"), time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := e.AddSubscriber(ctx, "channel", "http://a", time.Hour); err != nil {
		t.Fatal(err)
	}
	if _, err := e.SwapAttribute(ctx, "group", "name", nil, []byte("value"), time.Hour); err != nil {
		t.Fatal(err)
	}
	return &held{t, res.Tickets[0]}
}

// check makes sure that all that is as it was, and that work goes on at once.
func (h *held) check(what string, e *redisengine.Engine) {
	h.t.Helper()
	t, ctx := h.t, h.t.Context()
	claim := func(lease time.Duration) []engine.Claimed {
		t.Helper()
		res, err := e.Claim(ctx, engine.ClaimRequest{Kind: engine.Deliver, Max: 10, MaxPerLane: 10, Lease: lease})
		if err != nil {
			t.Fatal(err)
		}
		if res.Next > time.Hour+inexact {
			t.Errorf("%s: the next job is due in %v", what, res.Next)
		}
		return res.Jobs
	}
	id := "new " + strconv.FormatInt(time.Now().UnixNano(), 10)
	push(t, e, id)
	jobs := claim(time.Hour)
	if len(jobs) != 1 || jobs[0].Event.ID != id || jobs[0].Age > time.Minute {
		t.Fatalf("%s: claimed %+v, want the job that was pushed just now", what, jobs)
	}
	settle(t, e, engine.Outcome{Ticket: jobs[0].Ticket, Result: engine.Retry, After: 50 * time.Millisecond})
	redistest.Eventually(t, what+": a retry is due", func() bool { jobs = claim(time.Hour); return len(jobs) > 0 })
	if len(jobs) != 1 || jobs[0].Event.ID != id {
		t.Fatalf("%s: claimed %+v, want the job to be tried again", what, jobs)
	}
	settle(t, e, engine.Outcome{Ticket: jobs[0].Ticket, Result: engine.Done})
	page, err := e.LanePage(ctx, engine.LaneQuery{})
	if err != nil || len(page) != 3 {
		t.Fatalf("%s: the lanes are %+v, %v", what, page, err)
	}
	for _, l := range page {
		left := l.Next
		if l.Lane.Name == "deferred" {
			left = l.Deferred
		}
		if l.Jobs != 1 || left > time.Hour || left < 50*time.Minute {
			t.Errorf("%s: a lane holds %+v", what, l)
		}
	}
	if a := audiences(t, e, 10, "channel"); len(a[0].CallbackURLs) != 1 {
		t.Errorf("%s: the audience is %v", what, a)
	}
	settle(t, e, engine.Outcome{Ticket: claim(time.Hour)[0].Ticket, Result: engine.Done}) // that audiences has pushed
	if a, err := e.Attribute(ctx, "group", "name"); err != nil || a.Age > time.Hour || a.Left > time.Hour+inexact || a.Left < 50*time.Minute {
		t.Errorf("%s: an attribute is %+v, %v", what, a, err)
	}
	if removed, err := e.RemoveSubscriber(ctx, "channel", "http://a", 30*time.Minute); removed || err != nil {
		t.Errorf("%s: a registration counts as old: %v, %v", what, removed, err)
	}
	s, err := e.Settle(ctx, []engine.Outcome{{Ticket: h.leased, Result: engine.Extend, After: time.Hour}})
	if err != nil || !s[0].OK {
		t.Fatalf("%s: the ticket of a lease is stale: %v, %v", what, s, err)
	}
	h.leased = s[0].Ticket
}

// offset is by how much the store's time is ahead of the server's.
func offset(t *testing.T, s *redistest.Server, namespace string) time.Duration {
	t.Helper()
	text, err := s.Try("HGET", "{"+namespace+"}:2:meta", "offset").ToString()
	if err != nil {
		return 0
	}
	micros, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return time.Duration(micros) * time.Microsecond
}

// idle claims from several processes at the same time.
func idle(t *testing.T, engines ...*redisengine.Engine) {
	t.Helper()
	var wg sync.WaitGroup
	for range 8 {
		for _, e := range engines {
			wg.Go(func() {
				if _, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Handle, Max: 1, MaxPerLane: 1, Lease: time.Hour}); err != nil {
					t.Error(err)
				}
			})
		}
	}
	wg.Wait()
}

// The clock of the server is set, forward and back. Several processes notice at
// the same time, and make up for it once.
func TestClockOfTheServerJumps(t *testing.T) {
	t.Parallel()
	for _, shards := range []int{1, 3} {
		t.Run(fmt.Sprintf("%d_shards", shards), func(t *testing.T) {
			t.Parallel()
			s := redistest.StartWithClock(t)
			o := &redisengine.Options{Shards: shards}
			a, b := open(t, s.URL(), o), open(t, s.URL(), o)
			h := hold(t, a)
			h.check("before", b)
			for _, ahead := range []time.Duration{2 * time.Hour, -time.Hour, 90 * time.Minute, 365 * 24 * time.Hour, 0, -365 * 24 * time.Hour, 30 * time.Second} {
				s.SetClock(ahead)
				idle(t, a, b)
				h.check(fmt.Sprintf("%v ahead", ahead), b)
				if shards > 1 {
					continue
				}
				if off := offset(t, s, "toot:0"); (off + ahead).Abs() > 2*time.Second {
					t.Errorf("the clock is set %v ahead, and %v were taken off", ahead, -off)
				}
			}
			// A process that opens the store afterwards has nothing to make up.
			before := offset(t, s, "toot:0")
			h.check("for a new process", open(t, s.URL(), o))
			if after := offset(t, s, "toot:0"); after != before {
				t.Errorf("the offset went from %v to %v", before, after)
			}
		})
	}
}

// A process that begins after a jump leaves it to those that were there to
// notice, and makes them.
func TestClockJumpsBeforeAProcessBegins(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"forward": 2 * time.Hour, "back": -2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.StartWithClock(t)
			a := open(t, s.URL(), nil)
			h := hold(t, a)
			woken := make(chan bool, 1)
			defer a.Watch(func(engine.Kind) {
				select {
				case woken <- true:
				default:
				}
			})()
			stop := make(chan bool)
			var wg sync.WaitGroup
			wg.Go(func() {
				for {
					select {
					case <-woken:
						idle(t, a)
					case <-stop:
						return
					}
				}
			})
			defer wg.Wait()
			defer close(stop)
			redistest.Eventually(t, "it watches", func() bool {
				channels, err := s.Try("PUBSUB", "CHANNELS").AsStrSlice()
				return err == nil && len(channels) > 0
			})
			idle(t, a)
			s.SetClock(ahead)
			b := open(t, s.URL(), nil)
			h.check(name, b)
			h.check(name, a)
		})
	}
	t.Run("back_and_nobody_is_there", func(t *testing.T) {
		t.Parallel()
		s := redistest.StartWithClock(t)
		a := open(t, s.URL(), nil)
		h := hold(t, a)
		_ = a.Close()
		s.SetClock(-2 * time.Hour)
		h.check("back", open(t, s.URL(), nil))
	})
}

// A server that stood still, and a process that did not hear of the time that
// went by, are no jumps.
func TestStandingStillIsNoJump(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a, b := open(t, s.URL(), nil), open(t, s.URL(), nil)
	h := hold(t, a)
	a.SetServerTime(time.Now().Add(-time.Hour)) // its machine slept
	h.check("after sleep", a)
	h.check("for another", b)
	s.Pause()
	done := make(chan error)
	go func() {
		_, err := a.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{{Event: newEvent(), Lane: engine.Lane{Kind: engine.Handle, Name: "l"}, Lease: time.Hour}}})
		done <- err
	}()
	time.Sleep(11 * time.Second)
	s.Resume()
	idle(t, b)
	if err := <-done; err != nil {
		t.Logf("the push that met a pause: %v", err)
	}
	if off := offset(t, s, "toot:0"); off != 0 {
		t.Errorf("%v were made up for", off)
	}
}

// The server that takes over may have another clock.
func TestFailoverToAnotherClock(t *testing.T) {
	t.Parallel()
	for name, ahead := range map[string]time.Duration{"ahead": 2 * time.Hour, "behind": -2 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := redistest.StartPairWithClocks(t, durable...)
			p.Replica.SetClock(ahead)
			a, b := open(t, p.URL(), nil), open(t, p.URL(), nil)
			h := hold(t, a)
			h.check("before", b)
			redistest.AwaitReplica(t, p.Master, p.Replica)
			p.Master.Kill()
			p.AwaitFailover()
			redistest.Eventually(t, "both have found it", func() bool { return a.Ping(t.Context()) == nil && b.Ping(t.Context()) == nil })
			idle(t, a, b)
			h.check("after the failover", b)
			if off := offset(t, p.Replica, "toot:0"); (off + ahead).Abs() > 2*time.Second {
				t.Errorf("the clock is %v ahead, and %v were taken off", ahead, -off)
			}
		})
	}
}

// Handlers that are running when the clock is set run on, and no other begins
// with what they have in hand.
func TestAppsOutliveAClock(t *testing.T) {
	t.Parallel()
	server := redistest.StartWithClock(t)
	s := newSystem(t, server.URL(), 2, 100*time.Millisecond, 30*time.Second)
	stop := s.flow()
	s.flows()
	for _, ahead := range []time.Duration{2 * time.Hour, -2 * time.Hour, time.Hour} {
		server.SetClock(ahead)
		s.flows()
	}
	stop()
	if twice := s.reconcile(time.Minute); twice > 0 {
		t.Errorf("%d events were handled twice", twice)
	}
}
