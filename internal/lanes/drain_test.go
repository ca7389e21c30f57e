package lanes

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

func TestDrainingReturnsWhatWaitsAndFinishesWhatIsUnderWay(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 3*time.Second)))
		w.push(p, pool, "x", named("", 10)...)
		w.at(time.Second)
		same(t, "tries under way", w.tries.running("x"), 4)
		time.AfterFunc(time.Second, func() {
			same(t, "given back at once", p.engine.done(engine.Release), 6)
			same(t, "waiting in the store", w.stats("x").Waiting, 6)
		})
		same(t, "cancelled", p.drain(time.Minute), 0)
		same(t, "it took until", time.Since(w.began), 3*time.Second)
		same(t, "finished", p.engine.done(engine.Done), 4)
		same(t, "tried", w.tries.ids("x"), named("", 4))
		for _, t := range w.tries.of("") {
			same(w, "cause", t.cause, error(nil))
		}
		same(t, "left in the store", w.left(), 6)
	})
}

func TestDrainingKeepsLeasesAlive(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 19*time.Second)))
		w.push(p, pool, "x", "1")
		w.at(time.Second)
		same(t, "cancelled", p.drain(time.Minute), 0)
		same(t, "finished", p.engine.done(engine.Done), 1)
		same(t, "extensions", p.engine.done(engine.Extend), 3)
	})
}

func TestAPoolThatHoldsNothingIsDrainedAtOnce(t *testing.T) {
	inBubble(t, func(w *world) {
		p, _ := w.one(w.config(nil))
		w.at(time.Second)
		same(t, "cancelled", p.drain(time.Minute), 0)
		same(t, "it took until", time.Since(w.began), time.Second)
	})
}

// Also for what is told of a try after its job is gone.
func TestADrainWaitsForItsGoroutines(t *testing.T) {
	for _, cancelled := range []int{0, 1} {
		inBubble(t, func(w *world) {
			told := 0
			c := w.config(func(ctx context.Context, _ *try) Verdict {
				if cancelled > 0 {
					<-ctx.Done()
				}
				return fine
			})
			c.Ended = func(*Lane, []*Job, []Verdict, []engine.Outcome) {
				time.Sleep(time.Second)
				told++
			}
			p, pool := w.one(c)
			w.push(p, pool, "x", "1")
			same(t, "cancelled", p.drain(10*time.Second), cancelled)
			same(t, "told", told, 1)
			same(t, "it took", time.Since(w.began), time.Second+time.Duration(cancelled)*10*time.Second)
		})
	}
}

func TestALaneIsMetAnewAfterADrain(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, time.Second)))
		w.push(p, pool, "x", "1")
		p.drain(time.Minute)
		pool.Terms = func(string) Terms { return Terms{AtOnce: 1} }
		p.start()
		w.push(p, pool, "x", "2", "3")
		same(t, "tries under way", w.tries.running("x"), 1)
	})
}

func TestTriesThatTakeLongerThanTheDrainAreCancelled(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(func(ctx context.Context, _ *try) Verdict {
			<-ctx.Done()
			time.Sleep(time.Second)
			return Verdict{Action: GiveBack}
		}))
		w.push(p, pool, "x", named("", 7)...)
		same(t, "cancelled", p.drain(10*time.Second), 4)
		same(t, "it took", time.Since(w.began), 11*time.Second)
		for _, t := range w.tries.of("") {
			if !errors.Is(t.cause, ErrStopping) {
				w.Errorf("the cause is %v", t.cause)
			}
		}
		same(t, "given back", p.engine.done(engine.Release), 7)
		same(t, "waiting in the store", w.stats("x").Waiting, 7)
	})
}

// Jobs whose outcome is known do not count as cancelled.
func TestOnlyTriesAreCancelledNotOutcomes(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(func(ctx context.Context, t *try) Verdict {
			if t.lane == "slow" {
				<-ctx.Done()
			}
			return fine
		}))
		p.engine.hook(hooks{settle: settlingBy(func(_ context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			time.Sleep(2 * time.Second)
			return call()
		})})
		w.push(p, pool, "x", "1", "2")
		w.push(p, pool, "slow", "3")
		same(t, "cancelled", p.drain(time.Second), 1)
		same(t, "finished", p.engine.done(engine.Done), 3)
	})
}

