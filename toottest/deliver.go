package toottest

import (
	"context"
	"errors"
	"net/http"
	"runtime/debug"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// Deliver sends an event to the App's HandlerService as its publisher would, and
// waits until each subscription to its channel has handled it, or has failed and
// waits for its next try. It returns nil, or the errors of the handlers that
// failed, joined: errors.Is and errors.As find them, a panic is a
// *toot.PanicError.
//
// m.Channel is the event's channel in full, or what follows m.ChannelPrefix.
// Payload, ID and Timestamp are as for Publish; what else a Message has is not
// used. What the App's dedupe window (an hour) finds to be a duplicate runs no
// handler, and nil is returned.
//
// What can't be delivered ends the test: an event on a channel that nothing is
// subscribed to, one that is invalid, one whose source has SigningSecrets. To
// test with signed events, publish them with an App of their own, see
// docs/testing.md.
//
// It waits for as long as the handlers run.
func (a *App) Deliver(t testing.TB, m toot.Message) error {
	t.Helper()
	payload, err := wire.EncodePayload(m.Payload)
	if err != nil {
		t.Fatalf("toottest: the payload can't be encoded: %v", err)
	}
	e := wire.Event{ID: m.ID, Timestamp: m.Timestamp, Channel: m.ChannelPrefix + m.Channel, Payload: payload}
	if e.ID == "" {
		e.ID = wire.NewEventID()
	}
	if e.Timestamp.IsZero() {
		e.Timestamp = time.Now()
	}
	e.TimestampText = wire.FormatTimestamp(e.Timestamp.UTC())
	tries := a.awaited.begin(e.Channel, e.ID)
	defer a.awaited.end(tries)
	w := post(t, a.HandlerService(), e.Append(nil))
	if w.Code != http.StatusOK {
		t.Fatalf("toottest: the event on %q was refused: %s", e.Channel, refusal(w))
	}
	if _, unwanted := w.Header()[wire.UnsubscribeHeader]; unwanted {
		t.Fatalf("toottest: nothing is subscribed to %q: the channel is named in full, or with the prefix of its source in ChannelPrefix", e.Channel)
	}
	if err := a.Engine.AwaitTried(t.Context(), e.Channel, e.ID); err != nil {
		t.Fatalf("toottest: the event on %q was not handled before the test ended: %v", e.Channel, err)
	}
	return tries.err()
}

// tries are those of an event that a call of Deliver waits for.
type tries struct {
	channel, event string

	mu     sync.Mutex
	order  []string         // the names of the subscriptions that failed, in that order
	failed map[string]error // the last try of each subscription
}

func (tr *tries) note(subscription string, err error) {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	if !slices.Contains(tr.order, subscription) {
		tr.order = append(tr.order, subscription)
	}
	tr.failed[subscription] = err
}

func (tr *tries) err() error {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	var errs []error
	for _, name := range tr.order {
		errs = append(errs, tr.failed[name])
	}
	return errors.Join(errs...)
}

// awaited is an observer that finds the tries that calls of Deliver wait for.
// With the middleware it learns what their handlers return.
type awaited struct {
	mu    sync.Mutex
	calls []*tries
}

func (w *awaited) begin(channel, event string) *tries {
	w.mu.Lock()
	defer w.mu.Unlock()
	tr := &tries{channel: channel, event: event, failed: map[string]error{}}
	w.calls = append(w.calls, tr)
	return tr
}

func (w *awaited) end(tr *tries) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.calls = slices.DeleteFunc(w.calls, func(other *tries) bool { return other == tr })
}

// noted is the key under which the context of a handler has the function that
// is told what it returns.
type noted struct{}

// Begin implements toot.Observer.
func (w *awaited) Begin(ctx context.Context, s *toot.Step) (context.Context, func(toot.StepResult)) {
	if s.Name != toot.StepHandle {
		return ctx, nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var of []*tries
	for _, tr := range w.calls {
		if tr.channel == s.Channel && tr.event == s.EventID {
			of = append(of, tr)
		}
	}
	subscription := s.Lane
	return context.WithValue(ctx, noted{}, func(err error) {
		for _, tr := range of {
			tr.note(subscription, err)
		}
	}), nil
}

var errGoexit = errors.New("the handler ended its goroutine (runtime.Goexit, which testing's FailNow calls)")

// middleware notes what a handler returns before the App learns of it.
func (w *awaited) middleware(next toot.Handler) toot.Handler {
	return toot.HandlerFunc(func(ctx context.Context, e *toot.Event) (err error) {
		note, ok := ctx.Value(noted{}).(func(error))
		if !ok {
			return next.HandleEvent(ctx, e)
		}
		returned := false
		defer func() {
			if returned {
				note(err)
				return
			}
			v := recover()
			if v == nil {
				note(errGoexit)
				return
			}
			note(&toot.PanicError{Value: v, Stack: debug.Stack()})
			panic(v)
		}()
		err = next.HandleEvent(ctx, e)
		returned = true
		return err
	})
}
