package toot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
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
	// sent as it is, byte for byte; nil means {}. A []byte is refused, as
	// encoding/json would encode it as base64.
	Payload any
	// ChannelPrefix replaces Options.ChannelPrefix for this event, unless
	// empty.
	ChannelPrefix string
	// ID is the event's ID, of at most 1,024 bytes and without control
	// characters. Publishing an ID again within the dedupe window delivers it
	// no second time. Default: a new UUID.
	ID string
	// Timestamp is when the event happened, to the microsecond. Default: when
	// Publish was called, also if the event is sent later.
	Timestamp time.Time
	// After, if more than zero, is how long to wait, by the store's clock, before
	// the event is sent. It is stored durably at once, and sent no earlier than
	// that, as a rule less than a second later, to the subscribers of the moment
	// at which it is sent. While it waits, publishing its ID again with a delay
	// changes nothing; publishing its ID without one sends it at once, and not a
	// second time if both fall into the dedupe window. Ten years at the most.
	// Default: the event is sent at once.
	After time.Duration
	// At is the time before which the event is not to be sent, by this machine's
	// clock. It is converted into After when Publish is called; a time that has
	// passed means at once. Only one of After and At may be set.
	At time.Time
	// Hops is how many deliveries led to this event. An app that publishes an
	// event because another one was delivered to it sets one more than that
	// delivery had (its header X-Toot-Hops, 0 without one). The number is sent with
	// the deliveries, so that an endless circle of apps can be detected and broken,
	// as toot serve does. Default: 0.
	Hops int
}

// Publish publishes an event on a channel, named without the app's prefix.
// See Message.Payload for what a payload may be.
//
// When the error is nil, the event is durable and every subscriber of that
// moment will get it; Event.Subscribers says how many they are. Otherwise it is
// one of ErrInvalidChannel, ErrInvalidID, ErrInvalidPayload, ErrInvalidDelay,
// ErrTooLarge, ErrClosed, ErrBusy, the context's, or the engine's. Nothing is
// published then, unless the error is an ErrUncertain: in that case it is not known
// whether the event was published, and it is returned along with the error, so that
// it can be published again under its ID.
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
// The events are returned in order. An ErrUncertain may mean that some were
// published, and is returned along with the events; publish the same messages
// again under the same IDs to make sure that all are.
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
	events, item, err := p.composeAll(messages)
	if err != nil {
		return nil, err
	}
	if err := p.store(ctx, item, events); err != nil {
		if !errors.Is(err, ErrUncertain) {
			events = nil
		}
		return events, err
	}
	return events, nil
}

// store makes the events of a publication durable for whoever is subscribed,
// together with those of other calls, and notes with them how many those are.
// There need be no events as callers see them.
func (p *publisher) store(ctx context.Context, item *publication, events []*Event) error {
	end := p.beginAll(ctx, StepPublish, item.events, item.delays)
	err := p.trouble.explain(p.publishes.Do(ctx, item, &item.Waiter))
	if err == nil {
		p.noteSubscribers(ctx, item, events)
		end(nil, item.subscribers)
		return nil
	}
	end(err, nil)
	channel := item.events[0].Channel
	if errors.Is(err, ErrUncertain) {
		return wrapf(err, "publish on %q: it is not known whether this was published; it is safe to publish it again under the same ID (%s)", channel, shownIDs(item.events))
	}
	return wrapf(err, "publish on %q: nothing was published", channel)
}

// noteSubscribers notes with the events of a publication how many subscribers
// their channels have.
func (p *publisher) noteSubscribers(ctx context.Context, item *publication, events []*Event) {
	debug := p.log.Enabled(ctx, slog.LevelDebug)
	for i, e := range item.events {
		n := item.subscribers[i]
		if events != nil {
			events[i].Subscribers = n
		}
		if n == 0 && debug {
			p.log.Debug("toot: published on a channel that nobody is subscribed to", "event", e.ID, "channel", e.Channel, "after", item.delay(i))
		}
	}
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
func (p *publisher) composeAll(messages []Message) ([]*Event, *publication, error) {
	item := newPublication(len(messages))
	events := make([]*Event, len(messages))
	now := moment(time.Now().UTC())
	for i, m := range messages {
		after, err := m.delay(now.Time)
		if err != nil {
			return nil, nil, err
		}
		e, body, err := p.compose(m, now)
		if err != nil {
			return nil, nil, err
		}
		events[i] = e
		item.add(i, &engine.Event{ID: e.ID, Channel: e.Channel, Body: body, Meta: wire.EncodeHops(m.Hops)}, after)
	}
	return events, item, nil
}

// stamp is a time with its text on the wire, which many events may share.
type stamp struct {
	time.Time
	text string
}

func moment(t time.Time) stamp { return stamp{t, wire.FormatTimestamp(t)} }

// compose makes the event of a message, and its bytes on the wire, which are
// made once and go to the store and to every subscriber.
func (p *publisher) compose(m Message, now stamp) (*Event, []byte, error) {
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
		return nil, nil, wrapf(fmt.Errorf("%w: %w", ErrInvalidPayload, err), "publish on %q", channel)
	}
	if wire.TooDeep(payload, p.opts.MaxDepth) {
		return nil, nil, wrapf(fmt.Errorf("%w: it nests deeper than %d levels (Options.MaxDepth)", ErrInvalidPayload, p.opts.MaxDepth), "publish on %q", channel)
	}
	id := m.ID
	if err := wire.CheckEventID(id); err != nil { // subscribers would refuse it
		return nil, nil, wrapf(fmt.Errorf("%w: %w", ErrInvalidID, err), "publish on %q", channel)
	}
	if id == "" {
		id = wire.NewEventID()
	}
	if !m.Timestamp.IsZero() {
		now = moment(m.Timestamp.UTC().Truncate(time.Microsecond))
	}
	e := &wire.Event{
		ID:            id,
		Timestamp:     now.Time,
		TimestampText: now.text,
		Channel:       channel,
		Payload:       payload,
	}
	body := e.Append(make([]byte, 0, len(payload)+len(channel)+128))
	if len(body) > p.opts.MaxEventBytes {
		return nil, nil, fmt.Errorf("%w: %d bytes on %q, at most %d (Options.MaxEventBytes)", ErrTooLarge, len(body), channel, p.opts.MaxEventBytes)
	}
	return eventOf(e), body, nil
}