// A try that ignores its context, and a store that does not answer, hold a
// drain up for a moment only.
func TestADrainEndsThoughATryDoesNot(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, time.Minute)))
		w.push(p, pool, "x", "1")
		same(t, "cancelled", p.drain(10*time.Second), 1)
		same(t, "it took", time.Since(w.began), 10*time.Second+cancelGrace)
		w.at(2 * time.Minute)
		same(t, "outcomes", p.engine.counted().settle, 1)
		same(t, "complaints", w.log.count("outcomes of jobs were not stored"), 1)
	})
}

func TestADrainEndsThoughTheStoreDoesNotSettle(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(nil))
		p.engine.hook(hooks{settle: func(_ context.Context, _ []engine.Outcome, _ func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			return nil, errOut
		}})
		w.push(p, pool, "x", "1")
		same(t, "cancelled", p.drain(10*time.Second), 0)
		same(t, "it took", time.Since(w.began), 10*time.Second+cancelGrace)
		same(t, "complaints", w.log.count("outcomes of jobs were not stored", "jobs=1"), 1)
		same(t, "held", held(pool), 0)
		same(t, "left in the store", w.left(), 1)
	})
}

func TestADrainEndsThoughTheStoreHangs(t *testing.T) {
	inBubble(t, func(w *world) {
		hang := func(ctx context.Context) error {
			<-ctx.Done()
			return ctx.Err()
		}
		p, pool := w.one(w.config(nil))
		p.engine.hook(hooks{
			claim: func(ctx context.Context, _ engine.ClaimRequest, _ func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
				return engine.ClaimResult{}, hang(ctx)
			},
			settle: func(ctx context.Context, _ []engine.Outcome, _ func() ([]engine.Settled, error)) ([]engine.Settled, error) {
				return nil, hang(ctx)
			},
		})
		w.push(p, pool, "x", "1")
		p.drain(10 * time.Second)
		if took := time.Since(w.began); took > 16*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}

func TestWhatAClaimUnderWayBringsToADrainIsGivenBack(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(nil))
		w.at(time.Second)
		p.engine.hook(hooks{claim: func(_ context.Context, _ engine.ClaimRequest, call func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
			res, err := call()
			time.Sleep(3 * time.Second)
			return res, err
		}})
		w.deposit("x", "1", "2")
		w.at(2 * time.Second)
		same(t, "leased", w.stats("x").Leased, 2)
		same(t, "held", held(pool), 1)
		same(t, "cancelled", p.drain(time.Minute), 0)
		same(t, "it took until", time.Since(w.began), 4*time.Second)
		same(t, "waiting in the store", w.stats("x").Waiting, 2)
		same(t, "given back", p.engine.done(engine.Release), 2)
		same(t, "tries", len(w.tries.of("")), 0)
		same(t, "claims since", len(p.engine.requests()), 2)
	})
}

// Room is reserved, the job on its way into the store.
func TestADrainWaitsForPushesUnderWayAndGivesTheirJobsBack(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(nil))
		var push Push
		push.Add(pool, event("1"), "x")
		time.AfterFunc(2*time.Second, func() { must(t, store(context.Background(), &push, p.engine)) })
		same(t, "cancelled", p.drain(time.Minute), 0)
		same(t, "it took", time.Since(w.began), 2*time.Second)
		same(t, "waiting in the store", w.stats("x").Waiting, 1)
		same(t, "tries", len(w.tries.of("")), 0)
	})
}

func TestWhatIsPushedAfterADrainWaitsInTheStore(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(nil))
		p.drain(time.Minute)
		w.push(p, pool, "x", "1")
		same(t, "waiting in the store", w.stats("x").Waiting, 1)
		p.start()
		w.once([]string{"1"})
	})
}

