package enginetest

import (
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var closeChecks = []check{
	{"keeps_everything", 0, func(e *env) { survives(e, (*client).close) }},
	{"is_not_needed_to_keep_everything", 0, func(e *env) { survives(e, (*client).abandon) }},
	{"keeps_dead_letters", deadLetters, closeDead},
	{"keeps_the_dedupe_window", 0, closeWindow},
	{"twice_is_harmless", 0, closeTwice},
	{"ends_every_method_with_ErrClosed", 0, closeMethods},
	{"waits_for_calls_under_way", 0, closeWaits},
}

// survives fills a store, ends its engine, and looks whether another finds
// everything.
func survives(e *env, end func(*client)) {
	e.Helper()
	if e.h.NotShared && e.h.Abandon == nil {
		end = (*client).close // two may not be open
	}
	a := e.open()
	a.push(job("waiting", deliver("lane")))
	a.push(job("retried", deliver("retried")))
	o := outcome(a.one("a pushed job is due", deliver("retried")), engine.Retry)
	o.Attempt, o.History = 3, []byte("three")
	a.works("Retry takes effect", o)
	a.push(job("claimed", deliver("claimed")), job("lapsed", deliver("lapsed")))
	claimed := a.one("a pushed job is due", deliver("claimed"))
	a.push(job("deferred", deliver("deferred")), job("done", deliver("done")))
	a.done(a.one("a pushed job is due", deliver("done")))
	a.deferFor(deliver("deferred"), long)
	a.add(channel, url1, true)
	a.add(channel, url2, true)
	a.remove(channel, url2, true)
	leased := a.push(engine.Job{Event: event("leased"), Lane: deliver("leased"), Lease: long})[0]
	called := time.Now()
	a.push(engine.Job{Event: event("delayed"), Lane: deliver("delayed"), Delay: brief})
	a.oneOf("a pushed job is due", engine.ClaimRequest{Only: []string{"lapsed"}, Lease: brief})
	f := outcome(a.fanout("fanned"), engine.Done)
	f.Follow = []engine.Job{{Lane: deliver("fanned")}}
	a.works("Done with follow-ups takes effect", f)
	end(a)

	b := e.open()
	for _, n := range []string{"waiting", "retried", "fanned"} {
		l := deliver(n)
		if n == "waiting" {
			l = deliver("lane")
		}
		j := b.one("a job survives", l)
		if err := same(j.Event, event(n)); err != nil {
			e.Errorf("an event must survive unchanged: %v", err)
		}
		if n == "retried" && (j.Attempt != 3 || string(j.History) != "three") {
			e.Errorf("attempt and history must survive: got %d, %q", j.Attempt, j.History)
		}
	}
	b.none("a lease survives", deliver("claimed"), deliver("leased"))
	b.none("a deferral survives", deliver("deferred"))
	b.none("that a job was done survives", deliver("done"))
	b.again("that a job was done survives", event("done"), deliver("done"))
	b.again("that a job waits survives", event("deferred"), deliver("deferred"))
	b.has("subscribers survive", channel, url1)
	if all := b.channels(""); len(all) != 1 || !slices.Equal(all[channel], []string{url1}) {
		e.Errorf("subscribers must survive: Channels is %q", all)
	}
	b.soon("a delay survives", called, brief, deliver("delayed"))
	b.soon("a lease survives and ends", called, brief, deliver("lapsed"))
	b.lift(deliver("deferred"))
	b.one("a job in a deferred lane survives", deliver("deferred"))
	b.works("a ticket survives", outcome(claimed, engine.Done), engine.Outcome{Ticket: leased, Result: engine.Release})
	b.one("a job pushed under a lease survives", deliver("leased"))
}

func closeDead(e *env) {
	a, l := e.open(), deliver("lane")
	a.bury(event("e"), l, "reason")
	id := a.deadN(1, engine.DeadQuery{})[0].ID
	a.close()
	b := e.open()
	dead := b.dead(engine.DeadQuery{})
	if len(dead) != 1 || dead[0].ID != id || dead[0].Reason != "reason" {
		e.Fatalf("dead letters must survive: got %+v", dead)
	}
	b.again("that a job is dead survives", event("e"), l)
	b.redrive(1, id)
	j := b.one("a dead letter can be redriven after Close", l)
	if err := same(j.Event, event("e")); err != nil {
		e.Errorf("the event of a dead letter must survive: %v", err)
	}
}

func closeWindow(e *env) {
	const window = time.Second
	a, l := e.openWith(engine.Retention{Dedupe: window}), deliver("lane")
	called := time.Now()
	a.push(job("e", l))
	a.done(a.one("a pushed job is due", l))
	a.close()
	b := e.openWith(engine.Retention{Dedupe: window})
	e.eventually("a job that was done before Close is forgotten when the window has passed", func() bool {
		return b.pushed(event("e"), l)
	})
	if early := window - time.Since(called); early > clockGrain {
		e.Fatalf("a job that was done before Close must be remembered for the dedupe window: forgotten %v too early, of %v", early, window)
	}
}

func closeTwice(e *env) {
	a := e.open()
	a.close()
	a.close()
}

func closeMethods(e *env) {
	a := e.open()
	a.subscribers(channel) // and it may remember the answer
	ticket := a.push(engine.Job{Event: event("leased"), Lane: deliver("leased"), Lease: long})[0]
	a.close()
	for name, call := range a.methods(ticket, "unknown") {
		if err := call(e.ctx); !errors.Is(err, engine.ErrClosed) {
			e.Errorf("%s must return ErrClosed after Close: got %v", name, err)
		}
	}
	a.Watch(func(engine.Kind) {})()
}

// Whatever a call said before Close must be true afterwards.
func closeWaits(e *env) {
	a := e.open()
	var mu sync.Mutex
	var wg sync.WaitGroup
	stored := map[string]bool{}
	for p := range 4 {
		wg.Go(func() {
			for i := 0; ; i++ {
				id := fmt.Sprintf("%d-%d", p, i)
				_, err := a.Push(e.ctx, engine.PushRequest{Jobs: []engine.Job{job(id, deliver("lane"))}})
				if err != nil {
					if !errors.Is(err, engine.ErrClosed) {
						e.Errorf("a Push that Close came before must return ErrClosed: got %v", err)
					}
					return
				}
				mu.Lock()
				stored[id] = true
				mu.Unlock()
			}
		})
	}
	for name, call := range a.methods("garbage", "unknown") {
		if name == "Claim" || name == "Defer" {
			continue // would hide the jobs
		}
		wg.Go(func() {
			for {
				if err := call(e.ctx); err != nil {
					if !errors.Is(err, engine.ErrClosed) {
						e.Errorf("%s while Close is called must succeed or return ErrClosed: got %v", name, err)
					}
					return
				}
			}
		})
	}
	e.eventually("calls succeed", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return len(stored) > 20
	})
	var closers sync.WaitGroup
	for range 3 {
		closers.Go(func() {
			if err := a.Close(); err != nil {
				e.Errorf("Close while calls are under way: %v", err)
			}
		})
	}
	closers.Wait()
	wg.Wait()
	b := e.open()
	found := map[string]bool{}
	for {
		js := b.take()
		if len(js) == 0 {
			break
		}
		for _, j := range js {
			found[j.Event.ID] = true
		}
	}
	for id := range stored {
		if !found[id] {
			e.Fatalf("what a call stored while Close was called must be there: %s is lost", id)
		}
	}
}
