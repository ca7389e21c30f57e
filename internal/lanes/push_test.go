package lanes

import (
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// What is due later waits in the store alone: it takes no room, and what is added
// to its lane meanwhile is handed over as if it were not there.
func TestWhatIsDueLaterHoldsNothingBack(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, 0)))
		var later Push
		later.AddLater(pool, event("later"), "x", time.Hour)
		later.AddLater(pool, event("soon"), "x", 2*time.Second)
		must(t, store(t.Context(), &later, p.engine))
		w.wait(0) // for the claim, which takes room itself
		same(t, "held", held(pool), 0)
		pool.mu.Lock()
		same(t, "lanes in memory", len(pool.lanes), 0)
		pool.mu.Unlock()
		w.push(p, pool, "x", "now", "too")
		same(t, "tries at once", w.tries.ids("x"), []string{"now", "too"})
		w.at(2 * time.Second) // sooner than the next look into the store
		same(t, "tries after two seconds", w.tries.ids("x"), []string{"now", "too", "soon"})
		same(t, "the store", w.stats("x"), engine.LaneStats{Lane: engine.Lane{Kind: pool.Kind, Name: "x"}, Waiting: 1, Later: 1, Oldest: 2 * time.Second})
		w.at(time.Hour + time.Second)
		same(t, "tries after an hour", w.tries.ids("x"), []string{"now", "too", "soon", "later"})
	})
}
