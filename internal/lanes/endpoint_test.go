package lanes

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// spelled returns terms of lanes whose names are spellings of one endpoint.
func spelled(of func(string) Terms) func(string) Terms {
	return func(lane string) Terms {
		t := of(lane)
		t.Endpoint = "e"
		return t
	}
}

func TestLanesOfOneEndpointHaveOneBound(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, 10*time.Millisecond))
		c.Workers = 1000
		c.Terms = spelled(adapting(2))
		p, pool := w.one(c)
		spellings := named("#", 300)
		for _, lane := range spellings {
			w.push(p, pool, lane, lane)
		}
		w.at(5 * time.Millisecond)
		same(t, "under way while nothing is known of it", w.tries.running(""), 1)
		w.at(1515 * time.Millisecond) // one, and then two at a time
		w.once(spellings)
		same(t, "most", w.tries.most(""), 2)
		for i, id := range w.tries.ids("") { // two begin at the same time
			if id != spellings[i] && id != spellings[max(i-1, 0)] && id != spellings[min(i+1, 299)] {
				t.Errorf("%s was tried as number %d", id, i+1)
			}
		}
		circuit, atOnce := pool.Circuit("#7")
		same(t, "circuit", circuit, "closed")
		same(t, "at once", atOnce, 2)
	})
}

// Each gets its turn, whatever another has to be tried.
func TestLanesOfOneEndpointTakeTurns(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, time.Second))
		c.Terms = spelled(wide(1))
		p, pool := w.one(c)
		w.push(p, pool, "x", named("x", 4)...)
		w.push(p, pool, "y", named("y", 2)...)
		w.push(p, pool, "z", "z1")
		w.at(10 * time.Second)
		same(t, "tried", w.tries.ids(""), []string{"x1", "y1", "z1", "x2", "y2", "x3", "x4"})
		w.push(p, pool, "y", "y3")
		same(t, "tried", w.tries.ids("y"), named("y", 3))
	})
}

func TestLanesOfOneEndpointHangTogether(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.ids[0] == "stuck" {
				time.Sleep(10 * time.Second)
			}
			return fine
		})
		c.Terms = spelled(adapting(8))
		p := w.process()
		p.deaf = true
		pool := p.Add(c)
		p.start()
		w.push(p, pool, "x", "1")
		w.push(p, pool, "x", "stuck")
		w.at(1500 * time.Millisecond)
		w.push(p, pool, "y", "y1") // hangs: it waits
		same(t, "tries", w.tries.ids(""), []string{"1", "stuck"})
		w.at(8900 * time.Millisecond)
		same(t, "held once the keeper has looked", heldOf(pool, "y"), 0)
		w.at(9600 * time.Millisecond) // the keeper looks at every whole second
		w.push(p, pool, "z", "z1")
		same(t, "tries", w.tries.ids(""), []string{"1", "stuck"})
		w.at(10 * time.Second) // an answer
		same(t, "tries", w.tries.ids("z"), []string{"z1"})
		w.at(16 * time.Second)
		same(t, "tries", w.tries.ids("y"), []string{"y1"})
	})
}

// A failure of one counts for the other.
func TestLanesOfOneEndpointHaveOneCircuit(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(trouble, 0))
		c.Terms = spelled(adapting(8))
		p, pool := w.one(c)
		for i := range 4 {
			w.push(p, pool, fmt.Sprint("x", i), "1")
		}
		circuit, _ := pool.Circuit("x0")
		same(t, "circuit", circuit, "new")
		w.push(p, pool, "y", "1")
		for _, lane := range []string{"x0", "y"} {
			circuit, _ = pool.Circuit(lane)
			same(t, "circuit", circuit, "open")
		}
		same(t, "y rests", w.stats("y").Deferred > 0, true)
	})
}

func TestLanesOfOneEndpointKeepItsSpacing(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(nil)
		c.Terms = spelled(func(lane string) Terms { return Terms{AtOnce: 4, Spacing: 2 * time.Second, Shown: lane} })
		p, pool := w.one(c)
		w.push(p, pool, "x", "1", "2")
		w.at(time.Second)
		w.push(p, pool, "y", "3")
		w.at(5 * time.Second)
		w.push(p, pool, "z", "4")
		w.at(20 * time.Second)
		same(t, "begins", w.tries.begins("", time.Millisecond), []time.Duration{0, 2 * time.Second, 4 * time.Second, 6 * time.Second})
	})
}

// One lane has the turn that another waits for, and is paused before a worker
// comes.
func TestATurnAtAnEndpointThatALaneCanNotUseGoesToAnother(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, time.Second))
		c.Workers = 1
		c.Terms = func(lane string) Terms {
			if lane == "busy" {
				return wide(1)(lane)
			}
			return spelled(wide(1))(lane)
		}
		p, pool := w.one(c)
		for _, lane := range []string{"x", "busy", "y", "z"} {
			w.push(p, pool, lane, lane)
		}
		w.at(1500 * time.Millisecond)
		same(t, "tried", w.tries.ids(""), []string{"x", "busy"})
		pool.SetTerms("y", paused)
		w.at(3500 * time.Millisecond)
		same(t, "tried", w.tries.ids(""), []string{"x", "busy", "z"})
	})
}

func TestAnEndpointThatGetsMoreAtOnceServesThoseThatWait(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, time.Minute))
		c.Terms = spelled(wide(1))
		p, pool := w.one(c)
		for _, lane := range []string{"x", "y", "z"} {
			w.push(p, pool, lane, lane)
		}
		same(t, "under way", w.tries.ids(""), []string{"x"})
		pool.SetTerms("x", wide(3)("x"))
		w.wait(0)
		same(t, "under way", w.tries.ids(""), []string{"x", "y", "z"})
	})
}
