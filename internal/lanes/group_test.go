package lanes

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Each pool has lanes of its own.
func TestTwoPoolsOfOneProcessShareAKind(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		var one, two tries
		c := w.config(nil)
		c.Try = one.trying(w, replies(fine, time.Second))
		first := p.Add(c)
		c.Try = two.trying(w, replies(fine, time.Second))
		second := p.Add(c)
		p.start()
		w.push(p, first, "x", "1")
		w.push(p, second, "x", "2")
		for i := range 100 {
			w.deposit(fmt.Sprint("lane", i), fmt.Sprint("job", i))
		}
		w.at(2 * time.Second)
		same(t, "tried by the first in x", one.ids("x"), []string{"1"})
		same(t, "tried by the second in x", two.ids("x"), []string{"2"})
		same(t, "left in the store", w.left(), 0)
		all := append(one.ids(""), two.ids("")...)
		slices.Sort(all)
		same(t, "tried", len(slices.Compact(all)), 102)
		same(t, "tried by both", len(one.ids(""))+len(two.ids("")), 102)
		p.Wake(testKind)
		w.wait(0)
		same(t, "stalled", len(p.Stalled()), 0)
		p.engine.hook(hooks{claim: func(context.Context, engine.ClaimRequest, func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
			return engine.ClaimResult{}, errOut
		}})
		w.wait(time.Minute)
		same(t, "stalled", p.Stalled(), []engine.Kind{testKind, testKind})
	})
}

func TestAHintWakesAllPoolsOfTheKind(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.deaf = true
		c := w.config(nil)
		c.Only = func() []string { return []string{"x"} }
		p.Add(c)
		c.Only = func() []string { return []string{"y"} }
		p.Add(c)
		c.Kind = engine.Deliver
		c.Only = nil
		p.Add(c)
		p.start()
		w.at(time.Second)
		w.deposit("x", "1")
		w.deposit("y", "2")
		before := len(p.engine.requests())
		p.Wake(testKind)
		w.wait(0)
		w.once([]string{"1", "2"})
		for _, r := range p.engine.requests()[before:] {
			same(t, "kind", r.Kind, testKind)
		}
	})
}

// No process takes so much of a lane that the other has nothing to do.
func TestTwoProcessesShareALane(t *testing.T) {
	inBubble(t, func(w *world) {
		terms := adapting(4)
		pools := make([]*Pool, 2)
		ts := make([]tries, 2)
		procs := make([]*process, 2)
		for i := range 2 {
			procs[i] = w.process()
			c := w.config(nil)
			c.Terms = terms
			c.Try = ts[i].trying(w, replies(fine, 100*time.Millisecond))
			pools[i] = procs[i].Add(c)
			procs[i].start()
		}
		w.deposit("x", named("", 2000)...)
		w.at(2 * time.Minute)
		same(t, "left in the store", w.left(), 0)
		a, b := len(ts[0].ids("")), len(ts[1].ids(""))
		same(t, "tried", a+b, 2000)
		if min(a, b) < 700 {
			t.Errorf("one process did %d, the other %d", a, b)
		}
	})
}

// What one process pushes, or gives back, the other hears of.
func TestOneProcessWakesTheOther(t *testing.T) {
	inBubble(t, func(w *world) {
		var one, two tries
		p, q := w.process(), w.process()
		c := w.config(nil)
		c.Only = func() []string { return []string{"nothing"} }
		c.Try = one.trying(w, nil)
		first := p.Add(c)
		c.Only = nil
		c.Try = two.trying(w, nil)
		q.Add(c)
		p.start()
		q.start()
		w.at(1100 * time.Millisecond)
		var push Push
		for _, id := range named("", 20) { // more than it has room for
			push.Add(first, event(id), "x")
		}
		must(t, store(t.Context(), &push, p.engine))
		w.wait(0)
		same(t, "tried by the first", len(one.ids("")), 16)
		same(t, "tried by the other", len(two.ids("")), 4)
	})
}

func TestARestIsSeenByTheOtherProcess(t *testing.T) {
	inBubble(t, func(w *world) {
		var one, two tries
		p, q := w.process(), w.process()
		c := w.config(nil)
		c.Terms = adapting(8)
		c.Try = one.trying(w, replies(Verdict{Action: TryAgain, HasAfter: true, After: 20 * time.Second, LaneWaits: true}, 0))
		first := p.Add(c)
		c.Try = two.trying(w, nil)
		q.Add(c)
		p.start()
		w.push(p, first, "x", "1")
		w.at(time.Second)
		q.start()
		w.deposit("x", "2")
		w.at(19900 * time.Millisecond)
		same(t, "tried by the first", one.ids("x"), []string{"1"})
		same(t, "tried by the other", two.ids("x"), []string(nil))
		w.at(20200 * time.Millisecond)
		if len(one.ids("x"))+len(two.ids("x")) < 2 {
			t.Error("nobody tried when the rest was over")
		}
	})
}

// Two jobs, two processes, one of which dies: no goroutine knows, the lease
// ends.
func TestAnotherProcessTakesOverWhatOneCanNotKeep(t *testing.T) {
	inBubble(t, func(w *world) {
		var one, two tries
		p, q := w.process(), w.process()
		c := w.config(nil)
		c.Try = one.trying(w, replies(fine, time.Minute))
		first := p.Add(c)
		c.Try = two.trying(w, nil)
		q.Add(c)
		p.start()
		w.push(p, first, "x", "1")
		down := func(context.Context, []engine.Outcome, func() ([]engine.Settled, error)) ([]engine.Settled, error) {
			return nil, errOut
		}
		p.engine.hook(hooks{claim: nothingDue, settle: down})
		q.start()
		w.at(7900 * time.Millisecond)
		same(t, "tried by the other", len(two.ids("x")), 0)
		w.at(8100 * time.Millisecond)
		same(t, "tried by the other", len(two.ids("x")), 1)
		p.engine.hook(hooks{})
		w.at(2 * time.Minute)
		same(t, "tried by the first", len(one.ids("x")), 1)
		same(t, "held by the first", heldOf(first, "x"), 0)
		same(t, "warnings", w.log.count("took over"), 1)
	})
}

func TestQueuesReuseTheirMemory(t *testing.T) {
	var q queue[int]
	next, want := 0, 0
	for round := range 200 {
		for range 10 {
			q.push(next)
			next++
		}
		for range 10 - round%2 {
			if q.len() == 0 {
				break
			}
			same(t, "peeked", q.peek(), want)
			same(t, "popped", q.pop(), want)
			want++
		}
		same(t, "length", q.len(), next-want)
	}
	if n := cap(q.items); n > 1000 {
		t.Errorf("takes room for %d items of 100", n)
	}
	for q.len() > 0 {
		same(t, "popped", q.pop(), want)
		want++
	}
	same(t, "popped", want, next)
	same(t, "head", q.head, 0)
}
