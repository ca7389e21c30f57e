package toot

import (
	"context"
	"errors"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/coalesce"
	"github.com/watermarkchurch/toot-go/internal/lanes"
)

// publication is one call of Publish or PublishAll.
type publication struct {
	coalesce.Waiter
	events []*engine.Event
	// delays say for each event how long it is kept before it is sent; nil if
	// none is kept.
	delays []time.Duration
	// subscribers says for each event how many subscribers its channel has, once
	// it is stored.
	subscribers []int
	one         [1]int // what subscribers is made of where there is one event
}

func newPublication(events int) *publication {
	p := &publication{Waiter: coalesce.NewWaiter(), events: make([]*engine.Event, events)}
	if p.subscribers = p.one[:]; events > 1 {
		p.subscribers = make([]int, events)
	}
	return p
}

// add puts an event into its place, to be sent after a time.
func (p *publication) add(i int, e *engine.Event, after time.Duration) {
	p.events[i] = e
	if after <= 0 {
		return
	}
	if p.delays == nil {
		p.delays = make([]time.Duration, len(p.events))
	}
	p.delays[i] = after
}

// delay is how long an event is kept before it is sent.
func (p *publication) delay(i int) time.Duration {
	if p.delays == nil {
		return 0
	}
	return p.delays[i]
}

func (p *publication) size() int { return len(p.events) }

func (p *publication) bytes() int { return bytesOf(p.events) }

// flushPublications writes what several calls publish in one step. Where the
// store finds something that it can't take, each call is seen to by itself.
func (p *publisher) flushPublications(items []*publication) {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	failed := p.storeAll(ctx, items, p.storeJobs)
	for _, item := range items {
		err := failed.of(item)
		if len(items) > 1 && errors.Is(err, engine.ErrInvalid) { // perhaps because of another
			err = p.storeAll(ctx, []*publication{item}, p.storeJobs).of(item)
		}
		item.Finish(p.trouble.note(err))
	}
}

// failures are why the events of channels were not stored, or not for every
// subscriber.
type failures map[string]error

// of returns why one of a publication's events was not stored.
func (f failures) of(item *publication) error {
	if len(f) == 0 {
		return nil
	}
	for _, e := range item.events {
		if err := f[e.Channel]; err != nil {
			return err
		}
	}
	return nil
}

// storeFunc stores jobs, and returns the audiences of channels.
type storeFunc func(ctx context.Context, push *lanes.Push, channels []string) ([]engine.Audience, error)

// storeJobs is the storeFunc of what is stored by itself.
func (p *publisher) storeJobs(ctx context.Context, push *lanes.Push, channels []string) ([]engine.Audience, error) {
	return push.Store(ctx, p.engine, channels, inlineFanOut)
}

// storeAll stores each event with its deliveries, or with a fan-out job. To
// whom they go is what was known a moment ago; the store answers with who it is
// now, and those who were missing get theirs before anybody is told of success.
// What is to be sent later is stored as a fan-out job that is due then.
func (p *publisher) storeAll(ctx context.Context, items []*publication, store storeFunc) failures {
	failed := failures{}
	known := map[string]engine.Audience{}
	var unsure []string // channels of which the store has to say whether what is known is still right
	for _, item := range items {
		for _, e := range item.events {
			if _, met := known[e.Channel]; met {
				continue
			}
			audience, ok := p.registry.Known(e.Channel)
			switch {
			case !ok:
				audience = p.registry.Audience(ctx, e.Channel, inlineFanOut)
			case !audience.More: // a fan-out job asks by itself
				unsure = append(unsure, e.Channel)
			}
			if known[e.Channel] = audience; audience.Err != nil {
				failed[e.Channel] = audience.Err
			}
		}
	}
	var push lanes.Push
	p.addLater(&push, items, failed)
	some := p.addAll(&push, items, known, failed)
	now, err := store(ctx, &push, unsure)
	if err != nil {
		return allFailed(known, err)
	}
	var missed map[string]engine.Audience
	for i, channel := range unsure {
		switch a := now[i]; {
		case a.Err != nil:
			if failed[channel] = a.Err; some {
				failed[channel] = uncertain(a.Err) // those that were known have got theirs
			}
		default:
			before := known[channel]
			missing, count := p.registry.Note(channel, before, a)
			before.Count = count
			known[channel] = before
			if len(missing) > 0 || a.More {
				if missed == nil {
					missed = map[string]engine.Audience{}
				}
				missed[channel] = engine.Audience{CallbackURLs: missing, More: a.More}
			}
		}
	}
	for _, item := range items {
		for i, e := range item.events {
			item.subscribers[i] = known[e.Channel].Count
		}
	}
	if len(missed) == 0 {
		return failed
	}
	var rest lanes.Push
	p.addAll(&rest, items, missed, failed)
	if _, err := store(ctx, &rest, nil); err != nil {
		for channel := range missed {
			if failed[channel] = err; some {
				failed[channel] = uncertain(err)
			}
		}
	}
	return failed
}

// addLater adds the jobs of the events that are to be sent later.
func (p *publisher) addLater(push *lanes.Push, items []*publication, failed failures) {
	for _, item := range items {
		if item.delays == nil || len(failed) > 0 && failed.of(item) != nil {
			continue
		}
		for i, e := range item.events {
			if d := item.delays[i]; d > 0 {
				push.AddLater(p.fanOuts, e, laterLane(e.Channel), d)
			}
		}
	}
}

// addAll adds the jobs for the given audiences, and reports whether there are
// any.
func (p *publisher) addAll(push *lanes.Push, items []*publication, to map[string]engine.Audience, failed failures) (some bool) {
	for _, item := range items {
		if len(failed) > 0 && failed.of(item) != nil {
			continue // all of a publication's events, or none
		}
		for i, e := range item.events {
			if item.delay(i) > 0 {
				continue
			}
			audience := to[e.Channel]
			some = some || audience.More || len(audience.CallbackURLs) > 0
			if audience.More {
				push.Add(p.fanOuts, e, e.Channel)
				continue
			}
			for _, url := range audience.CallbackURLs {
				push.Add(p.deliveries, e, url)
			}
		}
	}
	return some
}

func allFailed(channels map[string]engine.Audience, err error) failures {
	failed := failures{}
	for channel := range channels {
		failed[channel] = err
	}
	return failed
}
