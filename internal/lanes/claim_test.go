package lanes

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// A process was out of reach for longer than its lease, but nobody took its
// job: its own claim brings it again, and it goes on.
func TestAJobThatIsOverdueAndClaimedAgainIsNotTriedTwice(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 20*time.Second)))
		var down atomic.Bool
		down.Store(true)
		p.engine.hook(hooks{settle: extendingBy(func(_ context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			if down.Load() {
				return nil, errOut
			}
			return call()
		})})
		w.push(p, pool, "x", "1")
		w.at(9 * time.Second)
		same(t, "claimed again", w.stats("x").Leased, 1)
		same(t, "held", held(pool), 1)
		down.Store(false)
		w.at(14 * time.Second)
		same(t, "extensions, of the new lease", p.engine.done(engine.Extend), 1)
		w.at(21 * time.Second)
		same(t, "stored outcomes", p.engine.done(engine.Done), 1)
		same(t, "outcomes with a stale ticket", p.engine.refused(engine.Done)+p.engine.refused(engine.Extend), 0)
		same(t, "causes", w.tries.of("x")[0].cause, error(nil))
		same(t, "left in the store", w.left(), 0)
		w.at(time.Minute)
		w.once([]string{"1"})
	})
}

// The same for one that waits behind others.
func TestAJobThatIsOverdueWhileItWaitsIsTriedOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		c := short(w.config(replies(fine, 900*time.Millisecond)))
		p, pool := w.one(c)
		p.engine.hook(hooks{settle: extendingFails})
		w.push(p, pool, "x", "1", "2", "3")
		w.at(6 * time.Second)
		same(t, "left in the store", w.left(), 0)
		w.once([]string{"1", "2", "3"})
	})
}

// The claim has brought the job again, but its answer is on its way when the
// extension turns out stale: that is no reason to take the lease for lost.
func TestAnExtensionThatAClaimUnderWayHasOvertakenIsNoLostLease(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 20*time.Second)))
		p.engine.hook(hooks{
			claim: func(_ context.Context, _ engine.ClaimRequest, call func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
				res, err := call()
				if len(res.Jobs) > 0 {
					time.Sleep(2500 * time.Millisecond)
				}
				return res, err
			},
			settle: extendingBy(func(_ context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
				if time.Since(w.began) < 8500*time.Millisecond {
					return nil, errOut
				}
				return call() // at 9 s, while the claim of 8.3 s is under way
			}),
		})
		w.at(300 * time.Millisecond)
		w.push(p, pool, "x", "1")
		w.at(19 * time.Second)
		if p.engine.refused(engine.Extend) == 0 {
			t.Error("no extension was overtaken")
		}
		same(t, "tries under way", w.tries.running("x"), 1)
		w.at(time.Minute)
		same(t, "causes", w.tries.of("x")[0].cause, error(nil))
		same(t, "stored outcomes", p.engine.done(engine.Done), 1)
		w.once([]string{"1"})
	})
}

// Both processes have the same lanes, events and channels: only what is
// overdue and really the same job is in good hands already.
func TestOnlyTheSameJobIsInGoodHands(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 20*time.Second)))
		p.engine.hook(hooks{settle: extendingBy(func(context.Context, func() ([]engine.Settled, error)) ([]engine.Settled, error) { return nil, errOut })})
		w.push(p, pool, "x", "1")
		// In other lanes and of other events, claimed before by a process that died.
		w.deposit("x", "2")
		w.at(time.Second)
		w.deposit("y", "1")
		w.at(30 * time.Second)
		same(t, "tries in x", w.tries.ids("x"), []string{"1", "2"})
		same(t, "tries in y", w.tries.ids("y"), []string{"1"})
	})
}

func TestAJobOfAProcessThatDiedIsTriedWithTheClaimsCounted(t *testing.T) {
	inBubble(t, func(w *world) {
		w.deposit("x", "1")
		_, err := w.outside.Claim(t.Context(), engine.ClaimRequest{Kind: testKind, Max: 1, MaxPerLane: 1, Lease: 3 * time.Second})
		must(t, err)
		w.one(w.config(nil))
		w.at(2900 * time.Millisecond)
		same(t, "tries", len(w.tries.of("x")), 0)
		w.at(3100 * time.Millisecond)
		same(t, "tries", len(w.tries.of("x")), 1)
		j := w.tries.of("x")[0].jobs[0]
		same(t, "claims", j.Claims, 2)
		same(t, "age", j.Age(), 3100*time.Millisecond)
	})
}

