package toot

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/watermarkchurch/toot-go/engine"
)

// maxLostClaims is how often in a row a job is run again at once after the
// process that ran it died. After that it may be the event that kills it, so
// that it had better wait, by the retry schedule.
const maxLostClaims = 3

func newHandlers(a *App) *dispatcher {
	limit := func(name string) laneLimit {
		if s := a.subscription(name); s != nil {
			return laneLimit{max: s.Concurrency}
		}
		return laneLimit{max: 1}
	}
	return newDispatcher(a, engine.Handle, a.lease(), a.opts.MaxHandlers, limit, a.subscriptionNames, a.handle)
}

// handle runs the handler of a subscription on events.
func (a *App) handle(ctx context.Context, jobs []*job, verdicts []verdict) {
	for i, j := range jobs {
		verdicts[i] = a.handleOne(ctx, j)
	}
}

func (a *App) handleOne(ctx context.Context, j *job) verdict {
	s := a.subscription(j.lane.name)
	if s == nil {
		return verdict{action: giveBack, after: pollInterval}
	}
	if lost := lostClaims(j.claim); lost >= maxLostClaims {
		return verdict{action: tryAgain, lost: lost, reason: fmt.Sprintf("the process that handled it died, or lost its lease, %d times", lost)}
	}
	event, err := parseStored(j.claim.Event)
	if err != nil { // it was read before it was stored
		return verdict{action: bury, reason: err.Error()}
	}
	event.Attempt = j.claim.Attempt

	ctx, _ = a.beginTry(ctx, StepHandle, j)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	a.handlers.mu.Lock()
	j.cancel = cancel
	a.handlers.mu.Unlock()
	if s.Timeout > 0 {
		var stop context.CancelFunc
		ctx, stop = context.WithTimeoutCause(ctx, s.Timeout, s.overstayed)
		defer stop()
	}
	err = run(ctx, a.wrapped(s), event)
	if err == nil {
		return verdict{action: finish}
	}
	if errors.Is(context.Cause(ctx), errStopping) {
		return verdict{action: giveBack} // the stop's fault, not the handler's
	}
	v := verdict{action: tryAgain, reason: err.Error()}
	var wish *handlerError
	if errors.As(err, &wish) {
		if wish.permanent {
			v.action = bury
		}
		v.after, v.hasAfter = wish.after, wish.hasAfter
	}
	var panicked *PanicError
	if errors.As(err, &panicked) {
		a.log.Error("toot: handler panicked; the event will be tried again", "event", event.ID, "channel", event.Channel,
			"lane", s.Name, "attempt", event.Attempt+1, "panic", fmt.Sprint(panicked.Value), "stack", string(panicked.Stack))
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
