package lanes

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// rounds returns a good answer of a lane that takes so many jobs in one try.
func rounds(n int) Verdict {
	return Verdict{Action: Finish, Evidence: Works, Answered: true, Round: n}
}

// roundsPool is a pool with one lane at a time, each try of which takes a while.
func roundsPool(w *world, r reply) (*process, *Pool) {
	c := w.config(r)
	c.Terms = adapting(1)
	return w.one(c)
}

// gather has jobs of a lane wait while one of its tries is under way.
func gather(w *world, p *process, pool *Pool, ids ...string) {
	w.Helper()
	w.push(p, pool, "x", ids...)
	same(w, "tries under way", w.tries.running("x"), 1)
}

func TestSeveralJobsAreTriedAtOnceOnceTheLaneSaysSo(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := roundsPool(w, replies(rounds(3), 100*time.Millisecond))
		w.push(p, pool, "x", "1")
		w.at(time.Second)
		gather(w, p, pool, named("", 8)[1:]...)
		w.at(5 * time.Second)
		same(t, "jobs of each try", w.tries.sizes("x"), []int{1, 1, 3, 3})
		same(t, "tried", w.tries.ids("x"), named("", 8))
		same(t, "stored outcomes", p.engine.done(engine.Done), 8)
	})
}

func TestALaneThatNoLongerSaysSoGetsOneJobAtATime(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := roundsPool(w, func(_ context.Context, _ *try) Verdict {
			time.Sleep(100 * time.Millisecond)
			switch n := len(w.tries.of("x")); n {
			case 1, 2:
				return rounds(3)
			case 3:
				return Verdict{Action: Finish, Evidence: Works} // says nothing of rounds
			default:
				return rounds(0)
			}
		})
		w.push(p, pool, "x", "1")
		w.at(time.Second)
		gather(w, p, pool, named("", 10)[1:]...)
		w.at(5 * time.Second)
		same(t, "jobs of each try", w.tries.sizes("x"), []int{1, 1, 3, 3, 1, 1})
	})
}

func TestARoundIsNoLargerThanItMayBe(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(rounds(100), 100*time.Millisecond))
		c.Terms = adapting(1)
		c.RoundBytes = 1000
		p, pool := w.one(c)
		w.push(p, pool, "x", "1")
		w.at(time.Second)
		w.push(p, pool, "x", "2")
		w.pushEvents(p, pool, "x", large(400, "a1", "a2", "a3")...)
		w.pushEvents(p, pool, "x", large(5000, "b1", "b2")...)
		w.pushEvents(p, pool, "x", large(500, "c1", "c2", "c3")...)
		w.at(5 * time.Second)
		same(t, "jobs of each try", w.tries.sizes("x"), []int{1, 1, 2, 1, 1, 1, 2, 1})
	})
}

// What an event's Meta says is of that event alone.
func TestAnEventWithMetaIsTriedAlone(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := roundsPool(w, replies(rounds(10), 100*time.Millisecond))
		w.push(p, pool, "x", "1")
		w.at(time.Second)
		w.push(p, pool, "x", "2", "3", "4")
		with := event("5")
		with.Meta = []byte("traced")
		w.pushEvents(p, pool, "x", with)
		w.push(p, pool, "x", "6", "7")
		w.at(5 * time.Second)
		same(t, "jobs of each try", w.tries.sizes("x"), []int{1, 1, 2, 1, 2})
		same(t, "tried", w.tries.ids("x"), named("", 7))
	})
}

func TestALaneThatRefusesRoundsGetsNoneForTenMinutes(t *testing.T) {
	inBubble(t, func(w *world) {
		refused := false
		p, pool := roundsPool(w, func(_ context.Context, t *try) Verdict {
			time.Sleep(100 * time.Millisecond)
			if len(t.ids) > 1 && !refused {
				refused = true
				return Verdict{Action: GiveBack, RefusesRounds: true}
			}
			return rounds(3)
		})
		w.push(p, pool, "x", "1")
		w.at(time.Second)
		gather(w, p, pool, named("", 5)[1:]...)
		w.at(30 * time.Second)
		// The round that was refused comes again, one by one.
		same(t, "jobs of each try", w.tries.sizes("x"), []int{1, 1, 3, 1, 1, 1})
		for i := range 9 {
			w.at(time.Minute*time.Duration(i+1) + 100*time.Millisecond)
			gather(w, p, pool, named(fmt.Sprint("m", i), 3)...)
		}
		w.at(9*time.Minute + 10*time.Second)
		if n := slices.Max(w.tries.sizes("x")[3:]); n != 1 {
			t.Errorf("a try of %d within ten minutes", n)
		}
		w.at(10*time.Minute + 10*time.Second)
		w.push(p, pool, "x", "later1")
		w.wait(time.Second)
		gather(w, p, pool, named("later", 5)[1:]...)
		w.wait(time.Second)
		sizes := w.tries.sizes("x")
		same(t, "jobs of the last tries", sizes[len(sizes)-3:], []int{1, 1, 3})
		same(t, "left in the store", w.left(), 0)
	})
}

// The best verdict of a round is what is known of the lane.
func TestARoundIsOnePieceOfEvidence(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := roundsPool(w, nil)
		mixed := false
		pool.Try = func(_ context.Context, _ *Lane, jobs []*Job, verdicts []Verdict) {
			time.Sleep(100 * time.Millisecond)
			for i := range jobs {
				verdicts[i] = rounds(8)
				if mixed && (i < len(jobs)-1 || jobs[i].Event.ID == "bad") {
					verdicts[i] = trouble
					verdicts[i].Answered, verdicts[i].Round = true, 8
				}
			}
		}
		w.push(p, pool, "x", "1")
		w.at(time.Second)
		mixed = true
		w.push(p, pool, "x", named("", 9)[1:]...) // seven are in trouble, the last is fine
		w.at(2 * time.Second)
		circuit, _ := pool.Circuit("x")
		same(t, "circuit", circuit, "closed")
		pool.mu.Lock()
		same(t, "failures", pool.lanes["x"].health.fails, 0)
		pool.mu.Unlock()
		mixed = true
		w.push(p, pool, "x", "bad")
		w.at(3 * time.Second)
		pool.mu.Lock()
		same(t, "failures", pool.lanes["x"].health.fails, 1)
		pool.mu.Unlock()
	})
}

// Jobs of a round whose leases are over are left out of it.
func TestALaneKeepsMoreIfItTakesRounds(t *testing.T) {
	l := newLane("x", adapting(32)("x"))
	same(t, "capacity of a lane that has yet to show that it works", l.capacity(), 1)
	l.health.good(0, time.Second)
	same(t, "capacity of one that works, two at once", l.capacity(), 64)
	l.health.limit = 32
	same(t, "capacity of one that works, 32 at once", l.capacity(), 1024)
	l.round = 100
	same(t, "capacity with rounds of 100", l.capacity(), maxCapacity)
	l.health.limit = 4
	same(t, "capacity with rounds of 100, four at once", l.capacity(), 1600)
	l.health.bad(false, 0)
	same(t, "capacity after a failure", l.capacity(), 2)
}
