package lanes

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/watermarkchurch/toot-go/engine"
)

// maxDeferrals is how many deferrals are written at once.
const maxDeferrals = 16

// deferral is how long a lane is to rest from a moment on.
type deferral struct {
	lane  engine.Lane
	shown string
	rest  time.Duration
	at    time.Time
}

func (deferral) size() int { return 1 }

// deferLocked tells the other processes that a lane rests, or that it does no
// longer.
func (p *Pool) deferLocked(l *Lane, rest time.Duration, e *effects) {
	e.deferrals = append(e.deferrals, deferral{lane: engine.Lane{Kind: p.Kind, Name: l.name}, shown: l.Shown(), rest: rest, at: time.Now()})
}

// flushDeferrals writes the last word on each lane.
func (g *Group) flushDeferrals(items []deferral) {
	last := make(map[engine.Lane]deferral, len(items))
	for _, item := range items {
		last[item.lane] = item
	}
	var writes errgroup.Group
	writes.SetLimit(maxDeferrals)
	for _, item := range last {
		writes.Go(func() error {
			ctx, cancel := context.WithTimeout(g.storing, engineTimeout)
			defer cancel()
			rest := max(item.rest-time.Since(item.at), 0)
			if err := g.engine.Defer(ctx, item.lane, rest); err != nil {
				g.log.Warn("toot: can't tell other processes that an endpoint rests", "lane", item.shown, "error", err)
			}
			return nil
		})
	}
	_ = writes.Wait()
}
