package lanes

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// peer is the other end of a lane. Its answers change, save those to tries that
// are under way.
type peer struct {
	mu     sync.Mutex
	answer map[string]Verdict       // by event ID
	after  map[string]time.Duration // the same
	others Verdict                  // of other events, at once
}

func (p *peer) reply(_ context.Context, t *try) Verdict {
	p.mu.Lock()
	v, ok := p.answer[t.ids[0]]
	if !ok {
		v = p.others
	}
	after := p.after[t.ids[0]]
	p.mu.Unlock()
	time.Sleep(after)
	return v
}

// set changes the peer while it is asked.
func (p *peer) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

// proven is a pool whose lane x has shown that it works, ten times: it may have
// eleven tries under way.
func proven(w *world, c Config) (*process, *Pool) {
	c.Terms = adapting(32)
	p := w.process()
	p.deaf = true
	pool := p.Add(c)
	p.start()
	for _, id := range named("proof", 10) {
		w.push(p, pool, "x", id)
	}
	circuit, atOnce := pool.Circuit("x")
	same(w, "circuit", circuit, "closed")
	same(w, "at once", atOnce, 11)
	w.at(time.Second)
	return p, pool
}

func healthOf(p *Pool, lane string) health {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.lanes[lane].health
}

func TestALaneThatKeepsFailingRestsAndIsProbedWithOne(t *testing.T) {
	inBubble(t, func(w *world) {
		peer := &peer{others: trouble}
		c := w.config(peer.reply)
		c.Terms = adapting(8)
		p, pool := w.one(c)
		circuit, atOnce := pool.Circuit("x")
		same(t, "circuit of an unknown lane", circuit, "new")
		same(t, "at once", atOnce, 1)
		w.deposit("x", named("", 20)...)
		w.at(10 * time.Millisecond)
		same(t, "tries before the rest", len(w.tries.of("x")), 5)
		circuit, atOnce = pool.Circuit("x")
		same(t, "circuit", circuit, "open")
		same(t, "at once", atOnce, 1)
		same(t, "warnings", w.log.count("level=WARN", "endpoint keeps failing", "lane=x", `error="out of order"`), 1)
		same(t, "deferred in the store", w.stats("x").Deferred > 700*time.Millisecond, true)
		// Rests of 1, 2, 4, 8 and 16 seconds follow, each less up to a fifth.
		w.at(11 * time.Second)
		same(t, "probes", len(w.tries.of("x"))-5, 3)
		for i, want := range []time.Duration{1, 3, 7} {
			if at := w.tries.of("x")[5+i].began; at > want*time.Second+100*time.Millisecond || at < want*time.Second*4/5 {
				t.Errorf("probe %d was at %v", i, at)
			}
		}
		same(t, "warnings", w.log.count("keeps failing"), 1)
		same(t, "held while it rests", heldOf(pool, "x"), 0)
		peer.set(func() { peer.others = fine })
		w.at(16 * time.Second)
		same(t, "good news", w.log.count("level=INFO", "endpoint works again", "lane=x"), 1)
		circuit, _ = pool.Circuit("x")
		same(t, "circuit", circuit, "closed")
		w.at(2 * time.Minute)
		same(t, "left in the store", w.left(), 0)
		same(t, "stored outcomes", p.engine.done(engine.Done), 20)
		same(t, "good news", w.log.count("works again"), 1)
	})
}

func TestALaneThatTimesOutRestsSooner(t *testing.T) {
	inBubble(t, func(w *world) {
		v := trouble
		v.Evidence = TimedOut
		c := w.config(replies(v, 0))
		c.Terms = adapting(8)
		w.one(c)
		w.deposit("x", named("", 5)...)
		same(t, "tries", len(w.tries.of("x")), 2)
	})
}

func TestWhatIsNoEvidenceChangesNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		peer := &peer{others: fine}
		p, pool := proven(w, w.config(peer.reply))
		peer.others = Verdict{Action: TryAgain}
		w.push(p, pool, "x", named("", 10)...)
		circuit, atOnce := pool.Circuit("x")
		same(t, "circuit", circuit, "closed")
		same(t, "at once", atOnce, 11)
	})
}

func TestOnlyQuickAnswersLetALaneHaveMoreAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		peer := &peer{others: fine, after: map[string]time.Duration{"slow": time.Second, "quick": 999 * time.Millisecond}}
		p, pool := proven(w, w.config(peer.reply))
		w.push(p, pool, "x", "slow")
		w.at(3 * time.Second)
		_, atOnce := pool.Circuit("x")
		same(t, "at once", atOnce, 11)
		w.push(p, pool, "x", "quick")
		w.at(5 * time.Second)
		_, atOnce = pool.Circuit("x")
		same(t, "at once", atOnce, 12)
		w.push(p, pool, "x", named("", 100)...)
		w.at(10 * time.Second)
		_, atOnce = pool.Circuit("x")
		same(t, "at once", atOnce, 32)
	})
}

func TestWhatThePolicyIsToldOfALaneInTrouble(t *testing.T) {
	inBubble(t, func(w *world) {
		var fs failures
		peer := &peer{others: fine}
		c := w.config(peer.reply)
		c.Retry = fs.retry(func(Failure) engine.Outcome {
			return engine.Outcome{Result: engine.Retry, Attempt: 1, After: time.Hour}
		})
		p, pool := proven(w, c)
		peer.set(func() { peer.others = trouble })
		for _, id := range named("", 6) {
			w.push(p, pool, "x", id)
		}
		same(t, "failures", len(fs.all), 5)
		for i, f := range fs.all {
			want := []time.Duration{-1, -1, 0}
			switch {
			case i == 4: // the lane rests, and is probed with it
				want = []time.Duration{0, -1, 0}
			case i > 0: // it may be the lane's fault
				want = []time.Duration{-1, -1, time.Minute}
			}
			same(t, "in which a probe, the time asked for, the latest", []time.Duration{f.ProbeIn, f.AskedFor, f.NoLaterThan}, want)
		}
	})
}

func TestATimeThatALaneNamesIsForTheLaneIfItAdapts(t *testing.T) {
	for _, adapts := range []bool{false, true} {
		inBubble(t, func(w *world) {
			var fs failures
			c := w.config(replies(Verdict{Action: TryAgain, HasAfter: true, After: 3 * time.Second}, 0))
			if adapts {
				c.Terms = adapting(8)
			}
			c.Retry = fs.retry(func(Failure) engine.Outcome {
				return engine.Outcome{Result: engine.Retry, Attempt: 1, After: time.Hour}
			})
			p, pool := w.one(c)
			w.push(p, pool, "x", "1")
			f := fs.all[0]
			want := []time.Duration{-1, 3 * time.Second}
			if adapts {
				want = []time.Duration{3 * time.Second, -1}
			}
			same(t, "in which a probe, the time asked for", []time.Duration{f.ProbeIn, f.AskedFor}, want)
		})
	}
}

// Eleven tries are under way: five fail, upon which the lane rests; the others
// fail for the same reason.
func TestAFailureBegunBeforeARestIsNotCountedAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		peer := &peer{others: fine}
		p, pool := proven(w, w.config(peer.reply))
		peer.set(func() { peer.others = trouble })
		peer.after = map[string]time.Duration{}
		for i, id := range named("", 11) {
			peer.after[id] = time.Duration(i+1) * 10 * time.Millisecond
		}
		w.push(p, pool, "x", named("", 11)...)
		same(t, "tries under way", w.tries.running("x"), 11)
		w.at(1055 * time.Millisecond)
		pool.mu.Lock()
		until := pool.lanes["x"].restsUntil
		pool.mu.Unlock()
		w.at(1200 * time.Millisecond)
		h := healthOf(pool, "x")
		same(t, "rests, failures", []int{h.opened, h.fails}, []int{1, 5})
		pool.mu.Lock()
		same(t, "rests until", pool.lanes["x"].restsUntil, until)
		pool.mu.Unlock()
		same(t, "deferrals", len(p.engine.deferred()), 1)
		// The next one is a probe, and counts.
		w.at(2200 * time.Millisecond)
		h = healthOf(pool, "x")
		same(t, "rests, failures", []int{h.opened, h.fails}, []int{2, 6})
	})
}

