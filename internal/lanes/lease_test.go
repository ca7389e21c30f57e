package lanes

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// extendingFails is a hook with which no lease is extended.
var extendingFails = extendingBy(func(context.Context, func() ([]engine.Settled, error)) ([]engine.Settled, error) {
	return nil, errOut
})

func TestLeasesAreExtendedOnceHalfOfThemIsOver(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 21*time.Second)))
		var at []time.Duration
		p.engine.hook(hooks{settle: func(_ context.Context, outcomes []engine.Outcome, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			if isExtension(outcomes) {
				at = append(at, time.Since(w.began))
				same(t, "jobs", len(outcomes), 2)
				same(t, "for", outcomes[0].After, testLease)
			}
			return call()
		}})
		w.at(500 * time.Millisecond)
		w.push(p, pool, "x", "1")
		w.push(p, pool, "y", "2")
		w.at(30 * time.Second)
		same(t, "extended at", at, []time.Duration{5 * time.Second, 10 * time.Second, 15 * time.Second, 20 * time.Second})
		same(t, "finished", p.engine.done(engine.Done), 2)
		w.once([]string{"1", "2"})
	})
}

// The keeper of leases sleeps while nothing is held.
func TestLeasesAreExtendedAfterAnHourOfRest(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 21*time.Second)))
		for i := range 3 {
			w.at(time.Duration(i+1)*time.Hour + 500*time.Millisecond)
			same(t, "the keeper sleeps", sleeps(pool), true)
			extended := p.engine.done(engine.Extend)
			w.push(p, pool, "x", fmt.Sprint(i))
			w.wait(10 * time.Second)
			same(t, "the keeper sleeps", sleeps(pool), false)
			w.wait(20 * time.Second)
			same(t, "extended", p.engine.done(engine.Extend)-extended, 4)
		}
		w.once([]string{"0", "1", "2"})
	})
}

// sleeps reports that a pool's keeper waits for the next job.
func sleeps(p *Pool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keeperSleeps
}

func TestLeasesAreLookedAfterOftenEnough(t *testing.T) {
	for lease, want := range map[time.Duration]time.Duration{
		time.Second:      625 * time.Millisecond, // every eighth of it
		80 * time.Second: 41 * time.Second,       // every second
	} {
		inBubble(t, func(w *world) {
			c := w.config(replies(fine, time.Minute))
			c.Lease = lease
			p, pool := w.one(c)
			w.push(p, pool, "x", "1")
			w.at(want - time.Millisecond)
			same(t, "extended", p.engine.done(engine.Extend), 0)
			w.at(want + time.Millisecond)
			same(t, "extended", p.engine.done(engine.Extend), 1)
		})
	}
}

// short makes leases so short that they end while a lane, which gets one try at
// a time, is not slow yet.
func short(c Config) Config {
	c.Lease = 800 * time.Millisecond // extended once 400 ms are over
	c.Terms = wide(1)
	return c
}

func TestLeasesOfWhatWaitsAreExtendedToo(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(short(w.config(replies(fine, 900*time.Millisecond))))
		w.push(p, pool, "x", "1", "2", "3")
		w.at(5 * time.Second)
		same(t, "given back", p.engine.done(engine.Release), 0)
		same(t, "finished", p.engine.done(engine.Done), 3)
		same(t, "stale", p.engine.refused(engine.Done), 0)
		w.once([]string{"1", "2", "3"})
	})
}

func TestAnExtensionThatFailsIsTriedAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 20*time.Second)))
		p.engine.hook(hooks{settle: extendingBy(func(_ context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			if p.engine.counted().extend <= 2 {
				return make([]engine.Settled, 1), errOut // what comes with an error means nothing
			}
			return call()
		})})
		w.at(500 * time.Millisecond)
		w.push(p, pool, "x", "1")
		w.at(7900 * time.Millisecond)
		same(t, "tries to extend, at 5, 6 and 7 s", p.engine.counted().extend, 3)
		same(t, "warnings", w.log.count("level=WARN", "can't extend leases", "kind=handle", "jobs=1"), 2)
		same(t, "extended", p.engine.done(engine.Extend), 1)
		w.at(30 * time.Second)
		w.once([]string{"1"})
		same(t, "stale", p.engine.refused(engine.Done), 0)
	})
}