func TestAPoolThatWasNotStartedTakesNothingIn(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		pool := p.Add(w.config(nil))
		w.push(p, pool, "x", "1")
		w.at(time.Minute)
		same(t, "waiting in the store", w.stats("x").Waiting, 1)
		same(t, "stalled", pool.Stalled(), false)
	})
}

func TestDrainingTwiceAndWithoutAStartDoesNothing(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		pool := p.Add(w.config(func(context.Context, *try) Verdict {
			if len(w.tries.of("")) == 1 {
				time.Sleep(time.Minute)
			}
			return fine
		}))
		same(t, "cancelled without a start", p.Drain(time.Second), 0)
		p.start()
		w.push(p, pool, "x", "1")
		same(t, "cancelled", p.drain(time.Second), 1)
		at := time.Since(w.began)
		same(t, "cancelled the second time", p.drain(time.Second), 0)
		same(t, "time the second drain took", time.Since(w.began)-at, time.Duration(0))
		w.wait(time.Minute)
		p.start()
		p.drain(time.Second)
		same(t, "cancelled another time", p.drain(time.Second), 0)
	})
}

func TestAGroupThatWasDrainedCanBeStartedAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		pool := p.Add(w.config(replies(fine, time.Second)))
		for i, id := range named("", 3) {
			p.start()
			w.push(p, pool, "x", id)
			w.push(p, pool, "x", id+"b")
			same(t, "tries under way", w.tries.running("x"), 2)
			same(t, "cancelled", p.drain(time.Minute), 0)
			same(t, "finished", p.engine.done(engine.Done), 2*(i+1))
			synctest.Wait()
			pool.mu.Lock()
			same(t, "busy and idle workers", pool.workers.busy+pool.workers.idle, 0)
			pool.mu.Unlock()
		}
	})
}

// The first drain gave up on a try, which ends while the group is at work again.
func TestATryThatADrainGaveUpOnDoesNotDisturbTheNextStart(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, _ *try) Verdict {
			if len(w.tries.of("")) == 1 {
				time.Sleep(20 * time.Second)
			}
			return fine
		})
		p, pool := w.one(c)
		w.push(p, pool, "x", "1")
		w.push(p, pool, "x", "2")
		w.at(time.Second) // its worker waits for the next
		p.drain(time.Second)
		p.start()
		w.push(p, pool, "x", "3")
		w.at(40 * time.Second)
		same(t, "left in the store", w.left(), 0)
		same(t, "held", held(pool), 0)
		pool.mu.Lock()
		same(t, "busy", pool.workers.busy, 0)
		pool.mu.Unlock()
	})
}

// Parked workers are let go by the drain, while the next start may come at once.
func TestParkedWorkersOfAnEarlierStartAreCounted(t *testing.T) {
	for range 50 {
		inBubble(t, func(w *world) {
			c := w.config(func(_ context.Context, t *try) Verdict {
				if t.lane == "hangs" {
					time.Sleep(time.Minute)
				}
				return fine
			})
			p, pool := w.one(c)
			for _, lane := range named("lane", 20) {
				w.push(p, pool, lane, "1"+lane)
			}
			w.push(p, pool, "hangs", "2")
			p.drain(time.Second)
			p.start()
			pool.mu.Lock()
			same(t, "busy workers", pool.workers.busy, 1)
			pool.mu.Unlock()
			w.wait(2 * time.Minute)
		})
	}
}

func TestATryOfOnePoolIsHandedToTheNextWhileBothAreDrained(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		var second *Pool
		first := w.config(func(context.Context, *try) Verdict {
			time.Sleep(2 * time.Second)
			v := fine
			v.Follow.Add(second, nil, "y")
			return v
		})
		first.Kind = engine.FanOut
		one := p.Add(first)
		second = p.Add(w.config(nil))
		p.start()
		w.push(p, one, "x", "1")
		same(t, "cancelled", p.drain(time.Minute), 0)
		same(t, "finished", p.engine.done(engine.Done), 1)
		same(t, "waiting in the store for the next", w.stats("y").Waiting, 1)
	})
}
