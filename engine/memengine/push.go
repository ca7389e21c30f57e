package memengine

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Push implements engine.Engine.
func (e *Engine) Push(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
	end, err := e.begin(ctx, req.Validate())
	if err != nil {
		return engine.PushResult{}, err
	}
	defer end()
	res := engine.PushResult{Tickets: make([]engine.Ticket, len(req.Jobs)), Audiences: make([]engine.Audience, len(req.Channels))}
	events := copies{}
	for i, j := range req.Jobs {
		res.Tickets[i] = e.add(j, j.Event, events)
	}
	now := time.Now()
	for i, channel := range req.Channels {
		urls := slices.Sorted(maps.Keys(e.s.subscribers(channel, now)))
		res.Audiences[i].Count = len(urls)
		if len(urls) > req.MaxSubscribers {
			res.Audiences[i].More = true
			continue
		}
		res.Audiences[i].CallbackURLs = urls
	}
	return res, nil
}

// copies are the store's own of the events of a call.
type copies map[*engine.Event]*engine.Event

func (c copies) of(e *engine.Event) *engine.Event {
	if c[e] == nil {
		own := *e
		own.Body, own.Meta = slices.Clone(e.Body), slices.Clone(e.Meta)
		c[e] = &own
	}
	return c[e]
}

// add stores a job about an event unless it is there already, and returns the
// ticket of its claim if it was pushed under a lease.
func (e *Engine) add(pushed engine.Job, ev *engine.Event, events copies) engine.Ticket {
	id := identityOf(ev, pushed.Lane)
	if e.s.lanes[pushed.Lane][id] != nil {
		return ""
	}
	now := time.Now()
	if at, over := e.s.over[id]; over {
		if now.Sub(at) < e.s.retention.Dedupe {
			return ""
		}
		delete(e.s.over, id)
	}
	j := &job{id: id, event: events.of(ev), pushed: now.Add(-pushed.PushedAgo()), stored: now}
	switch {
	case pushed.Past != nil:
		e.s.keep(j, now)
		past := *pushed.Past
		j.claims = 1
		if past.Result == engine.Release {
			past.Result, j.claims = engine.Retry, 0
		}
		e.apply(j, past)
		return ""
	case pushed.Lease > 0:
		e.s.keep(j, now)
		e.s.lease(j, pushed.Lease)
		j.claims = 1
		return j.ticket
	}
	e.s.keep(j, now.Add(max(pushed.Delay, 0)))
	e.s.hint(pushed.Lane.Kind)
	return ""
}
