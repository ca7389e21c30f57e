package lanes

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

func laneNames(t *turns, workers, n int) (names string) {
	for range n {
		l := t.next(workers)
		if l == nil {
			return names + "-"
		}
		names += l.name
	}
	return names
}

func turnsOf(healthy, sick string) *turns {
	t := &turns{}
	for _, name := range healthy {
		t.healthy.push(&Lane{name: string(name), hasTurn: true})
	}
	for _, name := range sick {
		t.sick.push(&Lane{name: string(name), hasTurn: true})
	}
	return t
}

func TestHealthyAndSickLanesAlternate(t *testing.T) {
	same(t, "turns", laneNames(turnsOf("ABC", "xyz"), 8, 7), "AxByCz-")
	same(t, "turns of healthy lanes", laneNames(turnsOf("ABC", ""), 8, 4), "ABC-")
	same(t, "turns of sick lanes", laneNames(turnsOf("", "xyz"), 8, 4), "xyz-")
	same(t, "turns of many healthy lanes", laneNames(turnsOf("ABCD", "x"), 8, 6), "AxBCD-")
	same(t, "turns of many sick lanes", laneNames(turnsOf("A", "xyz"), 8, 5), "Axyz-")
	ts := turnsOf("ABC", "xyz")
	l := ts.next(8)
	same(t, "has a turn once it took it", l.hasTurn, false)
}

func TestSickLanesGetNoMoreThanHalfOfTheWorkers(t *testing.T) {
	for _, test := range []struct{ workers, busySick, want int }{{8, 3, 1}, {8, 4, 0}, {8, 5, 0}, {1, 0, 1}, {1, 1, 0}, {3, 0, 1}, {3, 1, 0}} {
		ts := turnsOf("", "x")
		ts.busySick = test.busySick
		got := 0
		if ts.next(test.workers) != nil {
			got = 1
		}
		same(t, fmt.Sprintf("%+v", test), got, test.want)
	}
	ts := turnsOf("AB", "x")
	ts.busySick = 4
	same(t, "turns while sick lanes have their half", laneNames(ts, 8, 3), "AB-")
}

func TestSickLanesNeverHoldMoreThanHalfOfTheWorkers(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.lane == "good" {
				time.Sleep(10 * time.Millisecond)
				return fine
			}
			time.Sleep(30 * time.Second)
			return Verdict{Action: TryAgain, Evidence: TimedOut}
		})
		c.Terms = adapting(8)
		c.Workers = 10
		p, pool := w.one(c)
		for _, lane := range named("bad", 8) {
			w.push(p, pool, lane, "b")
		}
		w.at(time.Second)
		same(t, "workers on lanes that have yet to show that they work", w.tries.running(""), 5)
		for _, id := range named("g", 50) {
			w.push(p, pool, "good", id)
		}
		w.at(6 * time.Second)
		// The good lane is new as well: its first turn comes when a worker is free.
		same(t, "tries of the good lane", len(w.tries.of("good")), 0)
		w.at(32 * time.Second)
		same(t, "tries of the good lane", len(w.tries.of("good")), 50)
		same(t, "most workers on bad lanes", w.tries.most("")-w.tries.most("good") <= 5, true)
	})
}

// A lane that works is not held up by any number that don't.
func TestALaneThatWorksIsNotHeldUpBySickOnes(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.lane == "good" {
				return fine
			}
			time.Sleep(30 * time.Second)
			return Verdict{Action: TryAgain, Evidence: TimedOut}
		})
		c.Terms = adapting(8)
		c.Workers = 10
		p, pool := w.one(c)
		w.push(p, pool, "good", "g0")
		for _, lane := range named("bad", 20) {
			w.push(p, pool, lane, "b")
		}
		w.at(time.Second)
		w.push(p, pool, "good", named("g", 10)...)
		same(t, "tries of the good lane", len(w.tries.of("good")), 11)
	})
}

// While workers are plenty, a lane gets as many as it may have; when they are
// few, it gets one.
func TestALanesShareShrinksAsWorkersBecomeFew(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, time.Minute))
		c.Terms = wide(100)
		c.Workers = 20
		p, pool := w.one(c)
		for i, lane := range named("lane", 40) {
			w.push(p, pool, lane, named(fmt.Sprint(i, "-"), 10)...)
		}
		w.at(time.Second)
		same(t, "tries under way", w.tries.running(""), 20)
		// Of 20 workers, one less a quarter of the free ones each.
		same(t, "of the first lane", w.tries.running("lane1"), 4)
		same(t, "of the second lane", w.tries.running("lane2"), 3)
		if n := w.tries.running("lane9"); n != 1 {
			t.Errorf("of lane 9: %d", n)
		}
		if n := w.tries.running("lane10"); n > 1 {
			t.Errorf("of lane 10: %d", n)
		}
	})
}