func TestAGoodAnswerEndsARestThatWasNotAskedFor(t *testing.T) {
	inBubble(t, func(w *world) {
		peer := &peer{others: fine}
		p, pool := proven(w, w.config(peer.reply))
		peer.others = Verdict{Action: TryAgain, Evidence: TimedOut}
		peer.answer = map[string]Verdict{"slow": fine}
		peer.after = map[string]time.Duration{"slow": 500 * time.Millisecond}
		w.push(p, pool, "x", "slow", "1", "2")
		w.at(1400 * time.Millisecond)
		same(t, "deferred in the store", w.stats("x").Deferred > 0, true)
		n := len(w.tries.of("x"))
		peer.set(func() { peer.others = fine })
		w.at(1600 * time.Millisecond)
		same(t, "deferred in the store", w.stats("x").Deferred, time.Duration(0))
		pool.Wake()
		w.wait(50 * time.Millisecond)
		same(t, "tries at once", len(w.tries.of("x")) > n, true)
		d := p.engine.deferred()
		if len(d) != 2 || d[0] <= 0 || d[1] != 0 {
			t.Errorf("deferrals: %v", d)
		}
	})
}

// The lane asks for a moment, but its circuit opens for longer.
func TestAGoodAnswerEndsARestThatIsLongerThanAskedFor(t *testing.T) {
	inBubble(t, func(w *world) {
		peer := &peer{others: fine}
		p, pool := proven(w, w.config(peer.reply))
		peer.others = Verdict{Action: TryAgain, Evidence: TimedOut, HasAfter: true, After: 10 * time.Millisecond, LaneWaits: true}
		peer.answer = map[string]Verdict{"slow": fine}
		peer.after = map[string]time.Duration{"slow": 500 * time.Millisecond}
		w.push(p, pool, "x", "slow", "1") // 1 again 10 ms later
		w.at(1400 * time.Millisecond)
		same(t, "deferred in the store", w.stats("x").Deferred > 100*time.Millisecond, true)
		w.at(1600 * time.Millisecond)
		same(t, "deferred in the store", w.stats("x").Deferred, time.Duration(0))
	})
}

// Nothing else would make the pool look into the store before its next poll.
func TestAPoolLooksWhenARestIsOver(t *testing.T) {
	inBubble(t, func(w *world) {
		peer := &peer{others: fine}
		p, pool := proven(w, w.config(peer.reply))
		peer.answer = map[string]Verdict{"1": {Action: Finish, Evidence: Works, LaneWaits: true, After: 2 * time.Second}}
		w.at(1100 * time.Millisecond)
		w.push(p, pool, "x", "1")
		w.at(2 * time.Second)
		w.deposit("x", "2") // nobody says so
		w.at(4 * time.Second)
		tried := w.tries.of("x")
		same(t, "the last was tried at", tried[len(tried)-1].began, 3100*time.Millisecond)
	})
}