func TestClaimsGoOnAfterAnOutage(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.deaf = true
		pool := p.Add(w.config(nil))
		p.start()
		var down atomic.Bool
		down.Store(true)
		p.engine.hook(hooks{claim: func(_ context.Context, _ engine.ClaimRequest, call func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
			if down.Load() {
				return engine.ClaimResult{}, errOut
			}
			return call()
		}})
		w.deposit("x", "1")
		w.at(4 * time.Second)
		same(t, "complaints before the next look", w.log.count("can't claim"), 0)
		w.at(time.Minute)
		// 50 ms, twice that, and so on to 2 s, each less up to half of it.
		if n := len(p.engine.requests()); n < 30 || n > 65 {
			t.Errorf("%d claims in a minute", n)
		}
		same(t, "complaints", w.log.count("level=ERROR", "can't claim jobs", "kind=handle", "out of reach"), 1)
		same(t, "stalled", p.Stalled(), []engine.Kind{testKind})
		same(t, "held", held(pool), 0)
		down.Store(false)
		w.at(62*time.Second + 10*time.Millisecond)
		w.once([]string{"1"})
		same(t, "good news", w.log.count("level=INFO", "claiming jobs again", "kind=handle"), 1)
		same(t, "stalled", len(p.Stalled()), 0)
		w.at(2 * time.Minute)
		same(t, "good news", w.log.count("claiming jobs again"), 1)
		down.Store(true)
		w.at(3 * time.Minute)
		same(t, "complaints after a second outage", w.log.count("can't claim jobs"), 2)
	})
}

func TestBackoffGrowsToTwoSeconds(t *testing.T) {
	var b backoff
	for i, want := range []time.Duration{50, 100, 200, 400, 800, 1600, 2000, 2000} {
		want *= time.Millisecond
		if d := b.next(); d > want || d < want/2 {
			t.Errorf("pause %d is %v, want about %v", i, d, want)
		}
		same(t, "first", b.first(), i == 0)
	}
	same(t, "over", b.over(), true)
	same(t, "over again", b.over(), false)
	b.next()
	same(t, "first", b.first(), true)
}

func TestAPoolThatCanNotLookForWorkCountsAsStalled(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(nil))
		w.at(4 * time.Second)
		p.engine.hook(hooks{claim: func(ctx context.Context, _ engine.ClaimRequest, _ func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
			<-ctx.Done()
			return engine.ClaimResult{}, ctx.Err()
		}})
		w.at(14900 * time.Millisecond)
		same(t, "stalled", pool.Stalled(), false)
		w.at(15100 * time.Millisecond) // the last claim was at 0 s
		same(t, "stalled", pool.Stalled(), true)
		same(t, "complaints", w.log.count("can't claim jobs"), 0)
		w.at(36 * time.Second) // the claim was at 5 s
		same(t, "complaints", w.log.count("can't claim jobs"), 1)
		p.engine.hook(hooks{})
		w.at(70 * time.Second)
		same(t, "stalled", pool.Stalled(), false)
		p.drain(time.Second)
		w.at(2 * time.Minute)
		same(t, "stalled when drained", pool.Stalled(), false)
		p.engine.hook(hooks{claim: func(ctx context.Context, _ engine.ClaimRequest, _ func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
			<-ctx.Done()
			return engine.ClaimResult{}, ctx.Err()
		}})
		p.start()
		same(t, "stalled when just started", pool.Stalled(), false)
		w.wait(16 * time.Second)
		same(t, "stalled", pool.Stalled(), true)
	})
}

// A pool that has nothing to look for is not stalled.
func TestAPoolWithoutLanesToWorkOnDoesNotStall(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(nil)
		var only atomic.Pointer[[]string]
		only.Store(&[]string{})
		c.Only = func() []string { return *only.Load() }
		p, pool := w.one(c)
		w.deposit("x", "1")
		w.deposit("y", "2")
		w.at(31 * time.Second)
		same(t, "claims", len(p.engine.requests()), 0)
		same(t, "stalled", pool.Stalled(), false)
		only.Store(&[]string{"y"})
		w.at(36 * time.Second)
		same(t, "tried", w.tries.ids(""), []string{"2"})
		same(t, "lanes asked for", p.engine.requests()[0].Only, []string{"y"})
	})
}

