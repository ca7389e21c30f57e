package toot

import (
	"context"
	"fmt"
)

// Handler handles events. It may be called concurrently, and, as delivery is
// at least once, in rare cases again for an event it has handled.
//
// An error makes the event be tried again by the retry schedule; see
// [Permanent] and [RetryAfter] for other outcomes. A panic is an error. The
// context ends when the subscription's timeout is over, when the app is
// stopped and the drain timeout is over, or when the job's lease was lost.
type Handler interface {
	HandleEvent(ctx context.Context, e *Event) error
}

// HandlerFunc is a function as a Handler.
type HandlerFunc func(ctx context.Context, e *Event) error

// HandleEvent calls f.
func (f HandlerFunc) HandleEvent(ctx context.Context, e *Event) error { return f(ctx, e) }

// HandlePayload returns a Handler that decodes the payload into a T and
// passes it on. A payload that does not decode goes to the dead letters at
// once, from which it can be redriven when the type has been mended.
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

// Use wraps every handler of the app in middleware, those of subscriptions
// already made included. The first one added is the outermost.
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
