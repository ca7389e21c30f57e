package lanes

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// two returns two processes that work on the same lanes, one try at a time each.
func (w *world) two(ts *[2]tries, replies [2]reply) (procs [2]*process, pools [2]*Pool) {
	for i := range procs {
		c := w.config(nil)
		c.Lease = 40 * time.Second // no matter how long
		c.Terms = wide(1)
		c.Try = ts[i].trying(w, replies[i])
		procs[i], pools[i] = w.one(c)
	}
	return procs, pools
}

func TestTwoProcessesShareALaneThatIsSlow(t *testing.T) {
	inBubble(t, func(w *world) {
		var ts [2]tries
		slow := replies(fine, 1500*time.Millisecond)
		procs, pools := w.two(&ts, [2]reply{slow, slow})
		w.push(procs[0], pools[0], "x", named("", 16)...)
		w.at(20 * time.Second)
		same(t, "left in the store", w.left(), 0)
		a, b := ts[0].ids("x"), ts[1].ids("x")
		same(t, "tried", len(a)+len(b), 16)
		if min(len(a), len(b)) < 5 {
			t.Errorf("one process did %d, the other %d", len(a), len(b))
		}
	})
}

// A try that never ends keeps nothing from the other process.
func TestWhatWaitsBehindATryThatHangsGoesToAnotherProcess(t *testing.T) {
	inBubble(t, func(w *world) {
		var ts [2]tries
		hangs := func(ctx context.Context, _ *try) Verdict {
			<-ctx.Done()
			return fine
		}
		procs, pools := w.two(&ts, [2]reply{hangs, nil})
		w.at(100 * time.Millisecond)
		w.push(procs[0], pools[0], "x", named("", 10)...)
		same(t, "held", heldOf(pools[0], "x"), 10)
		w.at(2500 * time.Millisecond)
		same(t, "tried by the other", ts[1].ids("x"), named("", 10)[1:])
		same(t, "held", heldOf(pools[0], "x"), 1)
		w.push(procs[0], pools[0], "x", "11")
		same(t, "tried by the other", len(ts[1].ids("x")), 10)
		procs[0].drain(0)
	})
}

// A process alone tries them as they came, and soon holds no more than it tries.
func TestALaneThatIsSlowKeepsItsOrder(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, 1500*time.Millisecond))
		c.Terms = wide(1)
		p, pool := w.one(c)
		w.push(p, pool, "x", named("", 20)...)
		w.at(3100 * time.Millisecond)
		same(t, "held", heldOf(pool, "x"), 1)
		w.push(p, pool, "x", "21")
		w.at(32 * time.Second)
		same(t, "tried", w.tries.ids("x"), named("", 21))
		same(t, "begun at the end of the one before", w.tries.of("x")[20].began, 30*time.Second)
		same(t, "given back", p.engine.done(engine.Release), 14)
		if n := len(p.engine.requests()); n > 80 {
			t.Errorf("%d claims", n)
		}
	})
}

// One quick try, and the lane is held as before.
func TestALaneThatIsQuickAgainIsClaimedInBulk(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.ids[0] == "1" {
				time.Sleep(3 * time.Second)
			}
			time.Sleep(time.Second)
			return fine
		})
		c.Terms = wide(1)
		p, pool := w.one(c)
		w.push(p, pool, "x", named("", 40)...)
		w.at(2500 * time.Millisecond)
		same(t, "held while it is slow", heldOf(pool, "x"), 1)
		w.at(4500 * time.Millisecond)
		same(t, "held still", heldOf(pool, "x"), 1)
		w.at(5500 * time.Millisecond)
		same(t, "held", heldOf(pool, "x"), 16)
		w.at(time.Minute)
		same(t, "tried", w.tries.ids("x"), named("", 40))
		same(t, "given back", p.engine.done(engine.Release), 15)
	})
}

// The answers of several tries come often, yet each takes long.
func TestALaneOfSlowTriesThatOverlapIsSlow(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 1400*time.Millisecond)))
		for i := range 4 {
			w.at(time.Duration(i) * 350 * time.Millisecond)
			w.push(p, pool, "x", fmt.Sprint("first", i+1))
		}
		w.push(p, pool, "x", named("", 12)...)
		same(t, "held", heldOf(pool, "x"), 16)
		w.at(1900 * time.Millisecond) // one has ended; the last answer was never a second ago
		w.at(2100 * time.Millisecond)
		same(t, "held", heldOf(pool, "x"), 4)
		w.at(20 * time.Second)
		same(t, "most at once", w.tries.most("x"), 4)
		same(t, "left in the store", w.left(), 0)
	})
}

