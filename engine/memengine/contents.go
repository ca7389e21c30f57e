package memengine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Registrations implements engine.Contents.
func (e *Engine) Registrations(ctx context.Context, channel string) ([]engine.Registration, error) {
	end, err := e.begin(ctx, engine.ValidateChannel(channel))
	if err != nil {
		return nil, err
	}
	defer end()
	now := time.Now()
	all := e.s.subscribers(channel, now)
	var found []engine.Registration
	for _, url := range slices.Sorted(maps.Keys(all)) {
		r := engine.Registration{CallbackURL: url, Age: now.Sub(all[url].at)}
		if until := all[url].until; !until.IsZero() {
			r.Left = until.Sub(now)
		}
		found = append(found, r)
	}
	return found, nil
}

// AttributeGroups implements engine.Contents.
func (e *Engine) AttributeGroups(ctx context.Context) ([]string, error) {
	end, err := e.begin(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer end()
	groups := map[string]bool{}
	for key := range e.s.attrs {
		groups[key.group] = true
	}
	return slices.Sorted(maps.Keys(groups)), nil
}

// Realms implements engine.Contents.
func (e *Engine) Realms(ctx context.Context, prefix string) ([]string, error) {
	end, err := e.begin(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer end()
	realms := map[string]bool{}
	for key := range e.s.proofs {
		if strings.HasPrefix(key.realm, prefix) {
			realms[key.realm] = true
		}
	}
	return slices.Sorted(maps.Keys(realms)), nil
}

// Later implements engine.Contents.
func (e *Engine) Later(ctx context.Context, lane engine.Lane, after time.Duration, limit int) ([]engine.LaterJob, error) {
	end, err := e.begin(ctx, engine.ValidateLater(lane, limit))
	if err != nil {
		return nil, err
	}
	defer end()
	now := time.Now()
	var found []engine.LaterJob
	for _, j := range inOrder(e.s.lanes[lane]) {
		if j.ticket != "" || j.due.Before(now.Add(after)) || len(found) == limit {
			continue
		}
		if j.later == "" {
			j.later = engine.Ticket(fmt.Sprintf("later-%d", e.s.number()))
			e.s.laters[j.later] = j
		}
		found = append(found, engine.LaterJob{Due: j.due.Sub(now), Claimed: engine.Claimed{
			Ticket: j.later, Event: j.event, Lane: lane, Attempt: j.attempt,
			History: slices.Clone(j.history), Claims: j.claims, Age: now.Sub(j.pushed),
		}})
	}
	return found, nil
}
