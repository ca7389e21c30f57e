package lanes

import (
	"context"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var paused = Terms{AtOnce: 4, Paused: true}

func TestALaneIsPausedWhileJobsWaitAndRun(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 3*time.Second)))
		w.push(p, pool, "x", named("", 10)...)
		w.at(time.Second)
		same(t, "tries under way", w.tries.running("x"), 4)
		pool.SetTerms("x", paused)
		w.wait(0)
		same(t, "tries under way", w.tries.running("x"), 4)
		same(t, "held", heldOf(pool, "x"), 4)
		same(t, "waiting in the store", w.stats("x").Waiting, 6)
		w.at(10 * time.Second)
		same(t, "tries", len(w.tries.of("x")), 4)
		same(t, "finished", p.engine.done(engine.Done), 4)
		w.push(p, pool, "x", "new")
		same(t, "waiting in the store", w.stats("x").Waiting, 7)
		same(t, "held", heldOf(pool, "x"), 0)
		w.at(time.Hour) // it is not forgotten that it is paused
		same(t, "tries", len(w.tries.of("x")), 4)
		pool.SetTerms("x", Terms{AtOnce: 4})
		w.wait(0)
		same(t, "tries under way once it goes on", w.tries.running("x"), 4)
		w.wait(10 * time.Second)
		w.once(append(named("", 10), "new"))
		same(t, "left in the store", w.left(), 0)
	})
}

// Other lanes go on.
func TestAPausedLaneDoesNotConcernOthers(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(nil))
		w.push(p, pool, "x", "1")
		pool.SetTerms("x", paused)
		w.deposit("x", "2")
		w.deposit("y", "3")
		w.push(p, pool, "y", "4")
		w.at(time.Minute)
		same(t, "tries", w.tries.ids(""), []string{"1", "3", "4"})
		for _, r := range p.engine.requests()[1:] {
			same(t, "limits", r.Limits["x"], 0)
		}
	})
}

func TestALaneThatIsPausedFromTheBeginningIsLeftAlone(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(nil)
		c.Terms = func(string) Terms { return paused }
		p, pool := w.one(c)
		w.deposit("x", named("", 5)...)
		w.push(p, pool, "y", "6")
		w.at(time.Minute)
		same(t, "tries", len(w.tries.of("")), 0)
		same(t, "waiting in the store", []int{w.stats("x").Waiting, w.stats("y").Waiting}, []int{5, 1})
		pool.SetTerms("x", Terms{AtOnce: 1})
		w.wait(0)
		same(t, "tries", w.tries.ids(""), named("", 5))
	})
}

// A claim and a push are on their way when the lane is paused.
func TestWhatComesToALaneThatIsPausedIsGivenBack(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(nil))
		w.push(p, pool, "x", "1")
		w.at(time.Second)
		p.engine.hook(hooks{claim: func(_ context.Context, _ engine.ClaimRequest, call func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
			res, err := call()
			time.Sleep(500 * time.Millisecond)
			return res, err
		}})
		w.deposit("x", "claimed")
		var push Push
		push.Add(pool, event("pushed"), "y")
		push.Add(pool, event("other"), "x")
		pool.SetTerms("x", paused)
		pool.SetTerms("y", paused)
		must(t, store(t.Context(), &push, p.engine))
		w.at(2 * time.Second)
		same(t, "tries", w.tries.ids(""), []string{"1"})
		same(t, "waiting in the store", []int{w.stats("x").Waiting, w.stats("y").Waiting}, []int{2, 1})
		same(t, "held", []int{heldOf(pool, "x"), heldOf(pool, "y")}, []int{0, 0})
		pool.SetTerms("x", Terms{AtOnce: 1})
		pool.SetTerms("y", Terms{AtOnce: 1})
		w.at(4 * time.Second)
		same(t, "left in the store", w.left(), 0)
	})
}

