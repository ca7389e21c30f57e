package toot

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

func newDeliveries(a *App) *dispatcher {
	limit := laneLimit{max: a.opts.MaxDeliveriesPerURL, adapts: true}
	if rate := a.opts.MaxRatePerURL; rate > 0 {
		limit.spacing = time.Duration(float64(time.Second) / rate)
	}
	return newDispatcher(a, engine.Deliver, a.lease(), a.opts.MaxDeliveries,
		func(string) laneLimit { return limit }, nil, a.deliver)
}

// lease is how long a claimed job is this process's own before the lease has
// to be extended: a request and its settlement fit well.
func (a *App) lease() time.Duration {
	return max(2*a.opts.RequestTimeout, 2*time.Second)
}

// deliver POSTs events to the callback URL of their lane.
func (a *App) deliver(ctx context.Context, jobs []*job, verdicts []verdict) {
	if a.opts.RequireConsent && !a.withConsent(ctx, jobs, verdicts) {
		return
	}
	if len(jobs) == 1 {
		ctx, trace := a.beginTry(ctx, StepDeliver, jobs[0])
		event := jobs[0].claim.Event
		verdicts[0], _ = a.post(ctx, jobs[0].lane, event.ID, event.Body, jsonContentType, trace)
	} else {
		for _, j := range jobs {
			_, _ = a.beginTry(ctx, StepDeliver, j)
		}
		a.deliverBatch(ctx, jobs, verdicts)
	}
	for i, j := range jobs {
		if verdicts[i].unsubscribe {
			a.unsubscribe(ctx, j.claim.Event.Channel, j.lane.name, &verdicts[i])
		}
	}
}

// unsubscribe takes a callback URL off a channel, as its answer asked. If the
// store refuses, the delivery is tried again, and so is this.
func (a *App) unsubscribe(ctx context.Context, channel, callbackURL string, v *verdict) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	removed, err := a.engine.RemoveSubscriber(ctx, channel, callbackURL, 0)
	if err != nil {
		*v = verdict{action: giveBack, after: storeRetry}
		a.log.Warn("toot: can't remove a subscriber; will try again", "channel", channel, "callback_url", redactURL(callbackURL), "error", err)
		return
	}
	a.dropLease(ctx, channel, callbackURL)
	a.withdrawConsent(ctx, channel, callbackURL)
	if !removed { // another delivery was told before
		return
	}
	a.log.Info("toot: subscriber removed at its own wish", "channel", channel, "callback_url", redactURL(callbackURL), "status", v.status)
}
