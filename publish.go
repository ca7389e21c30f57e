package toot

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/coalesce"
	"github.com/watermarkchurch/toot-go/internal/lanes"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// inlineFanOut is the number of subscribers up to which the deliveries are
// written together with the event. A channel with more gets a fan-out job, so
// that Publish stays quick and no write is huge.
const inlineFanOut = 64

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
	// ID is the event's ID, of at most 1,024 bytes and without control
	// characters. Publishing an ID again within the dedupe window delivers it
	// no second time. Default: a new UUID.
	ID string
	// Timestamp is when the event happened, to the microsecond. Default: now.
	Timestamp time.Time
	// Hops is how many deliveries led to this event, for those who publish
	// because of what was delivered to them: one more than that delivery's own
	// (its header X-Toot-Hops, 0 without). It goes with the deliveries, so that
	// a circle can be told and ended; toot serve does so. Default: 0.
	Hops int
}

// Publish publishes an event on a channel, named without the app's prefix.
// See Message.Payload for what a payload may be.
//
// When it returns nil, the event is durable and every subscriber of that
// moment will get it. The error is one of ErrInvalidChannel, ErrInvalidID,
// ErrInvalidPayload, ErrTooLarge, ErrClosed, ErrBusy, the context's, or the
// engine's. Nothing is published then, unless the error is an ErrUncertain: of
// such an event it is not known, and it is returned with the error, so that it
// can be published again under its ID.
//
// It returns within five seconds, or when ctx ends.
func (a *App) Publish(ctx context.Context, channel string, payload any) (*Event, error) {
	events, err := a.PublishAll(ctx, Message{Channel: channel, Payload: payload})
	if len(events) == 0 {
		return nil, err
	}
	return events[0], err
}

// PublishAll publishes events in one step: all of them, or none on an error.
// The events are returned in order. An error that is an ErrUncertain may mean
// that some were published, and comes with the events; publishing the same
// messages again, with the same IDs, mends that.
func (a *App) PublishAll(ctx context.Context, messages ...Message) ([]*Event, error) {
	if err := a.calls.enter(); err != nil {
		return nil, err
	}
	defer a.calls.leave()
	return a.publisher.publish(ctx, messages)
}

func (p *publisher) publish(ctx context.Context, messages []Message) ([]*Event, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	if len(messages) == 0 {
		return nil, nil
	}
	events, stored, err := p.composeAll(messages)
	if err != nil {
		return nil, err
	}
	if err := p.store(ctx, stored); err != nil {
		if !errors.Is(err, ErrUncertain) {
			events = nil
		}
		return events, err
	}
	return events, nil
}

// store makes events durable for whoever is subscribed, together with those of
// other calls.
func (p *publisher) store(ctx context.Context, events []*engine.Event) error {
	item := &publication{Waiter: coalesce.NewWaiter(), events: events}
	end := p.beginAll(ctx, StepPublish, events)
	err := p.trouble.explain(p.publishes.Do(ctx, item, &item.Waiter))
	end(err)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, ErrUncertain):
		return fmt.Errorf("toot: publish on %q: it is not known whether this was published; it is safe to publish it again under the same ID (%s): %w", events[0].Channel, shownIDs(events), err)
	}
	return fmt.Errorf("toot: publish on %q: nothing was published: %w", events[0].Channel, err)
}

// shownIDs are the IDs of events for an error.
func shownIDs(events []*engine.Event) string {
	if n := len(events); n > 1 {
		return fmt.Sprintf("%s and %d more", events[0].ID, n-1)
	}
	return events[0].ID
}

// composeAll makes the events of messages, as callers see them and as they are
// stored.
func (p *publisher) composeAll(messages []Message) (events []*Event, stored []*engine.Event, err error) {
	events, stored = make([]*Event, len(messages)), make([]*engine.Event, len(messages))
	now := time.Now().UTC()
	for i, m := range messages {
		e, body, err := p.compose(m, now)
		if err != nil {
			return nil, nil, err
		}
		events[i] = e
		stored[i] = &engine.Event{ID: e.ID, Channel: e.Channel, Body: body, Meta: wire.EncodeHops(m.Hops)}
	}
	return events, stored, nil
}