func TestAGoodAnswerDoesNotEndARestThatWasAskedFor(t *testing.T) {
	inBubble(t, func(w *world) {
		peer := &peer{others: fine}
		p, pool := proven(w, w.config(peer.reply))
		peer.answer = map[string]Verdict{
			"slow": fine,
			"1":    {Action: TryAgain, Evidence: Trouble, HasAfter: true, After: 10 * time.Second, LaneWaits: true},
		}
		peer.after = map[string]time.Duration{"slow": 500 * time.Millisecond}
		w.push(p, pool, "x", "slow", "1", "2")
		n := len(w.tries.of("x"))
		w.at(1200 * time.Millisecond)
		w.push(p, pool, "x", "3")
		same(t, "waiting in the store", w.stats("x").Waiting, 3)
		peer.set(func() { peer.answer = nil })
		w.at(10900 * time.Millisecond)
		same(t, "tries during the rest", len(w.tries.of("x")), n)
		w.at(11100 * time.Millisecond)
		same(t, "left in the store", w.left(), 0)
		same(t, "deferrals", p.engine.deferred(), []time.Duration{10 * time.Second})
	})
}

func TestAShorterRestDoesNotReplaceALongerOne(t *testing.T) {
	inBubble(t, func(w *world) {
		peer := &peer{others: fine}
		p, pool := proven(w, w.config(peer.reply))
		waits := func(d time.Duration) Verdict {
			return Verdict{Action: TryAgain, HasAfter: true, After: d, LaneWaits: true}
		}
		peer.answer = map[string]Verdict{"1": waits(20 * time.Second), "2": waits(5 * time.Second), "3": waits(30 * time.Second)}
		peer.after = map[string]time.Duration{"1": 50 * time.Millisecond, "2": 100 * time.Millisecond, "3": 200 * time.Millisecond}
		w.push(p, pool, "x", "1", "2", "3")
		w.at(1500 * time.Millisecond)
		same(t, "deferrals", p.engine.deferred(), []time.Duration{20 * time.Second, 30 * time.Second})
	})
}

// What waits in a lane that goes to rest is given back, and what comes goes
// into the store.
func TestALaneThatRestsHoldsNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		peer := &peer{others: fine}
		c := w.config(peer.reply)
		p, pool := proven(w, c)
		peer.others = Verdict{Action: TryAgain, HasAfter: true, After: 10 * time.Second, LaneWaits: true}
		peer.after = map[string]time.Duration{}
		for _, id := range named("", 11) {
			peer.after[id] = 500 * time.Millisecond
		}
		w.push(p, pool, "x", named("", 30)...)
		same(t, "tries under way", w.tries.running("x"), 11)
		same(t, "held", heldOf(pool, "x"), 30)
		tried := len(w.tries.of("x"))
		w.at(1600 * time.Millisecond)
		same(t, "held", heldOf(pool, "x"), 0)
		same(t, "waiting in the store", w.stats("x").Waiting, 30)
		same(t, "given back", p.engine.done(engine.Release), 19)
		w.push(p, pool, "x", "new")
		same(t, "waiting in the store", w.stats("x").Waiting, 31)
		w.at(11 * time.Second)
		same(t, "tries during the rest", len(w.tries.of("x")), tried)
		peer.set(func() { peer.others = fine })
		w.at(12 * time.Second)
		same(t, "left in the store", w.left(), 0)
	})
}

// Jobs that were on their way when the lane went to rest.
func TestWhatComesToALaneThatRestsIsGivenBack(t *testing.T) {
	inBubble(t, func(w *world) {
		peer := &peer{others: fine}
		p, pool := proven(w, w.config(peer.reply))
		p.engine.hook(hooks{claim: func(_ context.Context, _ engine.ClaimRequest, call func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
			res, err := call()
			time.Sleep(500 * time.Millisecond)
			return res, err
		}})
		w.deposit("x", "claimed")
		pool.Wake() // it is under way now
		var push Push
		push.Add(pool, event("pushed"), "x")
		peer.answer = map[string]Verdict{"1": {Action: TryAgain, HasAfter: true, After: 10 * time.Second, LaneWaits: true}}
		w.push(p, pool, "x", "1")
		must(t, store(t.Context(), &push, p.engine))
		peer.set(func() { peer.answer = nil })
		n := len(w.tries.of("x"))
		w.at(2 * time.Second)
		same(t, "waiting in the store", w.stats("x").Waiting, 3)
		same(t, "held", heldOf(pool, "x"), 0)
		w.at(10 * time.Second)
		same(t, "tries during the rest", len(w.tries.of("x")), n)
		w.at(15 * time.Second)
		same(t, "left in the store", w.left(), 0)
		same(t, "tries", len(w.tries.of("x")), n+3)
	})
}