func TestALaneGetsMoreAtOnceFromNowOn(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, time.Minute)))
		w.push(p, pool, "x", named("", 10)...)
		same(t, "tries under way", w.tries.running("x"), 4)
		w.at(time.Second)
		pool.SetTerms("x", Terms{AtOnce: 8})
		w.wait(0)
		same(t, "tries under way", w.tries.running("x"), 8)
		w.push(p, pool, "x", named("b", 20)...)
		same(t, "held", heldOf(pool, "x"), 30)
	})
}

func TestALaneGetsFewerAtOnceFromNowOn(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 3*time.Second)))
		w.push(p, pool, "x", named("", 10)...)
		w.at(time.Second)
		pool.SetTerms("x", Terms{AtOnce: 2})
		w.at(2 * time.Second)
		same(t, "tries under way", w.tries.running("x"), 4)
		w.at(4 * time.Second)
		same(t, "tries under way", w.tries.running("x"), 2)
		w.at(20 * time.Second)
		w.once(named("", 10))
	})
}

func TestTheSpacingOfALivingLaneChanges(t *testing.T) {
	spaced := func(d time.Duration) Terms { return Terms{AtOnce: 4, Spacing: d} }
	for name, test := range map[string]struct {
		before, after time.Duration
		want          []time.Duration // begins, in seconds
	}{
		"shorter":       {10, 4, []time.Duration{0, 4, 8}},
		"shorter, over": {10, 1, []time.Duration{0, 2, 3}},
		"longer":        {3, 10, []time.Duration{0, 10, 20}},
		"none any more": {10, 0, []time.Duration{0, 2, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				c := w.config(nil)
				c.Terms = func(string) Terms { return spaced(test.before * time.Second) }
				p, pool := w.one(c)
				w.push(p, pool, "x", "1", "2", "3")
				w.at(2 * time.Second)
				pool.SetTerms("x", spaced(test.after*time.Second))
				w.at(time.Minute)
				var begins []time.Duration
				for _, at := range w.tries.begins("x", time.Second) {
					begins = append(begins, at/time.Second)
				}
				same(t, "begins", begins, test.want)
			})
		})
	}
}

// The last try counts also if there was no spacing then.
func TestALaneIsSpacedFromNowOn(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(nil))
		w.push(p, pool, "x", "1")
		w.at(time.Second)
		pool.SetTerms("x", Terms{AtOnce: 4, Spacing: 3 * time.Second})
		w.push(p, pool, "x", "2", "3")
		w.at(time.Minute)
		same(t, "begins", w.tries.begins("x", time.Millisecond), []time.Duration{0, 3 * time.Second, 6 * time.Second})
	})
}

func TestTermsOfALaneThatIsNotKnownAreAskedForLater(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(nil))
		pool.SetTerms("x", paused)
		w.push(p, pool, "x", "1")
		same(t, "tries", len(w.tries.of("x")), 1)
	})
}

func TestTermsOfALaneThatFollowsTheEvidence(t *testing.T) {
	terms := adapting(32)("x")
	l := newLane("x", terms)
	same(t, "at once", []int{l.health.limit, l.health.max}, []int{1, 32})
	for range 20 {
		l.health.good(0, time.Second)
	}
	terms.AtOnce = 64
	l.setTerms(terms)
	same(t, "at once when more is allowed", []int{l.health.limit, l.health.max}, []int{21, 64})
	terms.AtOnce, terms.Probe = 8, time.Hour
	l.setTerms(terms)
	same(t, "at once when less is allowed", []int{l.health.limit, l.health.max}, []int{8, 8})
	same(t, "probe", l.health.probe, time.Hour)
	same(t, "sick", l.health.sick(), false)
	l.setTerms(Terms{AtOnce: 3})
	same(t, "at once when it follows nothing", []int{l.health.limit, l.health.max}, []int{3, 3})
	l.setTerms(terms)
	same(t, "at once when it follows the evidence again", []int{l.health.limit, l.health.max}, []int{3, 8})
	l.health.bad(false, 0)
	l.setTerms(Terms{AtOnce: 3})
	same(t, "sick when it follows nothing", l.health.sick(), false)
	l.setTerms(Terms{AtOnce: 0, Adapts: true})
	same(t, "at once at the least", l.health.limit, 1)
}
