package lanes

import (
	"context"
	"runtime"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// What is called may end its goroutine. With a single worker, nothing would ever
// be tried again if that were lost.

func TestATryThatEndsItsGoroutineHasFailed(t *testing.T) {
	inBubble(t, func(w *world) {
		var fs failures
		var told []string
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.ids[0] == "bad" && t.jobs[0].Attempt == 0 {
				runtime.Goexit()
			}
			return fine
		})
		c.Workers = 1
		c.Retry = fs.retry(retryAfter(10 * time.Second))
		c.Ended = func(_ *Lane, jobs []*Job, _ []Verdict, _ []engine.Outcome) { told = append(told, jobs[0].Event.ID) }
		p, pool := w.one(c)
		w.push(p, pool, "x", "1", "bad", "2")
		w.at(time.Second)
		same(t, "told of", told, []string{"1", "bad", "2"})
		same(t, "retried", p.engine.done(engine.Retry), 1)
		same(t, "why", fs.all[0].Verdict.Reason, wasEnded)
		w.at(11 * time.Second)
		same(t, "tried", w.tries.ids("x"), []string{"1", "bad", "2", "bad"})
		same(t, "left in the store", w.left(), 0)
	})
}

func TestAPolicyThatEndsItsGoroutineLeavesTheJob(t *testing.T) {
	inBubble(t, func(w *world) {
		policy := retryAfter(10 * time.Second)
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.jobs[0].Attempt == 0 {
				return trouble
			}
			return fine
		})
		c.Workers = 1
		c.Retry = func(f Failure) engine.Outcome {
			runtime.Goexit()
			return policy(f)
		}
		p, pool := w.one(c)
		w.push(p, pool, "x", "1", "2")
		w.at(50 * time.Second)
		same(t, "tries", w.tries.ids("x"), []string{"1", "2"})
		w.at(70 * time.Second)
		same(t, "tries", w.tries.ids("x"), []string{"1", "2", "1", "2"})
		same(t, "left in the store", w.left(), 0)
	})
}

func TestWhoIsToldMayEndItsGoroutine(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(nil)
		c.Workers = 1
		c.Ended = func(*Lane, []*Job, []Verdict, []engine.Outcome) { runtime.Goexit() }
		p, pool := w.one(c)
		w.push(p, pool, "x", named("", 5)...)
		w.once(named("", 5))
		same(t, "finished", p.engine.done(engine.Done), 5)
	})
}

// Also while the jobs of a try are being taken.
func TestALogMayEndItsGoroutine(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(nil)
		c.Workers = 1
		c.Terms = wide(1)
		p, pool := w.one(c)
		p.engine.hook(hooks{claim: nothingDue})
		busy := make(chan struct{})
		pool.Try = w.tries.trying(w, func(_ context.Context, t *try) Verdict {
			if t.lane == "busy" {
				<-busy
			}
			return fine
		})
		w.push(p, pool, "busy", "b")
		w.push(p, pool, "x", "lost")
		w.push(p, pool, "x", "2")
		pool.mu.Lock()
		pool.lanes["x"].queue.peek().state = leaseLost // which is logged
		pool.mu.Unlock()
		w.log.exits.Store(true)
		close(busy)
		w.wait(time.Second)
		w.log.exits.Store(false)
		same(t, "tried", w.tries.ids(""), []string{"b", "2"})
		same(t, "held", held(pool), 0)
	})
}