func TestAnExtensionThatTakesTooLongIsGivenUp(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 20*time.Second)))
		p.engine.hook(hooks{claim: nothingDue, settle: extendingBy(func(ctx context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			if p.engine.counted().extend == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return call()
		})})
		w.push(p, pool, "x", "1")
		w.at(5*time.Second + testLease/2 - 100*time.Millisecond)
		same(t, "warnings", w.log.count("can't extend leases"), 0)
		w.at(5*time.Second + testLease/2 + 1100*time.Millisecond)
		same(t, "warnings", w.log.count("can't extend leases"), 1)
		same(t, "extended", p.engine.done(engine.Extend), 1)
	})
}

// lose lets another process take the job of lane x over.
func lose(w *world, p *process) {
	p.engine.hook(hooks{claim: nothingDue, settle: extendingFails})
	time.Sleep(time.Until(w.began.Add(8500 * time.Millisecond)))
	same(w, "taken by another process", len(w.grab("x")), 1)
	p.engine.hook(hooks{claim: nothingDue})
	w.at(9500 * time.Millisecond)
}

func TestATryWhoseLeaseIsLostIsCancelled(t *testing.T) {
	inBubble(t, func(w *world) {
		var pool *Pool
		var cause error
		var at time.Duration
		c := w.config(func(ctx context.Context, t *try) Verdict {
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			pool.CancelIfLost(t.jobs[0], cancel)
			<-ctx.Done()
			cause, at = context.Cause(ctx), time.Since(w.began)
			return Verdict{Action: Bury, Reason: "must be ignored"}
		})
		p := w.process()
		pool = p.Add(c)
		p.start()
		w.push(p, pool, "x", "1")
		lose(w, p)
		if !errors.Is(cause, ErrLeaseLost) {
			t.Errorf("the cause is %v", cause)
		}
		same(t, "at", at, 9*time.Second)
		same(t, "held", held(pool), 0)
		same(t, "outcomes", p.engine.counted().settle, 0)
		same(t, "warnings", w.log.count("level=WARN", "took over", "event=1"), 1)
	})
}

func TestATryIsToldOfALeaseThatWasLostBefore(t *testing.T) {
	inBubble(t, func(w *world) {
		var pool *Pool
		var cause error
		c := w.config(func(ctx context.Context, t *try) Verdict {
			time.Sleep(9200 * time.Millisecond)
			ctx, cancel := context.WithCancelCause(ctx)
			defer cancel(nil)
			pool.CancelIfLost(t.jobs[0], cancel)
			cause = context.Cause(ctx)
			return fine
		})
		p := w.process()
		pool = p.Add(c)
		p.start()
		w.push(p, pool, "x", "1")
		lose(w, p)
		if !errors.Is(cause, ErrLeaseLost) {
			t.Errorf("the cause is %v", cause)
		}
		same(t, "held", held(pool), 0)
	})
}

// A lease that holds, or was extended, cancels nothing; neither does one that
// is lost once the try has ended.
func TestATryWhoseLeaseHoldsIsNotCancelled(t *testing.T) {
	inBubble(t, func(w *world) {
		var pool *Pool
		calls := 0
		c := w.config(func(_ context.Context, t *try) Verdict {
			pool.CancelIfLost(t.jobs[0], func(error) { calls++ })
			time.Sleep(7 * time.Second)
			return fine
		})
		p := w.process()
		pool = p.Add(c)
		p.start()
		w.push(p, pool, "x", "1")
		w.at(6 * time.Second)
		p.engine.hook(hooks{claim: nothingDue, settle: func(context.Context, []engine.Outcome, func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			return nil, errOut
		}})
		w.at(20 * time.Second)
		w.grab("x")
		p.engine.hook(hooks{})
		w.at(40 * time.Second)
		same(t, "cancelled", calls, 0)
		same(t, "stale", p.engine.refused(engine.Done), 1)
	})
}

// Somebody else may have them by now.
func TestJobsWhoseLeaseEndedWhileTheyWaitedAreGivenBack(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(short(w.config(replies(fine, 900*time.Millisecond))))
		p.engine.hook(hooks{claim: nothingDue, settle: extendingFails})
		w.push(p, pool, "x", "1", "2", "3")
		w.at(950 * time.Millisecond)
		same(t, "tries", w.tries.ids("x"), []string{"1"})
		same(t, "given back", p.engine.done(engine.Release), 2)
		same(t, "waiting in the store", w.stats("x").Waiting, 2)
		same(t, "held", held(pool), 0)
		p.engine.hook(hooks{claim: func(context.Context, engine.ClaimRequest, func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
			return engine.ClaimResult{}, errOut
		}, settle: extendingFails})
		w.push(p, pool, "x", "5", "6", "7") // 5 is tried until 1.85 s, the leases of 6 and 7 end
		w.at(1880 * time.Millisecond)
		w.push(p, pool, "x", "4")
		same(t, "waiting in the store, a new one behind them", w.stats("x").Waiting, 5)
		p.engine.hook(hooks{})
		w.at(2 * time.Minute)
		w.once(named("", 7))
	})
}

