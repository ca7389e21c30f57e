package toot

import (
	"context"
	"encoding/json"
	"slices"
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
// To many they are made in steps, by the order of their URLs. The deliveries of
// a step and how far the job has come are stored together, those of the last
// one with the end of the job; so however long it is interrupted, it goes on
// where it was.
func (p *publisher) fanOut(ctx context.Context, _ *lanes.Lane, jobs []*lanes.Job, verdicts []lanes.Verdict) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	for i, j := range jobs {
		verdicts[i] = p.fanOutSome(ctx, j)
	}
}

// fanOutSome makes the deliveries of the next step.
func (p *publisher) fanOutSome(ctx context.Context, j *lanes.Job) (v lanes.Verdict) {
	urls, ok := j.Data.([]string) // of the step before this one
	if !ok {
		all, err := p.registry.Subscribers(ctx, j.Event.Channel)
		if err != nil {
			p.log.Warn("toot: fan-out interrupted, will go on", "event", j.Event.ID, "channel", j.Event.Channel, "error", err)
			return lanes.Verdict{Action: lanes.GiveBack, After: storeRetry}
		}
		if len(all) == 0 {
			p.log.Debug("toot: sent to nobody: the channel has no subscribers", "event", j.Event.ID, "channel", j.Event.Channel)
		}
		urls = behind(decodeFanOut(j.History), all)
	}
	step := urls[:min(len(urls), fanOutStep)]
	for _, url := range step {
		v.Follow.Add(p.deliveries, nil, url)
	}
	v.Action = lanes.Finish
	if rest := urls[len(step):]; len(rest) > 0 {
		v.Action, v.History, j.Data = lanes.GoOn, fanOutHistory{After: []byte(step[len(step)-1])}.encode(), rest
	}
	return v
}

// fanOutHistory is what is kept of a fan-out that has come a part of its way, in
// engine.Claimed.History.
type fanOutHistory struct {
	// After is the last callback URL, in ascending order, for which there is a
	// delivery. Another program may have written one that is no text.
	After []byte `json:"after"`
}

func (h fanOutHistory) encode() []byte {
	encoded, err := json.Marshal(h)
	if err != nil { // bytes always marshal
		panic(err)
	}
	return encoded
}

func decodeFanOut(b []byte) fanOutHistory {
	var h fanOutHistory
	if len(b) > 0 {
		_ = json.Unmarshal(b, &h) // from the beginning, if it can't be read
	}
	return h
}

// behind returns, in ascending order, the callback URLs that have no delivery
// yet.
func behind(h fanOutHistory, urls []string) []string {
	urls = slices.Sorted(slices.Values(urls))
	first, found := slices.BinarySearch(urls, string(h.After))
	if found {
		first++
	}
	return urls[first:]
}
