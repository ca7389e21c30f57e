package toot_test

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/internal/testing/faultengine"
)

// The process dies in the middle of a fan-out, and another one goes on with it
// when nothing is remembered any more of the deliveries that were made.
func TestAFanOutThatWasInterruptedForLongGoesOnWhereItWas(t *testing.T) {
	for _, late := range []bool{false, true} {
		t.Run(fmt.Sprintf("stored=%v", late), func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				const subscribers, step = 3500, 1000
				calls := map[string]int{}
				b.net.serve("subscribers", http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					b.mu.Lock()
					defer b.mu.Unlock()
					calls[r.URL.Path]++
				}))
				store := memengine.NewStore()
				dies := b.launch("publisher", store, toot.Options{}, nil)
				for i := range subscribers {
					must2(dies.engine.AddSubscriber(b.Context(), "a", fmt.Sprintf("http://subscribers/%d", i), 0))
				}
				steps := 0
				dies.engine.Play(func(c faultengine.Call) faultengine.Fault {
					written := len(c.Jobs)
					for _, o := range c.Outcomes {
						written += len(o.Follow)
					}
					if written < step {
						return faultengine.Fault{}
					}
					b.mu.Lock()
					defer b.mu.Unlock()
					// What the steps before have written is delivered meanwhile.
					if steps++; steps < 3 {
						return faultengine.Fault{Delay: 10 * time.Second}
					}
					return faultengine.Fault{Delay: 10 * time.Second, Late: late, Crash: true}
				})
				must2(dies.Publish(b.Context(), "a", nil))
				b.within(time.Minute, "the process dies", dies.engine.Crashed)
				dies.die()
				// Those of which the store knows that they were made.
				made := map[string]bool{}
				b.mu.Lock()
				for path := range calls {
					made[path] = true
				}
				b.mu.Unlock()
				lanes, err := store.Open(engine.Retention{}).Lanes(b.Context())
				must(b, err)
				for _, l := range lanes {
					delete(made, strings.TrimPrefix(l.Lane.Name, "http://subscribers"))
				}
				if len(made) < step/2 {
					b.Fatalf("only %d deliveries were made before", len(made))
				}
				time.Sleep(3 * time.Hour) // the dedupe window is over
				b.launch("publisher", store, toot.Options{}, nil)
				b.empty(10*time.Minute, store)
				b.mu.Lock()
				defer b.mu.Unlock()
				twice := 0
				for path := range made {
					if calls[path] > 1 {
						twice++
					}
				}
				if twice > 0 || len(calls) != subscribers {
					b.Errorf("%d of %d subscribers were called; of %d deliveries that were done before, %d were made again", len(calls), subscribers, len(made), twice)
				}
			})
		})
	}
}