// Jobs of a lane, some of which are still this process's own.
func TestOnlyJobsWhoseLeaseHoldsAreTried(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(short(w.config(replies(fine, 900*time.Millisecond))))
		p.engine.hook(hooks{claim: nothingDue, settle: extendingFails})
		w.push(p, pool, "x", "1", "2")
		w.at(500 * time.Millisecond)
		w.push(p, pool, "x", "3")
		w.at(time.Second)
		same(t, "tries", w.tries.ids("x"), []string{"1", "3"})
	})
}

// The same for one that is known to be somebody else's: it is let go at once,
// without a word to the store.
func TestAJobThatWasLostWhileItWaitedIsLetGo(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(short(w.config(replies(fine, 990*time.Millisecond))))
		p.engine.hook(hooks{claim: nothingDue, settle: extendingFails})
		w.push(p, pool, "x", "1", "2")
		w.at(850 * time.Millisecond)
		same(t, "taken", len(w.grab("x")), 2)
		p.engine.hook(hooks{claim: nothingDue})
		w.at(980 * time.Millisecond)
		same(t, "held", held(pool), 2)
		w.at(time.Second)
		same(t, "held", held(pool), 0)
		same(t, "tries", w.tries.ids("x"), []string{"1"})
		same(t, "outcomes", p.engine.counted().settle, 0)
		same(t, "warnings", w.log.count("took over"), 2)
		same(t, "warnings of the one that waited", w.log.count("took over", "event=2"), 1)
	})
}

// A job that is being extended is nobody else's yet: its try begins, and ends
// with the new ticket.
func TestAJobWhoseLeaseIsBeingExtendedIsTried(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(short(w.config(replies(fine, 600*time.Millisecond))))
		p.engine.hook(hooks{settle: extendingBy(func(_ context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			time.Sleep(200 * time.Millisecond) // from 500 ms on
			return call()
		})})
		w.push(p, pool, "x", "1", "2")
		w.at(650 * time.Millisecond)
		same(t, "tries", w.tries.ids("x"), []string{"1", "2"})
		w.at(5 * time.Second)
		same(t, "finished", p.engine.done(engine.Done), 2)
		same(t, "stale", p.engine.refused(engine.Done), 0)
		w.once([]string{"1", "2"})
	})
}

func TestJobsAreListedAndTakenOffTheList(t *testing.T) {
	var l jobList
	jobs := []*Job{{}, {}, {}, {}}
	for _, j := range jobs {
		l.push(j)
	}
	list := func() (found []int) {
		for j := l.first; j != nil; j = j.next {
			for i := range jobs {
				if jobs[i] == j {
					found = append(found, i)
				}
			}
		}
		same(t, "length", l.n, len(found))
		return found
	}
	same(t, "all", list(), []int{3, 2, 1, 0})
	l.remove(jobs[2])
	same(t, "without one in the middle", list(), []int{3, 1, 0})
	l.remove(jobs[3])
	same(t, "without the first", list(), []int{1, 0})
	l.remove(jobs[0])
	same(t, "without the last", list(), []int{1})
	l.push(jobs[0])
	same(t, "with one that comes again", list(), []int{0, 1})
	l.remove(jobs[1])
	l.remove(jobs[0])
	same(t, "none", list(), []int(nil))
	same(t, "first", l.first == nil, true)
}

func TestATryThatOverstaysIsOverdue(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.ids[0] != "quick" {
				time.Sleep(time.Minute)
			}
			return fine
		})
		c.Terms = func(lane string) Terms {
			t := Terms{AtOnce: 4, Limit: 20 * time.Second, Shown: lane}
			if lane == "unlimited" {
				t.Limit = 0
			}
			return t
		}
		p, pool := w.one(c)
		w.push(p, pool, "y", "1", "2", "quick")
		w.push(p, pool, "x", "3", "quick", "4", "5", "6", "waits")
		w.push(p, pool, "unlimited", "7")
		w.at(30 * time.Second)
		same(t, "overdue within the grace", len(pool.Overdue()), 0)
		w.at(30*time.Second + time.Millisecond)
		same(t, "overdue", pool.Overdue(), []string{"x", "y"})
		w.at(61 * time.Second)
		same(t, "overdue once they have ended", len(pool.Overdue()), 0)
	})
}
