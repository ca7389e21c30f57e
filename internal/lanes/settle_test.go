package lanes

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

func TestAnOutcomeWaitsForTheTicketOfAnExtensionUnderWay(t *testing.T) {
	for _, stored := range []bool{false, true} {
		t.Run(fmt.Sprintf("extended in the store=%v", stored), func(t *testing.T) {
			inBubble(t, func(w *world) {
				p, pool := w.one(w.config(replies(fine, 6*time.Second)))
				p.engine.hook(hooks{settle: extendingBy(func(_ context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
					if stored {
						defer time.Sleep(2 * time.Second)
					} else {
						time.Sleep(2 * time.Second)
					}
					return call()
				})})
				w.push(p, pool, "x", "1")
				w.at(6500 * time.Millisecond) // the lease is being extended since 5 s
				same(t, "tries under way", w.tries.running("x"), 0)
				same(t, "outcomes sent meanwhile", p.engine.counted().settle, 0)
				same(t, "held meanwhile", held(pool), 1)
				w.at(7500 * time.Millisecond)
				same(t, "stored outcomes", p.engine.done(engine.Done), 1)
				same(t, "outcomes with a stale ticket", p.engine.refused(engine.Done), 0)
				same(t, "held", held(pool), 0)
				same(t, "left in the store", w.left(), 0)
				w.once([]string{"1"})
			})
		})
	}
}

func TestAnOutcomeIsStoredThoughTheExtensionUnderWayFails(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 6*time.Second)))
		p.engine.hook(hooks{settle: extendingBy(func(context.Context, func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			time.Sleep(2 * time.Second)
			return nil, errOut
		})})
		w.push(p, pool, "x", "1")
		w.at(7500 * time.Millisecond)
		same(t, "stored outcomes", p.engine.done(engine.Done), 1)
		same(t, "held", held(pool), 0)
		w.once([]string{"1"})
	})
}

// The extension turns out stale: the job is somebody else's, with its outcome
// and what follows from it.
func TestAnOutcomeIsDroppedIfTheExtensionItWaitedForWasTooLate(t *testing.T) {
	inBubble(t, func(w *world) {
		var pool *Pool
		p := w.process()
		pool = p.Add(w.config(func(_ context.Context, t *try) Verdict {
			pool.CancelIfLost(t.jobs[0], func(error) { w.Error("a try that has ended was cancelled") })
			time.Sleep(7 * time.Second)
			v := fine
			v.Follow.Add(pool, nil, "y")
			v.Follow.Add(pool, event("other"), "y")
			return v
		}))
		p.start()
		p.engine.hook(hooks{claim: nothingDue, settle: extendingBy(func(_ context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			time.Sleep(time.Until(w.began.Add(8500 * time.Millisecond)))
			same(t, "taken by another process", w.grab("x"), []string{"1"})
			return call()
		})})
		w.push(p, pool, "x", "1")
		w.at(8 * time.Second)
		same(t, "held while it waits, with two follow-ups", held(pool), 3)
		same(t, "held of the follow-ups' lane", heldOf(pool, "y"), 2)
		w.at(9 * time.Second)
		same(t, "held", held(pool), 0)
		same(t, "held of the follow-ups' lane", heldOf(pool, "y"), 0)
		same(t, "outcomes sent", p.engine.counted().settle, 0)
		same(t, "warnings", w.log.count("level=WARN", "another worker took over", "kind=handle", "event=1", "channel=a", "lane=x", "attempt=0"), 1)
		same(t, "left in the store", w.left(), 1)
		w.once([]string{"1"})
	})
}

// While this process was out of reach its lease ended, and its own claim
// brings the job again: the outcome is stored under the new ticket.
func TestAStaleOutcomeIsStoredWithTheTicketThatAClaimUnderWayBrings(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 10*time.Second)))
		p.engine.hook(hooks{
			claim: func(_ context.Context, _ engine.ClaimRequest, call func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
				res, err := call()
				if len(res.Jobs) > 0 {
					time.Sleep(3 * time.Second) // the answer is on its way
				}
				return res, err
			},
			settle: extendingBy(func(context.Context, func() ([]engine.Settled, error)) ([]engine.Settled, error) { return nil, errOut }),
		})
		w.push(p, pool, "x", "1")
		w.at(10500 * time.Millisecond)
		same(t, "outcomes with a stale ticket", p.engine.refused(engine.Done), 1)
		same(t, "held, with the claim under way", held(pool), 2)
		w.at(11500 * time.Millisecond)
		same(t, "stored outcomes", p.engine.done(engine.Done), 1)
		same(t, "held", held(pool), 0)
		same(t, "left in the store", w.left(), 0)
		w.at(time.Minute)
		w.once([]string{"1"})
	})
}

