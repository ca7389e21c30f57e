package toot

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"sync"
	"time"
)

// maxAnswerBytes is how much of an answer's body is read, so that its
// connection can be used again. A longer one costs the connection.
const maxAnswerBytes = 64 << 10

// endpoint is what the requests to a callback URL have in common.
type endpoint struct {
	once     sync.Once
	request  *http.Request // without a body
	basic    []string      // of the credentials in the URL, if any
	notAnURL error
}

// newRequest returns a request with a body.
func (e *endpoint) newRequest(ctx context.Context, callbackURL string, body []byte) (*http.Request, error) {
	e.once.Do(func() {
		if e.request, e.notAnURL = http.NewRequest(http.MethodPost, callbackURL, nil); e.notAnURL != nil { //nolint:noctx // each use has its own
			return
		}
		if u := e.request.URL.User; u != nil {
			password, _ := u.Password()
			e.request.SetBasicAuth(u.Username(), password)
			e.basic = e.request.Header["Authorization"]
		}
	})
	if e.notAnURL != nil {
		return nil, e.notAnURL
	}
	req := e.request.WithContext(ctx)
	req.URL = new(url.URL)
	*req.URL = *e.request.URL
	req.Header = make(http.Header, 4)
	if e.basic != nil {
		req.Header["Authorization"] = e.basic
	}
	req.ContentLength = int64(len(body))
	req.Body = io.NopCloser(bytes.NewReader(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	return req, nil
}

// post sends a body to the callback URL of a lane and judges what comes back.
// The answer's body is returned up to a bound. The ID is that of the request,
// should it be signed; the same for each try, or none for one that is not made
// again.
func (a *App) post(ctx context.Context, l *lane, id string, body []byte, contentType []string, trace http.Header) (v verdict, answer []byte) {
	limited, cancel := context.WithTimeout(ctx, a.client.Timeout)
	defer cancel()
	req, err := l.endpoint.newRequest(limited, l.name, body)
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
	keys, err := a.signers.keys(ctx, l.name, now)
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
	res, err := a.send(req)
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

// send does what a.client.Do would. As no redirect is ever followed, its
// transport can do it at much less cost, unless there are cookies to keep.
func (a *App) send(req *http.Request) (*http.Response, error) {
	if a.client.Jar != nil {
		return a.client.Do(req)
	}
	res, err := a.client.Transport.RoundTrip(req)
	switch {
	case err != nil:
		return nil, err
	case res == nil || res.Body == nil:
		return nil, errors.New("the client's transport returned neither an answer nor an error")
	}
	return res, nil
}

var (
	jsonContentType = []string{"application/json"}
	userAgent       = []string{"toot-go"}
)
