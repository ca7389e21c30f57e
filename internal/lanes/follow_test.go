package lanes

import (
	"context"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// chain is a pool whose jobs of lane x are followed, in lane y of the same
// pool, by one of their own event and one of another.
func chain(w *world, p *process, took time.Duration) (pool *Pool) {
	pool = p.Add(w.config(func(_ context.Context, t *try) Verdict {
		if t.lane != "x" {
			return fine
		}
		time.Sleep(took)
		v := fine
		v.Follow.Add(pool, nil, "y")
		v.Follow.Add(pool, event(t.ids[0]+"-other"), "y")
		return v
	}))
	return pool
}

func TestFollowUpsIntoTheSamePoolDoNotDeadlock(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		pool := chain(w, p, 0)
		p.start()
		w.push(p, pool, "x", "1", "2")
		same(t, "tries in x", w.tries.ids("x"), []string{"1", "2"})
		same(t, "tries in y", w.tries.ids("y"), []string{"1", "1-other", "2", "2-other"})
		same(t, "bodies", string(w.tries.of("y")[0].jobs[0].Event.Body), "1")
		same(t, "left in the store", w.left(), 0)
		same(t, "held", held(pool), 0)
		for _, r := range p.engine.requests() {
			if n, named := r.Limits["y"]; named && n == 0 {
				t.Errorf("the lane of the follow-ups was left out: %v", r.Limits)
			}
		}
	})
}

func TestFollowUpsForWhichThereIsNoRoomAreClaimedLater(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.deaf = true
		var pool *Pool
		pool = p.Add(w.config(func(_ context.Context, t *try) Verdict {
			time.Sleep(time.Second)
			v := fine
			if t.lane == "x" {
				for _, id := range named("f", 30) {
					v.Follow.Add(pool, event(id), "y")
				}
			}
			return v
		}))
		p.start()
		w.push(p, pool, "x", "1")
		w.at(1500 * time.Millisecond)
		same(t, "held of y", heldOf(pool, "y"), 16)
		w.at(10 * time.Second)
		w.once(append(named("f", 30), "1"))
		same(t, "left in the store", w.left(), 0)
	})
}

func TestAFollowUpThatIsThereAlreadyTakesNoRoom(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		pool := chain(w, p, time.Second)
		p.start()
		w.depositLater("y", "1-other", time.Hour)
		w.push(p, pool, "x", "1")
		w.at(2 * time.Second)
		same(t, "tries in y", w.tries.ids("y"), []string{"1"})
		same(t, "held", held(pool), 0)
		same(t, "left in the store", w.left(), 1)
	})
}

// The outcome turns out stale: its follow-ups go to the same pool, whose lock
// giving back their room takes.
func TestFollowUpsOfAStaleOutcomeIntoTheSamePoolAreCancelled(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		pool := chain(w, p, 9500*time.Millisecond)
		p.start()
		p.engine.hook(hooks{claim: nothingDue, settle: extendingBy(func(context.Context, func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			return nil, errOut
		})})
		w.push(p, pool, "x", "1")
		w.at(9 * time.Second)
		w.grab("x")
		w.at(10 * time.Second)
		same(t, "tries in y", len(w.tries.of("y")), 0)
		same(t, "held", held(pool), 0)
		p.engine.hook(hooks{})
		w.push(p, pool, "x", "2")
		w.at(20 * time.Second)
		same(t, "tries in y", w.tries.ids("y"), []string{"2", "2-other"})
	})
}

func TestWhatFollowsAppearsOnlyIfTheJobIsFinished(t *testing.T) {
	for _, action := range []Action{TryAgain, Bury, GiveBack} {
		inBubble(t, func(w *world) {
			p := w.process()
			var pool *Pool
			pool = p.Add(w.config(func(_ context.Context, t *try) Verdict {
				v := Verdict{Action: action, After: time.Minute}
				if t.lane == "x" {
					v.Follow.Add(pool, nil, "y")
				}
				return v
			}))
			p.start()
			w.push(p, pool, "x", "1")
			same(t, "tries in y", len(w.tries.of("y")), 0)
			same(t, "waiting in y", w.stats("y").Waiting+w.stats("y").Leased, 0)
			same(t, "held", held(pool), 0)
		})
	}
}

// What one pool hands on goes straight to the next.
func TestFollowUpsAreHandedToTheNextPool(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.deaf = true
		var second *Pool
		first := w.config(func(context.Context, *try) Verdict {
			v := fine
			v.Follow.Add(second, nil, "y")
			return v
		})
		first.Kind = engine.FanOut
		one := p.Add(first)
		second = p.Add(w.config(nil))
		p.start()
		claims := len(p.engine.requests())
		w.push(p, one, "x", "1")
		same(t, "tries in y", w.tries.ids("y"), []string{"1"})
		same(t, "claims that took", len(p.engine.requests()), claims)
		same(t, "claims of the job, its own event's", w.tries.of("y")[0].jobs[0].Claims, 1)
	})
}

func TestAPushThatFailsGivesItsRoomBack(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(nil))
		p.engine.hook(hooks{push: func(context.Context, engine.PushRequest, func() (engine.PushResult, error)) (engine.PushResult, error) {
			return engine.PushResult{}, errOut
		}})
		var push Push
		push.Add(pool, event("1"), "x")
		push.Add(pool, event("2"), "x")
		same(t, "reserved", held(pool), 2)
		same(t, "error", store(t.Context(), &push, p.engine), errOut)
		same(t, "held", held(pool), 0)
		same(t, "held of the lane", heldOf(pool, "x"), 0)
		var empty Push
		must(t, store(t.Context(), &empty, p.engine))
		same(t, "calls", p.engine.counted().push, 1)
		same(t, "tries", len(w.tries.of("")), 0)
	})
}

func TestALeaseOfAPushCountsFromBeforeTheCall(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, time.Minute)))
		p.engine.hook(hooks{push: func(_ context.Context, _ engine.PushRequest, call func() (engine.PushResult, error)) (engine.PushResult, error) {
			tickets, err := call()
			time.Sleep(2500 * time.Millisecond)
			return tickets, err
		}})
		w.push(p, pool, "x", "1") // stored at 0 s, known at 2.5 s
		w.at(6 * time.Second)
		same(t, "extensions", p.engine.done(engine.Extend), 1)
	})
}