func TestAStaleOutcomeIsDroppedIfTheClaimUnderWayDoesNotBringItsJob(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		var pool *Pool
		pool = p.Add(w.config(func(context.Context, *try) Verdict {
			time.Sleep(10 * time.Second)
			v := fine
			v.Follow.Add(pool, nil, "y")
			return v
		}))
		p.start()
		p.engine.hook(hooks{
			claim: func(_ context.Context, _ engine.ClaimRequest, call func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
				if time.Since(w.began) < 8*time.Second {
					return call()
				}
				w.grab("x")
				res, err := call()
				time.Sleep(3 * time.Second)
				return res, err
			},
			settle: extendingBy(func(context.Context, func() ([]engine.Settled, error)) ([]engine.Settled, error) { return nil, errOut }),
		})
		w.push(p, pool, "x", "1")
		w.at(10500 * time.Millisecond)
		same(t, "outcomes with a stale ticket", p.engine.refused(engine.Done), 1)
		same(t, "held, with the claim under way and the follow-up", held(pool), 3)
		w.at(11500 * time.Millisecond)
		same(t, "held of the follow-up's lane", heldOf(pool, "y"), 0)
		same(t, "held of the lane", heldOf(pool, "x"), 0)
		same(t, "left in the store, with the other process", w.left(), 1)
		w.at(20 * time.Second)
		w.once([]string{"1"})
	})
}

func TestAStaleOutcomeIsDroppedIfNoClaimIsUnderWay(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		var pool *Pool
		pool = p.Add(w.config(func(context.Context, *try) Verdict {
			time.Sleep(9500 * time.Millisecond)
			v := fine
			v.Follow.Add(pool, nil, "y")
			return v
		}))
		p.start()
		p.engine.hook(hooks{claim: nothingDue, settle: extendingBy(func(context.Context, func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			return nil, errOut
		})})
		w.push(p, pool, "x", "1")
		w.at(9 * time.Second)
		w.grab("x")
		w.at(9600 * time.Millisecond)
		same(t, "outcomes with a stale ticket", p.engine.refused(engine.Done), 1)
		same(t, "held", held(pool), 0)
		same(t, "held of the follow-up's lane", heldOf(pool, "y"), 0)
		same(t, "left in the store", w.left(), 1)
		w.once([]string{"1"})
	})
}

// The outcome is on its way when the lease ends, and a claim brings the job
// under a new ticket before the store has seen the outcome.
func TestAnOutcomeThatAClaimHasOvertakenIsSentAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, time.Second)))
		p.engine.hook(hooks{settle: settlingBy(func(_ context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			if p.engine.counted().settle == 1 {
				time.Sleep(8 * time.Second)
			}
			return call()
		})})
		w.push(p, pool, "x", "1")
		w.at(8500 * time.Millisecond)
		same(t, "held", held(pool), 1)
		w.at(9500 * time.Millisecond)
		same(t, "outcomes with a stale ticket", p.engine.refused(engine.Done), 1)
		same(t, "stored outcomes", p.engine.done(engine.Done), 1)
		same(t, "held", held(pool), 0)
		w.at(30 * time.Second)
		same(t, "left in the store", w.left(), 0)
		w.once([]string{"1"})
	})
}

// The outcome is in the store, the answer on its way. Meanwhile a claim brings
// the job, which is due again.
func TestAJobThatIsDueAgainBeforeItsOutcomeIsAcknowledgedIsTriedAgain(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			time.Sleep(4500 * time.Millisecond) // so that it looks overdue
			if t.jobs[0].Attempt == 0 {
				return Verdict{Action: TryAgain}
			}
			return fine
		})
		c.Retry = retryAfter(0)
		p, pool := w.one(c)
		p.engine.hook(hooks{settle: settlingBy(func(_ context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			defer time.Sleep(time.Second)
			return call()
		})})
		w.push(p, pool, "x", "1")
		pool.mu.Lock()
		pool.giveBacks, pool.lanes["x"].gaveBack = 1, 1 // what was given back before is of no concern
		pool.mu.Unlock()
		w.at(5 * time.Second)
		same(t, "held, before the first outcome is acknowledged", held(pool) > 0, true)
		w.at(13 * time.Second)
		same(t, "tries begun at", w.tries.begins("x", 500*time.Millisecond)[:2], []time.Duration{0, 5500 * time.Millisecond})
		same(t, "tries", len(w.tries.of("x")), 2)
		same(t, "stored outcomes", p.engine.done(engine.Done), 1)
		same(t, "left in the store", w.left(), 0)
	})
}

