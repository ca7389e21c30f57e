package toot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/watermarkchurch/toot-go/internal/lanes"
	"github.com/watermarkchurch/toot-go/internal/outbound"
	"github.com/watermarkchurch/toot-go/internal/wire"
	"github.com/watermarkchurch/toot-go/signing"
)

// deliverAll POSTs events to the callback URL of their lane.
func (p *publisher) deliverAll(ctx context.Context, l *lanes.Lane, jobs []*lanes.Job, verdicts []lanes.Verdict) {
	if p.opts.RequireConsent && !p.haveConsent(ctx, l, jobs, verdicts) {
		return
	}
	began := time.Now()
	if len(jobs) == 1 {
		event := jobs[0].Event
		ctx, trace := p.beginTry(ctx, StepDeliver, l, jobs[0])
		verdicts[0], _ = p.post(ctx, l, event.ID, event.Body, wire.JSONContentType, trace)
	} else {
		for _, j := range jobs {
			_, _ = p.beginTry(ctx, StepDeliver, l, j)
		}
		p.deliverBatch(ctx, l, jobs, verdicts)
	}
	for i, j := range jobs {
		if verdicts[i].Unsubscribe {
			p.unsubscribe(ctx, j.Event.Channel, l.Name(), began, &verdicts[i])
		}
	}
}

// deliverBatch POSTs the events of several jobs in one request.
func (p *publisher) deliverBatch(ctx context.Context, l *lanes.Lane, jobs []*lanes.Job, verdicts []lanes.Verdict) {
	size := 1
	for _, j := range jobs {
		size += len(j.Event.Body) + 1
	}
	body := make([]byte, 0, size)
	for _, j := range jobs {
		body = append(body, ',')
		body = append(body, j.Event.Body...)
	}
	body[0] = '['
	body = append(body, ']')
	v, answer := p.post(ctx, l, "", body, wire.BatchContentType, nil)
	if refused := v.Status >= 400 && v.Status <= 499 && v.Status != http.StatusRequestTimeout && v.Status != http.StatusTooManyRequests ||
		v.Action == lanes.Finish && v.Round == 0; refused {
		// It takes no batches (any more): the events go one by one, and the
		// answers to those count.
		v = lanes.Verdict{Action: lanes.GiveBack, Status: v.Status, RefusesRounds: true}
	}
	var results wire.BatchAnswer
	if v.Action == lanes.Finish && (v.CutOff || len(answer) > 0 && json.Unmarshal(answer, &results) != nil) {
		// Which events it took, it alone knows.
		v = lanes.Verdict{Action: lanes.GiveBack, Status: v.Status, RefusesRounds: true}
	}
	for i := range verdicts {
		verdicts[i] = v
	}
	if v.Action != lanes.Finish || len(answer) == 0 {
		return
	}
	for _, r := range results.Results {
		if r.Index < 0 || r.Index >= len(verdicts) {
			continue
		}
		h := http.Header{}
		if r.Unsubscribe {
			h[wire.UnsubscribeHeader] = []string{"True"}
		}
		one := judge(r.Status, h, time.Now(), p.opts.MaxRetryAfter)
		one.Round, one.Answered = v.Round, true
		verdicts[r.Index] = one
	}
}

// post sends a body to the callback URL of a lane and judges what comes back.
// The answer's body is returned up to a bound. The ID is that of the request,
// should it be signed; the same for each try, or none for one that is not made
// again.
func (p *publisher) post(ctx context.Context, l *lanes.Lane, id string, body []byte, contentType []string, trace http.Header) (v lanes.Verdict, answer []byte) {
	now := time.Now()
	keys, err := p.registry.Keys(ctx, l.Name(), now)
	if err != nil { // rather late than unsigned
		p.log.Warn("toot: can't read the signing secrets; will try again", "error", err)
		return lanes.Verdict{Action: lanes.GiveBack, After: storeRetry}, nil
	}
	if len(keys.Now) > 0 {
		if id == "" {
			id = wire.NewEventID()
		}
		signedAt := now
		ctx = outbound.WithRenewal(ctx, func(h http.Header) {
			// The other side may have got the request before the connection broke.
			// It is another one if it is signed at another second.
			signedAt = signedAt.Add(time.Second)
			signing.Sign(h, keys.Now, id, signedAt, body)
		})
	}
	to := l.Peer().(*outbound.Endpoint)
	res, err := p.client.Post(ctx, to, body, func(h http.Header) {
		h["Content-Type"] = contentType
		h["User-Agent"] = wire.UserAgent
		for _, name := range wire.TraceHeaders {
			if values := trace[name]; values != nil && (name != wire.BaggageHeader || to.IsOwn()) {
				h[name] = values
			}
		}
		if hops := trace[wire.HopsHeader]; hops != nil {
			h[wire.HopsHeader] = hops
		}
		if p.opts.RequireConsent {
			h[wire.RequestOriginHeader] = []string{p.opts.Origin}
		}
		if len(keys.Now) > 0 {
			signing.Sign(h, keys.Now, id, now, body)
		}
	})
	switch {
	case errors.Is(err, outbound.ErrNotURL): // from a store that another program wrote to
		return lanes.Verdict{Action: lanes.Bury, Reason: err.Error()}, nil
	case err != nil && ctx.Err() != nil:
		return lanes.Verdict{Action: lanes.GiveBack}, nil // stopped from our side
	case err != nil && outbound.IsTimeout(err):
		return lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.TimedOut, Reason: "no answer within the request timeout"}, nil
	case err != nil:
		return lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble, Reason: err.Error()}, nil
	}
	v = judge(res.Status, res.Header, time.Now(), p.opts.MaxRetryAfter)
	v.Answered, v.Round, v.CutOff = true, wire.TakesBatch(res.Header), res.CutOff
	if keys.Unproven && v.Action == lanes.Finish && v.Round > 0 && !v.Unsubscribe && len(res.Body) == 0 {
		p.prove(ctx, l.Name(), keys.Now)
	}
	return v, res.Body
}

// prove notes that an endpoint that knows toot has taken a request under the
// secret that somebody handed over for it.
func (p *publisher) prove(ctx context.Context, callbackURL string, keys []signing.Key) {
	for _, key := range keys {
		if err := p.registry.Prove(ctx, callbackURL, key); err != nil {
			p.log.Warn("toot: can't store that an endpoint has confirmed its signing secret; the next delivery will try again", "callback_url", wire.RedactURL(callbackURL), "error", err)
		}
	}
}

// unsubscribe takes a callback URL off a channel, as its answer to a request
// asked; one that has registered since the request began stays. If the store
// refuses, the delivery is tried again, and so is this.
func (p *publisher) unsubscribe(ctx context.Context, channel, callbackURL string, began time.Time, v *lanes.Verdict) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	removed, err := p.registry.Remove(ctx, channel, callbackURL, max(time.Since(began), 1))
	switch {
	case err != nil:
		*v = lanes.Verdict{Action: lanes.GiveBack, After: storeRetry}
		p.log.Warn("toot: can't remove a subscriber; will try again", "channel", channel, "callback_url", wire.RedactURL(callbackURL), "error", err)
	case removed: // unless another delivery was told before
		p.log.Warn("toot: subscriber removed at its own request", "channel", channel, "callback_url", wire.RedactURL(callbackURL), "status", v.Status)
	}
}