func TestARestThatCanNotBeToldToOthersIsKeptHere(t *testing.T) {
	inBubble(t, func(w *world) {
		peer := &peer{others: Verdict{Action: TryAgain, HasAfter: true, After: 10 * time.Second, LaneWaits: true}}
		c := w.config(peer.reply)
		c.Terms = adapting(8)
		p, pool := w.one(c)
		p.engine.hook(hooks{postponing: func(context.Context, engine.Lane, time.Duration, func() error) error { return errOut }})
		w.push(p, pool, "x", "1")
		w.push(p, pool, "x", "2")
		same(t, "warnings", w.log.count("level=WARN", "can't tell other processes", "lane=x"), 1)
		same(t, "deferred in the store", w.stats("x").Deferred, time.Duration(0))
		peer.set(func() { peer.others = fine })
		w.at(9 * time.Second)
		same(t, "tries", len(w.tries.of("x")), 1)
		w.at(11 * time.Second)
		same(t, "tries", len(w.tries.of("x")), 3)
	})
}

// Of what is to be told of a lane the last counts, less the time it took.
func TestOnlyTheLastWordOnALaneIsWritten(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.Start()
		p.running, p.unwatch = true, func() {}
		x, y := engine.Lane{Kind: testKind, Name: "x"}, engine.Lane{Kind: testKind, Name: "y"}
		w.deposit("x", "1")
		w.deposit("y", "2")
		now := time.Now()
		w.at(3 * time.Second)
		p.flushDeferrals([]deferral{
			{lane: x, rest: time.Hour, at: now}, {lane: y, rest: time.Minute, at: now}, {lane: x, rest: 10 * time.Second, at: now},
		})
		same(t, "calls", len(p.engine.deferred()), 2)
		same(t, "x rests", w.stats("x").Deferred, 7*time.Second)
		same(t, "y rests", w.stats("y").Deferred, 57*time.Second)
		p.flushDeferrals([]deferral{{lane: x, rest: time.Second, at: now}})
		same(t, "x rests", w.stats("x").Deferred, time.Duration(0))
	})
}

func TestDeferralsAreWrittenSeveralAtATime(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.start()
		var mu sync.Mutex
		now, most := 0, 0
		count := func(by int) {
			mu.Lock()
			defer mu.Unlock()
			now += by
			most = max(most, now)
		}
		p.engine.hook(hooks{postponing: func(context.Context, engine.Lane, time.Duration, func() error) error {
			count(1)
			time.Sleep(time.Second)
			count(-1)
			return nil
		}})
		var items []deferral
		for _, lane := range named("lane", 3*maxDeferrals) {
			items = append(items, deferral{lane: engine.Lane{Kind: testKind, Name: lane}, rest: time.Minute, at: time.Now()})
		}
		p.flushDeferrals(items)
		same(t, "it took", time.Since(w.began), 3*time.Second)
		same(t, "most at a time", most, maxDeferrals)
	})
}

func TestADrainWaitsForDeferralsUnderWay(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(Verdict{Action: TryAgain, HasAfter: true, After: time.Minute, LaneWaits: true}, 0))
		c.Terms = adapting(4)
		p, pool := w.one(c)
		p.engine.hook(hooks{postponing: func(context.Context, engine.Lane, time.Duration, func() error) error {
			time.Sleep(3 * time.Second)
			return nil
		}})
		w.push(p, pool, "x", "1")
		p.drain(time.Minute)
		same(t, "it took", time.Since(w.began), 3*time.Second)
	})
}