func TestAnEmptyStoreIsLookedIntoEachPollInterval(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.deaf = true
		p.Add(w.config(nil))
		p.start()
		w.at(500 * time.Millisecond)
		w.deposit("x", "1") // nobody says so
		w.at(PollInterval - 100*time.Millisecond)
		same(t, "claims", len(p.engine.requests()), 1)
		w.at(PollInterval + 100*time.Millisecond)
		w.once([]string{"1"})
		w.at(10*PollInterval + 100*time.Millisecond)
		if n := len(p.engine.requests()); n < 10 || n > 12 {
			t.Errorf("%d claims", n)
		}
	})
}

func TestAHintMakesThePoolLook(t *testing.T) {
	inBubble(t, func(w *world) {
		p, _ := w.one(w.config(nil))
		w.at(time.Second)
		w.deposit("x", "1")
		w.once([]string{"1"})
		before := len(p.engine.requests())
		p.Wake(engine.FanOut)
		w.wait(0)
		same(t, "claims because of a hint about others", len(p.engine.requests())-before, 0)
	})
}

func TestAPoolComesBackWhenTheStoreSaysThatAJobIsDue(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.deaf = true
		p.Add(w.config(nil))
		w.depositLater("x", "1", 2*time.Second)
		p.start()
		w.at(2100 * time.Millisecond)
		same(t, "tries begun at", w.tries.begins("x", time.Millisecond), []time.Duration{2 * time.Second})
		same(t, "claims", len(p.engine.requests()) <= 4, true)
	})
}

// Others were quicker: the pool asks again, but not without a pause.
func TestAPoolThatWasBeatenToAJobPauses(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.engine.hook(hooks{claim: func(_ context.Context, _ engine.ClaimRequest, call func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
			if time.Since(w.began) < time.Second {
				return engine.ClaimResult{Next: 0}, nil
			}
			return call()
		}})
		p.Add(w.config(nil))
		p.start()
		w.at(1100 * time.Millisecond)
		if n := len(p.engine.requests()); n < 100 || n > 103 {
			t.Errorf("%d claims in a second", n)
		}
	})
}

func TestARetryThatIsDueSoonIsLookedForInTime(t *testing.T) {
	for _, after := range []time.Duration{0, 10 * time.Millisecond, 2 * time.Second, PollInterval - time.Millisecond} {
		t.Run(after.String(), func(t *testing.T) {
			inBubble(t, func(w *world) {
				c := w.config(func(_ context.Context, t *try) Verdict {
					if t.jobs[0].Attempt == 0 {
						return Verdict{Action: TryAgain}
					}
					return fine
				})
				c.Retry = retryAfter(after)
				p := w.process()
				p.deaf = true
				pool := p.Add(c)
				p.start()
				w.at(100 * time.Millisecond)
				w.push(p, pool, "x", "1")
				w.at(PollInterval - time.Millisecond) // a look at that time would hide what is tested
				w.at(PollInterval + 200*time.Millisecond)
				same(t, "tries begun at", w.tries.begins("x", time.Millisecond), []time.Duration{100 * time.Millisecond, 100*time.Millisecond + after})
			})
		})
	}
}

func TestAJobGivenBackIsLookedForInTime(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.deaf = true
		pool := p.Add(w.config(func(context.Context, *try) Verdict {
			if len(w.tries.of("x")) == 1 {
				return Verdict{Action: GiveBack, After: time.Second}
			}
			return fine
		}))
		p.start()
		w.at(100 * time.Millisecond)
		w.push(p, pool, "x", "1")
		w.at(3 * time.Second)
		same(t, "tries begun at", w.tries.begins("x", time.Millisecond), []time.Duration{100 * time.Millisecond, 1100 * time.Millisecond})
	})
}

