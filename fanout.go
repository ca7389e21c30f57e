package toot

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

const (
	// fanOutStep is how many deliveries of a large fan-out are written at once.
	fanOutStep = 1000
	// fanOutTries is how many fan-outs run at once.
	maxFanOuts = 8
	// storeRetry is how long to wait before repeating what the store refused.
	storeRetry = time.Second
)

func newFanOuts(a *App) *dispatcher {
	return newDispatcher(a, engine.FanOut, engineTimeout+leaseMargin, maxFanOuts,
		func(string) laneLimit { return laneLimit{max: 2} }, nil, a.fanOut)
}

// fanOut turns an event into one delivery for each subscriber of its channel.
// The last step's deliveries appear together with the end of the job; those
// of earlier steps are recognised should the job be run again.
func (a *App) fanOut(ctx context.Context, jobs []*job, verdicts []verdict) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	for i, j := range jobs {
		event := j.claim.Event
		urls, err := a.engine.Subscribers(ctx, event.Channel)
		if err == nil {
			urls, err = a.live(ctx, event.Channel, urls)
		}
		for err == nil && len(urls) > fanOutStep {
			var h handOff
			for _, url := range urls[:fanOutStep] {
				h.add(a.deliveries, event, url)
			}
			err = h.push(ctx, a.engine)
			urls = urls[fanOutStep:]
		}
		if err != nil {
			a.log.Warn("toot: fan-out interrupted, will go on", "event", event.ID, "channel", event.Channel, "error", err)
			verdicts[i] = verdict{action: giveBack, after: storeRetry}
			continue
		}
		verdicts[i] = verdict{action: finish}
		for _, url := range urls {
			verdicts[i].follow.add(a.deliveries, nil, url)
		}
	}
}