func TestAStoreThatDoesNotSettleIsAskedUntilItDoes(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(nil))
		var down atomic.Bool
		down.Store(true)
		p.engine.hook(hooks{settle: settlingBy(func(_ context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			if down.Load() {
				return nil, errOut
			}
			return call()
		})})
		w.push(p, pool, "x", "1")
		w.at(time.Minute)
		if n := p.engine.counted().settle; n < 30 || n > 70 {
			t.Errorf("asked %d times in a minute", n)
		}
		same(t, "complaints", w.log.count("level=ERROR", "can't settle jobs", "jobs=1"), 1)
		same(t, "held", held(pool), 1)
		down.Store(false)
		w.at(63 * time.Second)
		same(t, "held", held(pool), 0)
		same(t, "good news", w.log.count("level=INFO", "settling jobs again"), 1)
		same(t, "left in the store", w.left(), 0)
		w.push(p, pool, "x", "2")
		same(t, "good news", w.log.count("settling jobs again"), 1)
		w.once([]string{"1", "2"})
	})
}

// A store that was closed does not come back to this process: the job is
// somebody's again when its lease ends.
func TestAnOutcomeForAStoreThatIsClosedIsGivenUp(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		var pool *Pool
		pool = p.Add(w.config(func(_ context.Context, _ *try) Verdict {
			v := fine
			if len(w.tries.of("")) == 1 {
				v.Follow.Add(pool, event("2"), "y")
			}
			return v
		}))
		p.start()
		p.engine.hook(hooks{settle: settlingBy(func(_ context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			if p.engine.counted().settle == 1 {
				return nil, fmt.Errorf("no: %w", engine.ErrClosed)
			}
			return call()
		})})
		w.push(p, pool, "x", "1")
		same(t, "calls", p.engine.counted().settle, 1)
		same(t, "complaints", w.log.count("level=ERROR", "outcomes of jobs were not stored", "jobs=1"), 1)
		same(t, "held", held(pool), 0)
		same(t, "held of the follow-up's lane", heldOf(pool, "y"), 0)
		same(t, "left in the store", w.left(), 1)
		w.at(9 * time.Second) // its lease has ended
		same(t, "tries", w.tries.ids(""), []string{"1", "1"})
		same(t, "left in the store", w.left(), 0)
	})
}

func TestASettlementIsGivenUpWhenItTakesTooLong(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(nil))
		p.engine.hook(hooks{settle: settlingBy(func(ctx context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			if p.engine.counted().settle == 1 {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return call()
		})})
		w.push(p, pool, "x", "1")
		w.at(engineTimeout - time.Second)
		same(t, "calls", p.engine.counted().settle, 1)
		w.at(engineTimeout + time.Second)
		same(t, "calls", p.engine.counted().settle > 1, true)
		same(t, "held", held(pool), 0)
		w.once([]string{"1"})
	})
}

func TestFollowUpsCountForTheSizeOfAWrite(t *testing.T) {
	same(t, "size", (&settlement{}).size(), 1)
	same(t, "size with two follow-ups", (&settlement{follow: Push{jobs: make([]engine.Job, 2)}}).size(), 3)
}

// What follows the job "bad" is in no lane, which no store takes. Outcomes that
// are stored in the same step are not held up, and the job is not run for ever.
func TestAnOutcomeThatNoStoreTakesHoldsUpNoOther(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		var pool *Pool
		pool = p.Add(w.config(func(_ context.Context, t *try) Verdict {
			time.Sleep(time.Second) // so that the outcomes come together
			v := fine
			if t.ids[0] == "bad" {
				v.Follow.Add(pool, nil, "")
				v.Follow.Add(pool, event("other"), "y")
			}
			return v
		}))
		p.start()
		w.push(p, pool, "x", "1", "bad", "2")
		w.at(time.Hour)
		same(t, "stored outcomes", p.engine.done(engine.Done), 2)
		same(t, "held", held(pool), 0)
		same(t, "held of the follow-up's lane", heldOf(pool, "y"), 0)
		same(t, "complaints", w.log.count("level=ERROR", "can't be stored", "event=bad"), 1)
		w.once([]string{"1", "bad", "2"})
		dead, err := w.outside.Dead(t.Context(), engine.DeadQuery{})
		must(t, err)
		if len(dead) != 1 || dead[0].Event.ID != "bad" {
			t.Fatalf("the dead letters are %+v, want the job itself", dead)
		}
		if !strings.HasPrefix(dead[0].Reason, "its outcome can't be stored: ") {
			t.Errorf("it is dead since %q", dead[0].Reason)
		}
	})
}