// Jobs that fail one after the other, each due again at a time of its own.
func TestEachJobThatIsDueSoonIsLookedForInTime(t *testing.T) {
	inBubble(t, func(w *world) {
		after := map[string]time.Duration{
			"1": 3 * time.Second, // from 0.1 s: due at 3.1 s
			"2": time.Second,     // from 0.2 s: due at 1.2 s, sooner
			"3": 4 * time.Second, // from 0.3 s: due at 4.3 s, later
			"4": 2 * time.Second, // from 5 s, when the last look is over: due at 7 s
		}
		p := w.process()
		p.deaf = true
		pool := p.Add(w.config(func(_ context.Context, t *try) Verdict {
			if t.jobs[0].Attempt > 0 {
				return fine
			}
			return Verdict{Action: TryAgain, HasAfter: true, After: after[t.ids[0]]}
		}))
		p.start()
		for i, at := range []time.Duration{100, 200, 300, 5000} {
			w.at(at * time.Millisecond)
			w.push(p, pool, "x", named("", 4)[i])
		}
		w.at(10 * time.Second)
		var second []string
		for _, t := range w.tries.of("x") {
			if t.jobs[0].Attempt > 0 {
				second = append(second, t.ids[0]+" at "+t.began.String())
			}
		}
		same(t, "second tries", second, []string{"2 at 1.2s", "1 at 3.1s", "3 at 4.3s", "4 at 7s"})
	})
}

// looks has a pool look into the store, and returns when it did in the time
// that follows.
func looks(w *world, p *process, pool *Pool, within time.Duration, after ...time.Duration) (at []time.Duration) {
	for _, d := range after {
		pool.mu.Lock()
		pool.lookAfterLocked(d)
		pool.mu.Unlock()
	}
	began := time.Now()
	before := len(p.engine.requests())
	for time.Since(began) < within {
		w.wait(10 * time.Millisecond)
		if n := len(p.engine.requests()); n > before {
			before = n
			at = append(at, time.Since(began).Round(100*time.Millisecond))
		}
	}
	return at
}

func TestALookAtTheVeryMomentOfTheLastOneIsNotForgotten(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.deaf = true
		pool := p.Add(w.config(nil))
		p.start()
		w.at(5 * time.Millisecond)
		pool.mu.Lock()
		pool.lookAfterLocked(time.Second)
		pool.mu.Unlock()
		time.Sleep(time.Second) // the look may be about to begin, or over
		if at := looks(w, p, pool, 2*time.Second, time.Second); len(at) == 0 || at[len(at)-1] != time.Second {
			t.Errorf("looks at %v", at)
		}
		same(t, "looks, the sooner one first", looks(w, p, pool, 2*time.Second, 1500*time.Millisecond, time.Second), []time.Duration{time.Second})
		same(t, "looks, the later one first", looks(w, p, pool, 2*time.Second, time.Second, 1500*time.Millisecond), []time.Duration{time.Second})
		same(t, "looks, at once", looks(w, p, pool, 2*time.Second, 0, -1), []time.Duration{0})
		same(t, "looks, not before the next poll", looks(w, p, pool, 2*time.Second, PollInterval), []time.Duration(nil))
	})
}

func TestAPoolLooksInTimeAgainOnceItWasDrainedAndStarted(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.deaf = true
		pool := p.Add(w.config(nil))
		p.start()
		w.at(5 * time.Millisecond)
		pool.mu.Lock()
		pool.lookAfterLocked(2 * time.Second)
		pool.mu.Unlock()
		p.drain(time.Second)
		same(t, "looks when drained", looks(w, p, pool, time.Second, 500*time.Millisecond), []time.Duration(nil))
		p.start()
		same(t, "looks", looks(w, p, pool, 3*time.Second, 2500*time.Millisecond), []time.Duration{2500 * time.Millisecond})
	})
}

// Before there was an event, it may be as large as events get; and a lane that
// nobody knows has yet to show that it works.
func TestTheFirstClaimAsksForLittle(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(nil)
		c.EventBytes = 1 << 20
		p, _ := w.one(c)
		first := p.engine.requests()[0]
		same(t, "asked for", []int{first.Max, first.MaxPerLane}, []int{64, claimMax})
		same(t, "lease", first.Lease, testLease)
		same(t, "lanes", first.Only == nil, true)
		c.Terms = adapting(8)
		p, _ = w.one(c)
		first = p.engine.requests()[0]
		same(t, "asked for", []int{first.Max, first.MaxPerLane}, []int{64, 1})
	})
}
