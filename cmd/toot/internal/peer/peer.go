// Package peer talks to a publisher: to any that speaks toot's protocol to
// subscribe, to `toot serve` to publish.
package peer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/watermarkchurch/toot-go/internal/wire"
	"github.com/watermarkchurch/toot-go/signing"
)

// Publisher is one that is talked to.
type Publisher struct {
	base   *url.URL
	token  string
	client *http.Client
}

// timeout bounds each request.
const timeout = 30 * time.Second

// New returns the publisher at a URL: that of its subscriptions service, or of
// `toot serve` itself, which has no path. A name and a password in the URL are
// used for Basic authentication; a token, unless empty, is sent instead.
func New(rawURL, token string) (*Publisher, error) {
	u, err := url.Parse(rawURL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return nil, errors.New("the publisher's URL must be one such as http://127.0.0.1:8080")
	}
	client := &http.Client{Timeout: timeout, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	return &Publisher{base: u, token: token, client: client}, nil
}

// String is the URL without credentials.
func (p *Publisher) String() string {
	u := *p.base
	u.User, u.RawQuery = nil, ""
	return u.String()
}

// subscriptions is the URL of the subscriptions service.
func (p *Publisher) subscriptions(query url.Values) string {
	u := *p.base
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/subscriptions"
	}
	if query != nil {
		q := u.Query()
		for k, v := range query {
			q[k] = v
		}
		u.RawQuery = q.Encode()
	}
	return u.String()
}

// Subscribe subscribes a callback URL and reports whether it was new, and for
// how long it is subscribed unless this is done again; 0 means for ever.
func (p *Publisher) Subscribe(ctx context.Context, channel, callbackURL string) (added bool, lease time.Duration, err error) {
	body, err := json.Marshal(map[string]string{"callback_url": callbackURL, "channel": channel})
	if err != nil {
		return false, 0, err
	}
	a, err := p.do(ctx, http.MethodPost, p.subscriptions(nil), body, http.Header{"Content-Type": {"application/json"}})
	return a.status == http.StatusCreated, wire.Lease(a.header), err
}

// Removal is what became of a request to unsubscribe.
type Removal struct {
	Removed   bool // it was subscribed
	Discarded bool // what waits is discarded, as was asked for
}

// UnsubscribeOptions say how to unsubscribe.
type UnsubscribeOptions struct {
	Discard bool          // what waits for the callback URL on the channel, too
	Keys    []signing.Key // to sign the request with, if there are any
}

// Unsubscribe unsubscribes a callback URL.
func (p *Publisher) Unsubscribe(ctx context.Context, channel, callbackURL string, o UnsubscribeOptions) (Removal, error) {
	query := url.Values{"channel": {channel}, "callback_url": {callbackURL}}
	if o.Discard {
		query.Set(wire.DiscardParameter, "true")
	}
	target, header := p.subscriptions(query), http.Header{}
	if len(o.Keys) > 0 {
		_, query, _ := strings.Cut(target, "?")
		signing.Sign(header, o.Keys, uuid.NewString(), time.Now(), signing.RemovalContent(query))
	}
	a, err := p.do(ctx, http.MethodDelete, target, nil, header)
	r := Removal{Discarded: a.header.Get(wire.DiscardHeader) != ""}
	if a.status == http.StatusNotFound {
		return r, nil
	}
	r.Removed = err == nil
	return r, err
}

// Subscriptions returns the callback URLs of each channel.
func (p *Publisher) Subscriptions(ctx context.Context) (map[string][]string, error) {
	a, err := p.do(ctx, http.MethodGet, p.subscriptions(nil), nil, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return nil, err
	}
	var list struct {
		Subscriptions map[string][]string `json:"subscriptions"`
	}
	if err := json.Unmarshal(a.body, &list); err != nil || list.Subscriptions == nil {
		return nil, fmt.Errorf("%s answered with something else than a list of subscriptions: is that the URL of its subscriptions service?", p)
	}
	return list.Subscriptions, nil
}

// Published is what became of a published event.
type Published struct {
	ID        string `json:"id"`
	Channel   string `json:"channel"`
	Timestamp string `json:"timestamp"`
	// Subscribers is how many the channel has; nil if the server does not say.
	Subscribers *int `json:"subscribers,omitempty"`
	// Known says that the Idempotency-Key was used before.
	Known bool `json:"known,omitempty"`
}