// What was claimed or pushed before older jobs were given back goes after them.
func TestWhatWasUnderWayWhenOlderJobsWereGivenBackFollowsThem(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			time.Sleep(map[string]time.Duration{"9": 2 * time.Second}[t.ids[0]] + 50*time.Millisecond)
			return fine
		})
		c.Terms = wide(1)
		p, pool := w.one(c)
		w.push(p, pool, "x", named("", 20)...) // 17 and more wait in the store
		p.engine.hook(hooks{claim: func(_ context.Context, _ engine.ClaimRequest, call func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
			res, err := call() // from 0.4 s, when 9 is begun: 17 to 20, at 2.2 s
			time.Sleep(1800 * time.Millisecond)
			return res, err
		}})
		w.at(10 * time.Second)
		same(t, "tried", w.tries.ids("x"), named("", 20))
		same(t, "given back", p.engine.done(engine.Release), 7+4)
	})
}

// The same for a push that found room before.
func TestWhatIsPushedWhileOlderJobsAreGivenBackFollowsThem(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, 1500*time.Millisecond))
		c.Terms = wide(1)
		p, pool := w.one(c)
		w.push(p, pool, "x", "1", "2", "3")
		w.at(500 * time.Millisecond)
		var push Push
		push.Add(pool, event("4"), "x")
		w.at(2300 * time.Millisecond)
		must(t, store(t.Context(), &push, p.engine))
		w.at(10 * time.Second)
		same(t, "tried", w.tries.ids("x"), named("", 4))
	})
}

// As long as some are on their way back, nothing is claimed that is younger.
func TestALaneIsNotClaimedFromWhileJobsAreOnTheirWayBack(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.ids[0] == "1" {
				time.Sleep(2500 * time.Millisecond)
			}
			return fine
		})
		c.Workers = 1
		c.Terms = wide(8)
		p := w.process()
		p.deaf = true
		pool := p.Add(c)
		p.start()
		w.push(p, pool, "x", named("", 4)...)
		w.deposit("x", "5")
		releases := 0
		p.engine.hook(hooks{settle: func(_ context.Context, outcomes []engine.Outcome, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			switch {
			case len(outcomes) > 1:
				return nil, engine.ErrInvalid // so that they are stored one by one
			case outcomes[0].Result == engine.Release:
				if releases++; releases == 2 {
					time.Sleep(3 * time.Second)
				}
			}
			return call()
		}})
		w.at(3 * time.Second)
		same(t, "given back so far", p.engine.done(engine.Release), 1)
		w.at(10 * time.Second)
		same(t, "tried", w.tries.ids("x"), named("", 5))
	})
}

// A lane that adapts has other means.
func TestALaneThatAdaptsIsNeverSlow(t *testing.T) {
	inBubble(t, func(w *world) {
		peer := &peer{others: fine, after: map[string]time.Duration{"slow": 1500 * time.Millisecond, "hangs": 5 * time.Second}}
		p, pool := proven(w, w.config(peer.reply))
		w.push(p, pool, "x", "slow", "hangs")
		w.at(2900 * time.Millisecond) // slow has ended at 2.5 s
		capacity := func() int {
			pool.mu.Lock()
			defer pool.mu.Unlock()
			return pool.lanes["x"].capacity()
		}
		same(t, "capacity after a slow answer", capacity(), 8*4*11)
		w.at(5 * time.Second)
		same(t, "capacity while it hangs", capacity(), 8*4*11)
	})
}

// Lanes that are slow take turns all the same.
func TestLanesThatAreSlowTakeTurns(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, 1300*time.Millisecond))
		c.Workers = 1
		c.Terms = wide(1)
		p, pool := w.one(c)
		w.push(p, pool, "first", "0")
		w.push(p, pool, "a", named("a", 4)...)
		w.push(p, pool, "b", named("b", 3)...)
		w.push(p, pool, "c", "c1")
		w.at(20 * time.Second)
		same(t, "tried", w.tries.ids(""), []string{"0", "a1", "b1", "c1", "a2", "b2", "a3", "b3", "a4"})
	})
}

// What waits for a lane that is slow is not given back again and again.
func TestLanesThatAreSlowWaitForAWorker(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, 1300*time.Millisecond))
		c.Workers = 2
		c.Terms = wide(1)
		p, pool := w.one(c)
		w.push(p, pool, "a", named("a", 6)...)
		w.at(650 * time.Millisecond)
		w.push(p, pool, "b", named("b", 6)...)
		w.push(p, pool, "c", named("c", 6)...)
		w.at(5 * time.Second)
		before := p.engine.done(engine.Release)
		w.at(20 * time.Second)
		same(t, "left in the store", w.left(), 0)
		same(t, "given back", p.engine.done(engine.Release)-before, 0)
		for _, lane := range []string{"a", "b", "c"} {
			same(t, "tried", w.tries.ids(lane), named(lane, 6))
		}
	})
}
