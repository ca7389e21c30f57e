package toot

import (
	"context"
	"fmt"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/registry"
)

// MoveUnhandled moves the events that wait for a subscription that no process
// has any more (Lane.Unhandled) to another subscription, which handles them as if
// they had just arrived, except those that it has handled already within the
// dedupe window. Each event is moved in one step. It returns how many were moved,
// and how many were left because they are not due yet: they failed before, and
// will be tried again later.
//
// The error is ErrHandled if a process has the first subscription, and
// ErrUnknownSubscription if none has the second.
func (a *App) MoveUnhandled(ctx context.Context, from, to string) (moved, left int, err error) {
	return a.clearUnhandled(ctx, from, func(roll *registry.Roll) ([]engine.Job, error) {
		if listed, _ := roll.Has(to); !listed && a.subscriber.subscription(to) == nil || to == from {
			return nil, fmt.Errorf("%w: %q", ErrUnknownSubscription, to)
		}
		return []engine.Job{{Lane: engine.Lane{Kind: engine.Handle, Name: to}}}, nil
	})
}

// DiscardUnhandled deletes the events that wait for a subscription that no
// process has any more (Lane.Unhandled). It returns how many were deleted, and how
// many were left because they are not due yet.
//
// The error is ErrHandled if a process has the subscription.
func (a *App) DiscardUnhandled(ctx context.Context, name string) (discarded, left int, err error) {
	return a.clearUnhandled(ctx, name, func(*registry.Roll) ([]engine.Job, error) { return nil, nil })
}

// clearUnhandled ends the jobs of a subscription's lane, with what follows each.
func (a *App) clearUnhandled(ctx context.Context, name string, follow func(*registry.Roll) ([]engine.Job, error)) (cleared, left int, err error) {
	if err := a.calls.enter(); err != nil {
		return 0, 0, err
	}
	defer a.calls.leave()
	roll, err := a.subscriber.roster.Look(ctx)
	if err != nil {
		return 0, 0, wrapf(err, "unhandled events of %q", name)
	}
	if a.subscriber.isHandled(roll, name) {
		return 0, 0, fmt.Errorf("%w: %q", ErrHandled, name)
	}
	jobs, err := follow(roll)
	if err != nil {
		return 0, 0, err
	}
	for {
		n, more, err := a.clearSome(ctx, name, jobs)
		cleared += n
		if err != nil {
			return cleared, 0, wrapf(err, "unhandled events of %q", name)
		}
		if !more {
			break
		}
	}
	waiting, err := a.subscriber.waiting(ctx)
	if err != nil {
		return cleared, 0, wrapf(err, "unhandled events of %q", name)
	}
	return cleared, waiting[name], nil
}

// clearSome ends some of the jobs of a lane that are due. more is false if there
// are none.
func (a *App) clearSome(ctx context.Context, lane string, follow []engine.Job) (n int, more bool, err error) {
	const atOnce = 500
	res, err := a.engine.Claim(ctx, engine.ClaimRequest{
		Kind: engine.Handle, Max: atOnce, MaxPerLane: atOnce, Only: []string{lane}, Lease: time.Minute,
	})
	if err != nil || len(res.Jobs) == 0 {
		return 0, false, err
	}
	outcomes := make([]engine.Outcome, len(res.Jobs))
	for i, j := range res.Jobs {
		outcomes[i] = engine.Outcome{Ticket: j.Ticket, Result: engine.Done, Follow: follow}
	}
	settled, err := a.engine.Settle(ctx, outcomes)
	for _, s := range settled {
		if s.OK {
			n++
		}
	}
	return n, err == nil, err
}

// isHandled says that this process has a subscription of that name, or that
// another one is taken to have it and to run.
func (s *subscriber) isHandled(roll *registry.Roll, name string) bool {
	_, running := roll.Has(name)
	return running || s.subscription(name) != nil
}