// The share of a lane that has tries under way grows when workers of other
// lanes become free, though none of its own tries ends.
func TestALanesShareGrowsAsWorkersBecomeFree(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.lane == "long" {
				time.Sleep(time.Hour)
			} else {
				time.Sleep(time.Second)
			}
			return fine
		})
		c.Terms = wide(4)
		c.Workers = 40
		p, pool := w.one(c)
		for i, lane := range named("lane", 10) {
			w.push(p, pool, lane, named(fmt.Sprint(i, "-"), 4)...)
		}
		w.push(p, pool, "long", named("", 4)...)
		same(t, "long tries while workers are few", w.tries.running("long"), 1)
		w.at(10 * time.Second)
		same(t, "tries of other lanes under way", w.tries.running("")-w.tries.running("long"), 0)
		same(t, "long tries", w.tries.running("long"), 4)
	})
}

// The worker that has become free takes the lane that was held back.
func TestALaneIsHeldBackNoLongerThanNeeded(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			took := map[string]time.Duration{"a": time.Second, "b": 2 * time.Second, "c": 3 * time.Second}[t.lane]
			if took == 0 {
				took = time.Hour
			}
			time.Sleep(took)
			return fine
		})
		c.Workers = 16 // two each while eight are busy, one each while nine are
		p, pool := w.one(c)
		for _, lane := range []string{"a", "b", "c", "d", "e", "f", "g", "h"} {
			w.push(p, pool, lane, lane)
		}
		w.push(p, pool, "x", "1", "2")
		w.at(1500 * time.Millisecond)
		same(t, "begins", w.tries.begins("x", time.Millisecond), []time.Duration{0})
		w.at(10 * time.Second)
		same(t, "begins", w.tries.begins("x", time.Millisecond), []time.Duration{0, 2 * time.Second})
	})
}

func TestNoMoreWorkersThanConfigured(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, time.Second))
		c.Terms = wide(10)
		c.Workers = 5
		p, pool := w.one(c)
		for _, lane := range named("lane", 12) {
			w.push(p, pool, lane, named(lane+"-", 3)...)
		}
		w.at(30 * time.Second)
		same(t, "tries", len(w.tries.of("")), 36)
		same(t, "most at once", w.tries.most(""), 5)
	})
}

func TestWorkersThatWaitAreKeptUpToANumber(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, time.Second))
		c.Workers = 1000
		p, pool := w.one(c)
		for _, lane := range named("lane", 100) {
			w.push(p, pool, lane, lane)
		}
		w.at(2 * time.Second)
		count := func() (busy, idle int) {
			pool.mu.Lock()
			defer pool.mu.Unlock()
			return pool.workers.busy, pool.workers.idle
		}
		busy, idle := count()
		same(t, "busy, idle", []int{busy, idle}, []int{0, maxIdleWorkers})
		w.push(p, pool, "x", "1", "2")
		busy, idle = count()
		same(t, "busy, idle", []int{busy, idle}, []int{2, maxIdleWorkers - 2})
	})
}

func TestALaneGetsNoMoreTriesAtOnceThanItsTermsSay(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, time.Second)))
		w.push(p, pool, "x", named("", 10)...)
		w.at(10 * time.Second)
		same(t, "most at once", w.tries.most("x"), 4)
		w.once(named("", 10))
		same(t, "begins", w.tries.begins("x", time.Millisecond)[8:], []time.Duration{2 * time.Second, 2 * time.Second})
	})
}

func TestTriesKeepTheirSpacing(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, 100*time.Millisecond))
		c.Terms = func(lane string) Terms { return Terms{AtOnce: 4, Spacing: 2 * time.Second, Shown: lane} }
		p, pool := w.one(c)
		w.push(p, pool, "x", "1", "2", "3")
		w.at(7 * time.Second)
		w.push(p, pool, "x", "4", "5")
		w.at(20 * time.Second)
		same(t, "begins", w.tries.begins("x", time.Millisecond), []time.Duration{0, 2 * time.Second, 4 * time.Second, 7 * time.Second, 9 * time.Second})
	})
}

// Slow tries of a spaced lane overlap.
func TestSpacingCountsFromBeginToBegin(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, 3*time.Second))
		c.Terms = func(lane string) Terms { return Terms{AtOnce: 4, Spacing: time.Second, Shown: lane} }
		p, pool := w.one(c)
		w.push(p, pool, "x", "1", "2", "3")
		w.at(20 * time.Second)
		same(t, "begins", w.tries.begins("x", time.Millisecond), []time.Duration{0, time.Second, 2 * time.Second})
	})
}

func TestSpacingOutlastsTheMemoryOfALane(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(nil)
		c.Terms = func(lane string) Terms { return Terms{AtOnce: 4, Spacing: 5 * time.Minute, Shown: lane} }
		p, pool := w.one(c)
		w.push(p, pool, "x", "1")
		w.at(2 * time.Minute)
		w.push(p, pool, "x", "2")
		w.at(6 * time.Minute)
		same(t, "begins", w.tries.begins("x", time.Millisecond), []time.Duration{0, 5 * time.Minute})
	})
}

