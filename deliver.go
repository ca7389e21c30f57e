package toot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// maxAnswerBytes is how much of an answer's body is read, so that its
// connection can be used again. A longer one costs the connection.
const maxAnswerBytes = 64 << 10

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
		verdicts[0], _ = a.post(ctx, jobs[0].lane.name, event.ID, event.Body, jsonContentType, trace)
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

// post sends a body to a callback URL and judges what comes back. The answer's
// body is returned up to a bound. The ID is that of the request, should it be
// signed; the same for each try, or none for one that is not made again.
func (a *App) post(ctx context.Context, callbackURL, id string, body []byte, contentType []string, trace http.Header) (v verdict, answer []byte) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, callbackURL, bytes.NewReader(body))
	if err != nil { // from a store that another program wrote to
		return verdict{action: bury, reason: "the callback URL is not a URL"}, nil
	}
	req.Header["Content-Type"] = contentType
	req.Header["User-Agent"] = userAgent
	for _, name := range traceHeaders {
		if values := trace[name]; values != nil {
			req.Header[name] = values
		}
	}
	if a.opts.RequireConsent {
		req.Header[requestOriginHeader] = []string{a.opts.Origin}
	}
	now := time.Now()
	keys, err := a.signers.keys(ctx, callbackURL, now)
	if err != nil { // rather late than unsigned
		a.log.Warn("toot: can't read the signing secrets; will try again", "error", err)
		return verdict{action: giveBack, after: storeRetry}, nil
	}
	if len(keys) > 0 {
		if id == "" {
			id = newEventID()
		}
		sign(req.Header, keys, id, now, body)
	}
	res, err := a.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return verdict{action: giveBack}, nil // stopped from our side
		}
		v = verdict{action: tryAgain, signal: trouble, reason: withoutURL(err).Error()}
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
			v.signal, v.reason = timeout, "no answer within the request timeout"
		}
		return v, nil
	}
	defer func() { _ = res.Body.Close() }()
	if res.ContentLength != 0 {
		answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
	}
	v = judge(res.StatusCode, res.Header, time.Now(), a.opts.MaxRetryAfter)
	v.answered, v.batch, v.cutOff = true, takesBatch(res.Header), err != nil
	return v, answer
}

var (
	jsonContentType = []string{"application/json"}
	userAgent       = []string{"toot-go"}
)

// unsubscribe takes a callback URL off a channel, as its answer asked. If the
// store refuses, the delivery is tried again, and so is this.
func (a *App) unsubscribe(ctx context.Context, channel, callbackURL string, v *verdict) {
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	if _, err := a.engine.RemoveSubscriber(ctx, channel, callbackURL); err != nil {
		*v = verdict{action: giveBack, after: storeRetry}
		a.log.Warn("toot: can't remove a subscriber; will try again", "channel", channel, "callback_url", redactURL(callbackURL), "error", err)
		return
	}
	a.dropLease(ctx, channel, callbackURL)
	a.withdrawConsent(ctx, channel, callbackURL)
	a.log.Info("toot: subscriber removed at its own wish", "channel", channel, "callback_url", redactURL(callbackURL), "status", v.status)
}
