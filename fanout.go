package toot

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/internal/lanes"
)

const (
	// fanOutStep is how many deliveries of a large fan-out are written at once.
	fanOutStep = 1000
	// maxFanOuts is how many fan-outs run at once.
	maxFanOuts = 8
	// storeRetry is how long to wait before repeating what the store refused.
	storeRetry = time.Second
)

// fanOut turns an event into one delivery for each subscriber of its channel.
// The last step's deliveries appear together with the end of the job; those
// of earlier steps are recognised should the job be run again.
func (p *publisher) fanOut(ctx context.Context, _ *lanes.Lane, jobs []*lanes.Job, verdicts []lanes.Verdict) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	for i, j := range jobs {
		event := j.Event
		urls, err := p.registry.Subscribers(ctx, event.Channel)
		for err == nil && len(urls) > fanOutStep {
			var push lanes.Push
			for _, url := range urls[:fanOutStep] {
				push.Add(p.deliveries, event, url)
			}
			_, err = push.Store(ctx, p.engine, nil, 0)
			urls = urls[fanOutStep:]
		}
		if err != nil {
			p.log.Warn("toot: fan-out interrupted, will go on", "event", event.ID, "channel", event.Channel, "error", err)
			verdicts[i] = lanes.Verdict{Action: lanes.GiveBack, After: storeRetry}
			continue
		}
		verdicts[i] = lanes.Verdict{Action: lanes.Finish}
		for _, url := range urls {
			verdicts[i].Follow.Add(p.deliveries, nil, url)
		}
	}
}
