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
	return newDispatcher(a, engine.Deliver, a.lease(), a.opts.MaxDeliveries,
		func(string) laneLimit { return laneLimit{max: a.opts.MaxDeliveriesPerURL, adapts: true} }, nil, a.deliver)
}

// lease is how long a claimed job is this process's own before the lease has
// to be extended: a request and its settlement fit well.
func (a *App) lease() time.Duration {
	return max(2*a.opts.RequestTimeout, 2*time.Second)
}

// deliver POSTs events to the callback URL of their lane.
func (a *App) deliver(ctx context.Context, jobs []*job, verdicts []verdict) {
	for i, j := range jobs {
		event := j.claim.Event
		ctx, trace := a.beginTry(ctx, StepDeliver, j)
		v := a.post(ctx, j.lane.name, event.Body, trace)
		if v.unsubscribe {
			a.unsubscribe(ctx, event.Channel, j.lane.name, &v)
		}
		verdicts[i] = v
	}
}

// post sends a body to a callback URL and judges what comes back.
func (a *App) post(ctx context.Context, callbackURL string, body []byte, trace http.Header) verdict {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, callbackURL, bytes.NewReader(body))
	if err != nil { // from a store that another program wrote to
		return verdict{action: bury, reason: "the callback URL is not a URL"}
	}
	req.Header["Content-Type"] = jsonContentType
	req.Header["User-Agent"] = userAgent
	for _, name := range traceHeaders {
		if values := trace[name]; values != nil {
			req.Header[name] = values
		}
	}
	res, err := a.client.Do(req)
	if err != nil {
		if ctx.Err() != nil {
			return verdict{action: giveBack} // stopped from our side
		}
		v := verdict{action: tryAgain, signal: trouble, reason: withoutURL(err).Error()}
		if errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded) {
			v.signal, v.reason = timeout, "no answer within the request timeout"
		}
		return v
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswerBytes)
	return judge(res.StatusCode, res.Header, time.Now(), a.opts.MaxRetryAfter)
}

var (
	jsonContentType = []string{"application/json"}
	userAgent       = []string{"toot-go"}
)

// unsubscribe takes a callback URL off a channel, as its answer asked. If the
// store refuses, the delivery is tried again, and so is this.
func (a *App) unsubscribe(ctx context.Context, channel, callbackURL string, v *verdict) {
	if _, err := a.engine.RemoveSubscriber(ctx, channel, callbackURL); err != nil {
		*v = verdict{action: giveBack, after: storeRetry}
		a.log.Warn("toot: can't remove a subscriber; will try again", "channel", channel, "callback_url", redactURL(callbackURL), "error", err)
		return
	}
	a.log.Info("toot: subscriber removed at its own wish", "channel", channel, "callback_url", redactURL(callbackURL), "status", v.status)
}