// What waits while a lane is to keep its spacing is not forgotten by a drain.
func TestADrainDoesNotWaitForTheSpacing(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(nil)
		c.Terms = func(lane string) Terms { return Terms{AtOnce: 4, Spacing: time.Minute, Shown: lane} }
		p, pool := w.one(c)
		w.push(p, pool, "x", "1", "2")
		p.drain(time.Hour)
		same(t, "it took", time.Since(w.began), time.Duration(0))
		same(t, "waiting in the store", w.stats("x").Waiting, 1)
		w.at(2 * time.Minute)
		same(t, "tries", len(w.tries.of("")), 1)
	})
}

// After a second without an answer a lane gets no more tries, and what waits
// for it is given back.
func TestALaneThatHangsGetsNoMoreAndGivesBackWhatWaits(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.jobs[0].Event.ID == "stuck" {
				time.Sleep(10 * time.Second)
			}
			return fine
		})
		c.Terms = adapting(8)
		p := w.process()
		p.deaf = true
		pool := p.Add(c)
		p.start()
		w.at(100 * time.Millisecond)
		w.push(p, pool, "x", "1", "stuck") // two at once from now on
		w.at(1050 * time.Millisecond)
		w.push(p, pool, "x", "2") // it does not hang yet
		w.at(1200 * time.Millisecond)
		same(t, "tries", w.tries.ids("x"), []string{"1", "stuck", "2"})
		w.at(1900 * time.Millisecond) // the last answer was at 1.05 s
		w.push(p, pool, "x", "2b")
		same(t, "tries", w.tries.ids("x"), []string{"1", "stuck", "2", "2b"})
		w.at(3100 * time.Millisecond)
		w.push(p, pool, "x", "3", "4") // hangs: they wait
		same(t, "held", heldOf(pool, "x"), 3)
		same(t, "tries under way", w.tries.running("x"), 1)
		w.at(4500 * time.Millisecond)
		same(t, "held once the keeper has looked", heldOf(pool, "x"), 1)
		same(t, "waiting in the store", w.stats("x").Waiting, 2)
		w.at(9 * time.Second)
		for _, r := range p.engine.requests()[2:] {
			if n, named := r.Limits["x"]; !named || n != 0 {
				t.Errorf("claimed up to %d (%v) of a lane that hangs", n, named)
			}
		}
		same(t, "tries under way", w.tries.running("x"), 1)
		w.at(10200 * time.Millisecond) // it has answered
		same(t, "tries", w.tries.ids("x"), []string{"1", "stuck", "2", "2b", "3", "4"})
	})
}

// How long ago the last answer was says nothing when no try was under way.
func TestALaneThatWasIdleDoesNotHang(t *testing.T) {
	inBubble(t, func(w *world) {
		peer := &peer{others: fine, after: map[string]time.Duration{"1": 500 * time.Millisecond, "2": 500 * time.Millisecond}}
		p, pool := proven(w, w.config(peer.reply))
		w.at(20 * time.Second)
		w.push(p, pool, "x", "1", "2")
		same(t, "tries under way", w.tries.running("x"), 2)
	})
}

// What a lane may have under way, it begins whatever becomes of the others.
func TestALaneWithoutEvidenceDoesNotHang(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 10*time.Second)))
		w.push(p, pool, "x", named("", 3)...)
		w.at(9 * time.Second)
		w.push(p, pool, "x", "4")
		same(t, "tries under way", w.tries.running("x"), 4)
		same(t, "given back", p.engine.done(engine.Release), 0)
	})
}

// However many of its jobs wait, a lane has one turn at a time.
func TestLanesTakeTurns(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, time.Second))
		c.Workers = 1
		p, pool := w.one(c)
		w.push(p, pool, "first", "0")
		w.push(p, pool, "a", named("a", 4)...)
		w.push(p, pool, "b", named("b", 3)...)
		w.push(p, pool, "c", "c1")
		w.at(20 * time.Second)
		same(t, "tried", w.tries.ids(""), []string{"0", "a1", "b1", "c1", "a2", "b2", "a3", "b3", "a4"})
	})
}

func TestLanesAreHeldBackOnceAndAtTheLeastShare(t *testing.T) {
	var h heldBack
	a, b := &Lane{name: "a"}, &Lane{name: "b"}
	for i, test := range []struct {
		lane           *Lane
		share, at, all int
	}{{a, 3, 3, 1}, {b, 2, 2, 2}, {a, 5, 2, 2}, {a, 1, 1, 2}} {
		h.add(test.lane, test.share)
		same(t, fmt.Sprint("share and lanes after ", i+1), []int{h.share, len(h.lanes)}, []int{test.at, test.all})
	}
	h.lanes = nil
	h.add(&Lane{}, 9)
	same(t, "share of the first", h.share, 9)
}
