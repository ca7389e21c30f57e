package toot

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/lanes"
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
	item, err := a.publisher.readAll(prepared)
	if err != nil {
		return err
	}
	return a.publisher.store(ctx, item, nil)
}

// PublishPreparedIn is PublishPrepared as a part of a transaction that the caller has
// begun on conn, at READ COMMITTED: the events are published once it has committed,
// and never if it is rolled back. That needs an engine in the same database, see
// engine.Transactional; otherwise the error is engine.ErrElsewhere, and the
// transaction can go on, as it can after an error that is about an event. After any
// other it must be rolled back.
//
// The caller ends the transaction soon, since leases count from here, and then calls
// ended once, whose argument says whether it is known to have committed.
func (a *App) PublishPreparedIn(ctx context.Context, conn *sql.Conn, prepared ...Prepared) (ended func(committed bool), err error) {
	if err := a.calls.enter(); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			a.calls.leave()
		}
	}()
	store, ok := a.engine.(engine.Transactional)
	if !ok {
		return nil, engine.ErrElsewhere
	}
	if ok, err = store.Reaches(ctx, conn); err != nil || !ok {
		return nil, cmp.Or(err, engine.ErrElsewhere)
	}
	item, err := a.publisher.readAll(prepared)
	if err != nil {
		return nil, err
	}
	end, err := a.publisher.storeIn(ctx, item, func(ctx context.Context, req engine.PushRequest) (engine.PushResult, func(), error) {
		return store.PushIn(ctx, conn, req)
	})
	if err != nil {
		return nil, err
	}
	return func(committed bool) {
		end(committed)
		a.calls.leave()
	}, nil
}

// errNotCommitted is why events were not published whose transaction was rolled back.
var errNotCommitted = errors.New("the transaction did not commit, as far as is known")

// storeIn stores the events of a publication by a function that pushes in a
// transaction. end is called when that is over.
func (p *publisher) storeIn(ctx context.Context, item *publication, push func(context.Context, engine.PushRequest) (engine.PushResult, func(), error)) (end func(committed bool), err error) {
	noteEnd := p.beginAll(ctx, StepPublish, item.events, item.delays)
	var ends []func(bool)
	endAll := func(committed bool) {
		for _, end := range ends {
			end(committed)
		}
	}
	failed := p.storeAll(ctx, []*publication{item}, func(ctx context.Context, jobs *lanes.Push, channels []string) ([]engine.Audience, error) {
		audiences, ended, err := jobs.StoreIn(ctx, push, channels, inlineFanOut)
		if err == nil {
			ends = append(ends, ended)
		}
		return audiences, err
	})
	if err := failed.of(item); err != nil {
		endAll(false)
		noteEnd(err, nil)
		return nil, err
	}
	return func(committed bool) {
		endAll(committed)
		if !committed {
			noteEnd(errNotCommitted, nil)
			return
		}
		noteEnd(nil, item.subscribers)
		p.noteSubscribers(ctx, item, nil)
	}, nil
}

// readAll makes a publication of events that were kept elsewhere.
func (p *publisher) readAll(prepared []Prepared) (*publication, error) {
	item := newPublication(len(prepared))
	for i, kept := range prepared {
		e, err := p.read(kept)
		if err != nil {
			return nil, err
		}
		item.add(i, e, min(kept.After, maxDelay))
	}
	return item, nil
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
