package memengine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Settle implements engine.Engine.
func (e *Engine) Settle(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
	end, err := e.begin(ctx, engine.ValidateOutcomes(outcomes))
	if err != nil {
		return nil, err
	}
	defer end()
	defer e.s.noteChange()
	settled := make([]engine.Settled, len(outcomes))
	for i, o := range outcomes {
		j := e.s.tickets[o.Ticket]
		if j == nil && o.Result == engine.Done {
			j = e.s.laters[o.Ticket]
		}
		if j == nil {
			continue
		}
		settled[i].OK = true
		settled[i].Ticket = e.apply(j, o)
		events := copies{j.event: j.event}
		for _, f := range o.Follow {
			ev := f.Event
			if ev == nil {
				ev = j.event
			}
			settled[i].Follow = append(settled[i].Follow, e.add(f, ev, events))
		}
	}
	return settled, nil
}

// apply does what an outcome says of its job.
func (e *Engine) apply(j *job, o engine.Outcome) (extended engine.Ticket) {
	if o.Result == engine.Extend {
		e.s.lease(j, max(o.After, 0))
		if o.History != nil {
			j.history = slices.Clone(o.History)
		}
		return j.ticket
	}
	e.s.unlease(j)
	now := time.Now()
	switch o.Result {
	case engine.Done:
		e.s.finish(j, e.s.retention.Dedupe)
	case engine.Bury:
		e.s.finish(j, e.s.retention.Dedupe)
		j.attempt, j.history, j.reason = o.Attempt, slices.Clone(o.History), o.Reason
		j.buried, j.buriedAt = e.s.number(), now
		j.deadID = fmt.Sprintf("dead-%d", j.buried)
		e.s.dead[j.deadID] = j
	case engine.Retry:
		j.attempt, j.history = o.Attempt, slices.Clone(o.History)
		e.s.keep(j, now.Add(max(o.After, 0)))
		e.s.hint(j.id.lane.Kind)
	case engine.Release:
		j.claims--
		if o.After > 0 {
			e.s.keep(j, now.Add(o.After))
		}
		e.s.hint(j.id.lane.Kind)
	}
	return ""
}

// Defer implements engine.Engine.
func (e *Engine) Defer(ctx context.Context, lane engine.Lane, d time.Duration) error {
	end, err := e.begin(ctx, lane.Validate())
	if err != nil {
		return err
	}
	defer end()
	defer e.s.noteChange()
	delete(e.s.deferred, lane)
	if d > 0 {
		e.s.deferred[lane] = time.Now().Add(d)
	}
	e.s.hint(lane.Kind)
	return nil
}