// compose makes the event of a message, and its bytes on the wire, which are
// made once and go to the store and to every subscriber.
func (p *publisher) compose(m Message, now time.Time) (*Event, []byte, error) {
	prefix := p.opts.ChannelPrefix
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
	payload, err := wire.EncodePayload(m.Payload)
	if err != nil {
		return nil, nil, fmt.Errorf("publish on %q: %w: %w", channel, ErrInvalidPayload, err)
	}
	if wire.TooDeep(payload, p.opts.MaxDepth) {
		return nil, nil, fmt.Errorf("publish on %q: %w: it nests deeper than %d levels (Options.MaxDepth)", channel, ErrInvalidPayload, p.opts.MaxDepth)
	}
	id := m.ID
	if err := wire.CheckEventID(id); err != nil { // subscribers would refuse it
		return nil, nil, fmt.Errorf("publish on %q: %w: %w", channel, ErrInvalidID, err)
	}
	if id == "" {
		id = wire.NewEventID()
	}
	if !m.Timestamp.IsZero() {
		now = m.Timestamp.UTC().Truncate(time.Microsecond)
	}
	e := &wire.Event{
		ID:            id,
		Timestamp:     now,
		TimestampText: wire.FormatTimestamp(now),
		Channel:       channel,
		Payload:       payload,
	}
	body := e.Append(make([]byte, 0, len(payload)+len(channel)+128))
	if len(body) > p.opts.MaxEventBytes {
		return nil, nil, fmt.Errorf("%w: %d bytes on %q, at most %d (Options.MaxEventBytes)", ErrTooLarge, len(body), channel, p.opts.MaxEventBytes)
	}
	return eventOf(e), body, nil
}

// publication is one call of Publish or PublishAll.
type publication struct {
	coalesce.Waiter
	events []*engine.Event
}

func (p *publication) size() int { return len(p.events) }

func (p *publication) bytes() int { return bytesOf(p.events) }

// flushPublications writes what several calls publish in one step. Where the
// store finds something that it can't take, each call is seen to by itself.
func (p *publisher) flushPublications(items []*publication) {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	failed := p.storeAll(ctx, items)
	for _, item := range items {
		err := failed.of(item)
		if len(items) > 1 && errors.Is(err, engine.ErrInvalid) { // perhaps because of another
			err = p.storeAll(ctx, []*publication{item}).of(item)
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

// storeAll stores each event with its deliveries, or with a fan-out job. To
// whom they go is what was known a moment ago; the store answers with who it is
// now, and those who were missing get theirs before anybody is told of success.
func (p *publisher) storeAll(ctx context.Context, items []*publication) failures {
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
	some := p.addAll(&push, items, known, failed)
	now, err := push.Store(ctx, p.engine, unsure, inlineFanOut)
	if err != nil {
		return allFailed(known, err)
	}
	missed := map[string]engine.Audience{}
	for i, channel := range unsure {
		switch a := now[i]; {
		case a.Err != nil:
			if failed[channel] = a.Err; some {
				failed[channel] = uncertain(a.Err) // those that were known have got theirs
			}
		default:
			missing := p.registry.Note(channel, known[channel], a)
			if len(missing) > 0 || a.More {
				missed[channel] = engine.Audience{CallbackURLs: missing, More: a.More}
			}
		}
	}
	if len(missed) == 0 {
		return failed
	}
	var rest lanes.Push
	p.addAll(&rest, items, missed, failed)
	if _, err := rest.Store(ctx, p.engine, nil, 0); err != nil {
		for channel := range missed {
			if failed[channel] = err; some {
				failed[channel] = uncertain(err)
			}
		}
	}
	return failed
}

// addAll adds the jobs for the given audiences, and reports whether there are
// any.
func (p *publisher) addAll(push *lanes.Push, items []*publication, to map[string]engine.Audience, failed failures) (some bool) {
	for _, item := range items {
		if len(failed) > 0 && failed.of(item) != nil {
			continue // all of a publication's events, or none
		}
		for _, e := range item.events {
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
