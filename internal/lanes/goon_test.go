package lanes

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// inParts returns a pool whose jobs of lane x are done in four parts, which
// take some time each: each part has a job of its own in lane y, and how many
// parts are done is in the history.
func inParts(w *world, p *process, took time.Duration) (pool *Pool) {
	pool = p.Add(w.config(func(_ context.Context, t *try) Verdict {
		if t.lane != "x" {
			return fine
		}
		done, _ := strconv.Atoi(string(t.jobs[0].History))
		time.Sleep(took)
		done++
		v := Verdict{Action: GoOn, History: []byte(strconv.Itoa(done))}
		if done == 4 {
			v = fine
		}
		v.Follow.Add(pool, event(t.ids[0]+"-"+strconv.Itoa(done)), "y")
		return v
	}))
	return pool
}

var parts = []string{"1-1", "1-2", "1-3", "1-4"}

func TestAJobGoesOnUnderItsLease(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.deaf = true
		pool := inParts(w, p, time.Second)
		p.start()
		w.push(p, pool, "x", "1")
		w.at(3500 * time.Millisecond)
		same(t, "tries in y", w.tries.ids("y"), parts[:3])
		w.at(5 * time.Second)
		same(t, "tries in y", w.tries.ids("y"), parts)
		same(t, "tries in x", w.tries.ids("x"), []string{"1", "1", "1", "1"})
		for _, try := range w.tries.of("x") {
			same(t, "claims of the job", try.jobs[0].Claims, 1)
		}
		same(t, "parts that were stored", p.engine.done(engine.Extend), 3)
		same(t, "left in the store", w.left(), 0)
	})
}

func TestAJobWhosePartsTakeLongKeepsItsLease(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		pool := inParts(w, p, 2*testLease)
		p.start()
		w.push(p, pool, "x", "1")
		w.at(9 * testLease)
		same(t, "tries in x", w.tries.ids("x"), []string{"1", "1", "1", "1"})
		same(t, "tries in y", w.tries.ids("y"), parts)
		same(t, "left in the store", w.left(), 0)
	})
}

// What is left when the process ends, another one does, and nothing else.
func TestAnotherProcessGoesOnWhereAJobWas(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		pool := inParts(w, p, time.Second)
		p.start()
		w.push(p, pool, "x", "1")
		w.at(1500 * time.Millisecond)
		same(t, "cancelled", p.drain(time.Hour), 0)
		same(t, "tries in x", w.tries.ids("x"), []string{"1", "1"})
		same(t, "left in the store", w.stats("x").Waiting, 1)
		other := w.process()
		inParts(w, other, time.Second)
		other.start()
		w.wait(time.Minute)
		same(t, "tries in x", w.tries.ids("x"), []string{"1", "1", "1", "1"})
		same(t, "tries in y", w.tries.ids("y"), parts)
		same(t, "left in the store", w.left(), 0)
	})
}

// Somebody else has the job by the time a part is done: the part counts for
// nothing.
func TestAPartOfAJobThatWasTakenOverIsNotStored(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		pool := inParts(w, p, 9500*time.Millisecond)
		p.start()
		p.engine.hook(hooks{claim: nothingDue, settle: extendingBy(func(context.Context, func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			return nil, errOut
		})})
		w.push(p, pool, "x", "1")
		w.at(9 * time.Second)
		same(t, "taken over", w.grab("x"), []string{"1"})
		p.engine.hook(hooks{claim: nothingDue})
		w.at(20 * time.Second)
		same(t, "tries in x", w.tries.ids("x"), []string{"1"})
		same(t, "tries in y", len(w.tries.of("y")), 0)
		same(t, "waiting in y", w.stats("y").Waiting+w.stats("y").Leased, 0)
		same(t, "held", held(pool), 0)
	})
}

func TestAPausedLaneGoesOnLater(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		pool := inParts(w, p, time.Second)
		p.start()
		w.push(p, pool, "x", "1")
		w.at(500 * time.Millisecond)
		pool.SetTerms("x", Terms{AtOnce: 4, Paused: true, Shown: "x"})
		w.at(time.Minute)
		same(t, "tries in y", w.tries.ids("y"), parts[:1])
		same(t, "held", held(pool), 0)
		pool.SetTerms("x", Terms{AtOnce: 4, Shown: "x"})
		w.wait(time.Minute)
		same(t, "tries in y", w.tries.ids("y"), parts)
	})
}
