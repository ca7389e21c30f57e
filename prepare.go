package toot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// Prepared is an event that was made to be published later: what is kept of it
// until then, such as in a database, and what PublishPrepared needs.
type Prepared struct {
	// Body is the event as it goes over the wire.
	Body []byte
	// Meta is what goes with it beside that, such as the context of a trace.
	// Usually empty.
	Meta []byte
	// After is how long after PublishPrepared it is sent, see Message.After. Who
	// keeps the event subtracts for how long that was.
	After time.Duration
}

// Prepare makes the events of messages, and checks them, as PublishAll does, but
// publishes nothing: they are kept elsewhere, and given to PublishPrepared later,
// of this App or of another process's. Package outbox keeps them in a transaction
// of the caller's. Both results are in the order of the messages.
//
// The error is one of ErrInvalidChannel, ErrInvalidID, ErrInvalidPayload,
// ErrInvalidDelay, ErrTooLarge and ErrClosed. It asks no store, and does not block.
func (a *App) Prepare(ctx context.Context, messages ...Message) ([]*Event, []Prepared, error) {
	if err := a.calls.enter(); err != nil {
		return nil, nil, err
	}
	defer a.calls.leave()
	events, item, err := a.publisher.composeAll(messages)
	if err != nil {
		return nil, nil, err
	}
	a.publisher.beginAll(ctx, StepPrepare, item.events, item.delays)(nil, nil)
	prepared := make([]Prepared, len(events))
	for i, e := range item.events {
		prepared[i] = Prepared{Body: e.Body, Meta: e.Meta, After: item.delay(i)}
	}
	return events, prepared, nil
}

// PublishPrepared publishes events that were prepared, in one step: all of them,
// or none on an error, to those who are subscribed now. It promises what
// PublishAll does, has its errors and takes as long; publishing an event again
// within the dedupe window delivers it no second time.
//
// Errors that are about an event, so that trying again does not help, are
// ErrInvalidChannel, ErrInvalidID, ErrInvalidPayload, ErrTooLarge and
// engine.ErrInvalid. Which of several it is about, only a call for each tells.
func (a *App) PublishPrepared(ctx context.Context, prepared ...Prepared) error {
	if err := a.calls.enter(); err != nil {
		return err
	}
	defer a.calls.leave()
	if err := ctx.Err(); err != nil {
		return context.Cause(ctx)
	}
	if len(prepared) == 0 {
		return nil
	}
	item := newPublication(len(prepared))
	for i, p := range prepared {
		e, err := a.publisher.read(p)
		if err != nil {
			return err
		}
		item.add(i, e, min(p.After, maxDelay))
	}
	return a.publisher.store(ctx, item, nil)
}

// read checks an event that was kept elsewhere, perhaps by an app with other
// limits or by another program.
func (p *publisher) read(kept Prepared) (*engine.Event, error) {
	if most := p.opts.MaxEventBytes; len(kept.Body) > most {
		return nil, fmt.Errorf("%w: %d bytes, at most %d (Options.MaxEventBytes)", ErrTooLarge, len(kept.Body), most)
	}
	if !json.Valid(kept.Body) {
		return nil, fmt.Errorf("%w: %w", ErrInvalidPayload, wire.ErrNotJSON)
	}
	id, channel, err := wire.Identify(kept.Body)
	switch {
	case errors.Is(err, wire.ErrNoChannel):
		return nil, fmt.Errorf("%w: %w", ErrInvalidChannel, err)
	case errors.Is(err, wire.ErrNotObject):
		return nil, fmt.Errorf("%w: %w", ErrInvalidPayload, err)
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrInvalidID, err)
	case id == "":
		return nil, fmt.Errorf("%w: it has none", ErrInvalidID)
	}
	if err := checkChannel(channel); err != nil {
		return nil, err
	}
	if err := wire.CheckText(kept.Body); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalidPayload, err)
	}
	return &engine.Event{ID: id, Channel: channel, Body: kept.Body, Meta: kept.Meta}, nil
}
