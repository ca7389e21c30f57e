package lanes

import (
	"context"
	"testing"
	"time"
)

// A process all of whose workers hang keeps nothing from another one.
func TestWhatWaitsForWorkersThatAllHangGoesToAnotherProcess(t *testing.T) {
	inBubble(t, func(w *world) {
		var ts [2]tries
		release := make(chan struct{})
		hangs := func(_ context.Context, t *try) Verdict {
			if t.ids[0] == "hangs1" || t.ids[0] == "hangs2" {
				<-release
			}
			return fine
		}
		c := w.config(nil)
		c.Lease = 40 * time.Second // no matter how long
		c.Workers = 2
		c.Try = ts[0].trying(w, hangs)
		p, pool := w.one(c)
		w.push(p, pool, "a", "hangs1")
		w.push(p, pool, "b", "hangs2")
		w.push(p, pool, "c", named("", 10)...)
		same(t, "held", heldOf(pool, "c"), 10)

		c.Try = ts[1].trying(w, nil)
		c.Workers = 64
		w.one(c)
		w.at(2500 * time.Millisecond)
		same(t, "tried by the other", len(ts[1].ids("c")), 10)
		same(t, "held", heldOf(pool, "c"), 0)
		w.push(p, pool, "d", "11")
		same(t, "tried by the other", ts[1].ids("d"), []string{"11"})
		same(t, "claims of a process that can't try anything, beyond one every five seconds", len(p.engine.requests()) <= 3, true)
		close(release)
		w.wait(0)
	})
}

// Once a worker is free again, the process goes on as before.
func TestAPoolWhoseWorkersHungGoesOn(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.ids[0] == "hangs" {
				time.Sleep(3 * time.Second)
			}
			return fine
		})
		c.Workers = 1
		p, pool := w.one(c)
		w.push(p, pool, "a", "hangs")
		w.push(p, pool, "b", named("", 10)...)
		w.at(2500 * time.Millisecond)
		same(t, "held meanwhile", heldOf(pool, "b"), 0)
		w.push(p, pool, "c", "11")
		w.at(3100 * time.Millisecond)
		same(t, "tried", w.tries.ids("b"), named("", 10))
		same(t, "tried", w.tries.ids("c"), []string{"11"})
		same(t, "left in the store", w.left(), 0)
	})
}
