package toot

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/watermarkchurch/toot-go/internal/lanes"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// Handler handles events. It may be called concurrently, and, as delivery is
// at least once, in rare cases again for an event it has handled.
//
// If it returns an error, the event is tried again by the retry schedule; see
// [Permanent] and [RetryAfter] for other outcomes. A panic counts as an error, and so
// does the end of the goroutine (runtime.Goexit, as called by testing's FailNow). The
// context ends when the subscription's timeout is over, when the app is stopped and
// the drain timeout is over, or when the lease on the job was lost.
type Handler interface {
	HandleEvent(ctx context.Context, e *Event) error
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, e *Event) error

// HandleEvent calls f.
func (f HandlerFunc) HandleEvent(ctx context.Context, e *Event) error { return f(ctx, e) }

// HandlePayload returns a Handler that decodes the payload into a T and
// passes it on. An event whose payload can't be decoded goes to the dead letters at
// once, from which it can be redriven when the type has been corrected.
func HandlePayload[T any](fn func(ctx context.Context, e *Event, payload T) error) Handler {
	return HandlerFunc(func(ctx context.Context, e *Event) error {
		var payload T
		if err := e.Decode(&payload); err != nil {
			return Permanent(fmt.Errorf("%w (into a %T)", err, payload))
		}
		return fn(ctx, e, payload)
	})
}

// Middleware wraps a Handler in another.
type Middleware func(Handler) Handler

// Use wraps every handler of the app in middleware, including those of
// subscriptions that were added before. The first middleware is the outermost.
func (a *App) Use(middleware ...Middleware) { a.subscriber.useAll(middleware) }

func (s *subscriber) useAll(middleware []Middleware) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.use = append(s.use, middleware...)
}

// wrapped returns a subscription's handler inside the app's middleware.
func (s *subscriber) wrapped(sub *Subscription) Handler {
	s.mu.RLock()
	defer s.mu.RUnlock()
	h := sub.Handler
	for i := len(s.use) - 1; i >= 0; i-- {
		h = s.use[i](h)
	}
	return h
}

// maxLostClaims is how often in a row a job is run again at once after the
// process that ran it died. After that it may be the event that kills it, so
// that it had better wait, by the retry schedule.
const maxLostClaims = 3

// handle runs the handler of a subscription on events.
func (s *subscriber) handle(ctx context.Context, l *lanes.Lane, jobs []*lanes.Job, verdicts []lanes.Verdict) {
	for i, j := range jobs {
		verdicts[i] = s.handleOne(ctx, l, j)
	}
}

func (s *subscriber) handleOne(ctx context.Context, l *lanes.Lane, j *lanes.Job) lanes.Verdict {
	sub := s.subscription(l.Name())
	if sub == nil {
		return lanes.Verdict{Action: lanes.GiveBack, After: lanes.PollInterval}
	}
	if lost := lostClaims(j); lost >= maxLostClaims {
		return lanes.Verdict{Action: lanes.TryAgain, LostClaims: lost, Reason: fmt.Sprintf("the process that handled it died, or lost its lease, %d times", lost)}
	}
	stored, err := wire.ParseStored(j.Event.ID, j.Event.Channel, j.Event.Body)
	if err != nil { // it was read before it was stored
		return lanes.Verdict{Action: lanes.Bury, Reason: err.Error()}
	}
	event := eventOf(&stored)
	event.Attempt, event.Subscription = j.Attempt+1, sub.Name

	ctx, _ = s.beginTry(ctx, StepHandle, l, j)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	s.handlers.CancelIfLost(j, cancel)
	if sub.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, sub.Timeout, sub.overstayed)
		defer stop()
	}
	err = run(ctx, s.wrapped(sub), event)
	if err == nil {
		return lanes.Verdict{Action: lanes.Finish}
	}
	if errors.Is(context.Cause(ctx), lanes.ErrStopping) {
		return lanes.Verdict{Action: lanes.GiveBack} // the stop's fault, not the handler's
	}
	v := lanes.Verdict{Action: lanes.TryAgain, Reason: err.Error()}
	var asked *handlerError
	if errors.As(err, &asked) {
		if asked.permanent {
			v.Action = lanes.Bury
		}
		v.After, v.HasAfter = asked.after, asked.hasAfter
	}
	var panicked *PanicError
	if errors.As(err, &panicked) {
		s.log.Error("toot: handler panicked; the event will be tried again", "event", event.ID, "channel", event.Channel,
			"lane", sub.Name, "attempt", event.Attempt, "panic", fmt.Sprint(panicked.Value), "stack", string(panicked.Stack))
	}
	return v
}

// run calls a handler and turns a panic into an error.
func run(ctx context.Context, h Handler, e *Event) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = &PanicError{Value: v, Stack: debug.Stack()}
		}
	}()
	return h.HandleEvent(ctx, e)
}
