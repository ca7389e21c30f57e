package toot

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/coalesce"
)

const (
	// flushJobs is about how many events or outcomes are written at once: so
	// many that they share a write well, so few that the store works on the
	// next while this process works on them.
	flushJobs = 1024
	// inlineFanOut is the number of subscribers up to which the deliveries
	// are written together with the event. A channel with more gets a fan-out
	// job, so that Publish stays quick and no write is huge.
	inlineFanOut = 64
	// engineTimeout bounds the engine's calls that no caller's context bounds.
	engineTimeout = 30 * time.Second
)

// Message is an event to be published.
type Message struct {
	// Channel is the channel's name without the prefix.
	Channel string
	// Payload is anything that encoding/json encodes. A json.RawMessage is
	// sent as it stands, byte for byte; nil means {}.
	Payload any
	// ChannelPrefix replaces Options.ChannelPrefix for this event, unless
	// empty.
	ChannelPrefix string
	// ID is the event's ID. Publishing an ID again within the dedupe window
	// delivers it no second time. Default: a new UUID.
	ID string
	// Timestamp is when the event happened, to the microsecond. Default: now.
	Timestamp time.Time
}

// Publish publishes an event on a channel, named without the app's prefix.
// See Message.Payload for what a payload may be.
//
// When it returns nil, the event is durable and every subscriber of that
// moment will get it. The error is one of ErrInvalidChannel,
// ErrInvalidPayload, ErrTooLarge, ErrClosed, the context's, or the engine's;
// nothing is published then, save that a call cut short by its context or by
// an engine that failed half-way may yet take effect.
func (a *App) Publish(ctx context.Context, channel string, payload any) (*Event, error) {
	events, err := a.PublishAll(ctx, Message{Channel: channel, Payload: payload})
	if err != nil {
		return nil, err
	}
	return events[0], nil
}

// PublishAll publishes events in one step: all of them, or none on an error.
// The events are returned in order. With an engine that is spread over
// shards, a step that fails half-way may have published some; publishing the
// same messages again, with IDs of their own, mends that.
func (a *App) PublishAll(ctx context.Context, messages ...Message) ([]*Event, error) {
	if err := a.enter(); err != nil {
		return nil, err
	}
	defer a.closing.Done()
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if len(messages) == 0 {
		return nil, nil
	}
	p := &publication{Waiter: coalesce.NewWaiter(), events: make([]*engine.Event, len(messages))}
	events := make([]*Event, len(messages))
	now := time.Now().UTC()
	for i, m := range messages {
		e, body, err := a.compose(m, now)
		if err != nil {
			return nil, err
		}
		events[i] = e
		p.events[i] = &engine.Event{ID: e.ID, Channel: e.Channel, Body: body}
	}
	end := a.beginPublish(ctx, p.events)
	err := a.publishes.Do(ctx, p, &p.Waiter)
	end(err)
	if err != nil {
		return nil, fmt.Errorf("toot: publish on %q: %w", events[0].Channel, err)
	}
	return events, nil
}

// beginPublish tells the observer, if there is one, of each event.
func (a *App) beginPublish(ctx context.Context, events []*engine.Event) (end func(error)) {
	if a.opts.Observer == nil {
		return func(error) {}
	}
	ends := make([]func(StepResult), len(events))
	for i, e := range events {
		step := &Step{Name: StepPublish, EventID: e.ID, Channel: e.Channel, Header: http.Header{}}
		_, ends[i] = a.begin(ctx, step)
		e.Meta = encodeMeta(step.Header)
	}
	return func(err error) {
		result := StepResult{Outcome: OutcomeOK}
		if err != nil {
			result = StepResult{Outcome: OutcomeFailed, Reason: err.Error()}
		}
		for _, end := range ends {
			end(result)
		}
	}
}

// compose makes the event of a message, and its bytes on the wire, which are
// made once and go to the store and to every subscriber.
func (a *App) compose(m Message, now time.Time) (*Event, []byte, error) {
	prefix := a.opts.ChannelPrefix
	if m.ChannelPrefix != "" {
		prefix = m.ChannelPrefix
	}
	if m.Channel == "" {
		return nil, nil, fmt.Errorf("%w: it is empty", ErrInvalidChannel)
	}
	channel := prefix + m.Channel
	if err := checkChannel(channel); err != nil {
		return nil, nil, err
	}
	payload, err := encodePayload(m.Payload)
	if err != nil {
		return nil, nil, fmt.Errorf("publish on %q: %w", channel, err)
	}
	if tooDeep(payload, a.opts.MaxDepth) {
		return nil, nil, fmt.Errorf("publish on %q: %w: it nests deeper than %d levels (Options.MaxDepth)", channel, ErrInvalidPayload, a.opts.MaxDepth)
	}
	id := m.ID
	if id == "" {
		id = newEventID()
	}
	if !m.Timestamp.IsZero() {
		now = m.Timestamp.UTC().Truncate(time.Microsecond)
	}
	e := &Event{
		ID:            id,
		Timestamp:     now,
		TimestampText: now.Format("2006-01-02T15:04:05.000000Z07:00"),
		Channel:       channel,
		Payload:       payload,
	}
	body := e.appendWire(make([]byte, 0, len(payload)+len(channel)+128))
	if len(body) > a.opts.MaxEventBytes {
		return nil, nil, fmt.Errorf("%w: %d bytes on %q, at most %d (Options.MaxEventBytes)", ErrTooLarge, len(body), channel, a.opts.MaxEventBytes)
	}
	return e, body, nil
}

// publication is one call of Publish or PublishAll.
type publication struct {
	coalesce.Waiter
	events []*engine.Event
}

func (p *publication) size() int { return len(p.events) }

// flushPublications writes what several calls publish in one step.
func (a *App) flushPublications(items []*publication) {
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	subscribers := map[string][]string{}
	var h handOff
	var err error
	for _, p := range items {
		for _, e := range p.events {
			urls, known := subscribers[e.Channel]
			if !known && err == nil {
				if urls, err = a.engine.Subscribers(ctx, e.Channel); err == nil {
					urls, err = a.live(ctx, e.Channel, urls)
				}
				subscribers[e.Channel] = urls
			}
			if len(urls) > inlineFanOut {
				h.add(a.fanOuts, e, e.Channel)
				continue
			}
			for _, url := range urls {
				h.add(a.deliveries, e, url)
			}
		}
	}
	if err != nil {
		h.abandon()
	} else {
		err = h.push(ctx, a.engine)
	}
	for _, p := range items {
		p.Finish(err)
	}
}