// Publish publishes a payload, or with many one for each line of it. Unless after
// is empty, it says when they are to be sent, see wire.ParseAfter.
func (p *Publisher) Publish(ctx context.Context, channel, key, after string, payload []byte, many bool) ([]Published, error) {
	u := *p.base
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/subscriptions") + "/publish/" + channel
	header := http.Header{"Content-Type": {"application/json"}}
	if many {
		header.Set("Content-Type", "application/x-ndjson")
	}
	if key != "" {
		header.Set("Idempotency-Key", key)
	}
	if after != "" {
		header.Set(wire.AfterHeader, after)
	}
	a, err := p.do(ctx, http.MethodPost, u.String(), payload, header)
	if err != nil {
		return nil, err
	}
	var events []Published
	for dec := json.NewDecoder(bytes.NewReader(a.body)); dec.More(); {
		var e Published
		if err := dec.Decode(&e); err != nil || e.ID == "" {
			return nil, fmt.Errorf("%s answered with something else than events: is it toot serve?", p)
		}
		e.Known = a.header.Get("Idempotent-Replayed") != ""
		events = append(events, e)
	}
	return events, nil
}

// maxAnswer bounds an answer: a publisher may have many subscriptions.
const maxAnswer = 256 << 20

// answer is what a publisher answered with, as far as it is known.
type answer struct {
	status int
	header http.Header
	body   []byte
}

// do makes a request. Answers other than 2xx are errors, too.
func (p *Publisher) do(ctx context.Context, method, target string, body []byte, header http.Header) (answer, error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header = header
	req.Header.Set("User-Agent", "toot") // not that of deliveries, which are counted as hops
	if p.token != "" {
		req.Header.Set("Authorization", "Bearer "+p.token)
	}
	res, err := p.client.Do(req)
	if err != nil {
		var wrapped *url.Error
		if errors.As(err, &wrapped) {
			err = wrapped.Err // without the URL, which may have credentials
		}
		if ctx.Err() != nil {
			return answer{}, context.Cause(ctx)
		}
		return answer{}, fmt.Errorf("can't reach %s: %w: is it running, and is --publisher right?", p, reason(err))
	}
	defer func() { _ = res.Body.Close() }()
	a := answer{status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer)); err != nil {
		return answer{}, fmt.Errorf("%s did not finish its answer: %w", p, err)
	}
	if a.status < 200 || a.status > 299 {
		return a, p.explain(a)
	}
	return a, nil
}

// reason is what is at the bottom of an error of the client, in words.
func reason(err error) error {
	var (
		name  *net.DNSError
		errno syscall.Errno
		slow  net.Error
	)
	switch {
	case errors.As(err, &name) && name.IsNotFound:
		return fmt.Errorf("there is no host %q", name.Name)
	case errors.As(err, &slow) && slow.Timeout():
		return fmt.Errorf("it did not answer within %v", timeout)
	case errors.As(err, &errno):
		return errno // "connection refused", without the address, which is named already
	case errors.Is(err, io.EOF):
		return errors.New("the connection was closed without an answer")
	case strings.HasPrefix(err.Error(), "net/http: HTTP/1.x transport connection broken: malformed HTTP"):
		return errors.New("what answers there does not speak HTTP")
	case strings.HasPrefix(err.Error(), "tls: first record does not look like a TLS handshake"), strings.HasPrefix(err.Error(), "http: server gave HTTP response to HTTPS client"):
		return errors.New("what answers there does not speak TLS; try http://")
	}
	return err
}

// explain makes an error of an answer.
func (p *Publisher) explain(a answer) error {
	var problem struct {
		Detail string `json:"detail"`
	}
	_ = json.Unmarshal(a.body, &problem) // others than toot serve say nothing more
	if problem.Detail != "" {
		return fmt.Errorf("%s answered with status %d: %s", p, a.status, problem.Detail)
	}
	switch a.status {
	case http.StatusUnauthorized:
		return fmt.Errorf("%s wants other credentials (status 401): give --token, or name:password@ in the URL", p)
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented:
		return fmt.Errorf("%s has no such service (status %d): is that the URL of toot serve, or of a subscriptions service?", p, a.status)
	}
	return fmt.Errorf("%s answered with status %d (%s)", p, a.status, http.StatusText(a.status))
}
