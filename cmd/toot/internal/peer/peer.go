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
	"net/http"
	"net/url"
	"strings"
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
		return nil, errors.New("the publisher's URL is not one such as http://127.0.0.1:8080")
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

// Unsubscribe unsubscribes a callback URL and reports whether it was
// subscribed. The request is signed with the keys, if there are any.
func (p *Publisher) Unsubscribe(ctx context.Context, channel, callbackURL string, keys ...signing.Key) (removed bool, err error) {
	target, header := p.subscriptions(url.Values{"channel": {channel}, "callback_url": {callbackURL}}), http.Header{}
	if len(keys) > 0 {
		_, query, _ := strings.Cut(target, "?")
		signing.Sign(header, keys, uuid.NewString(), time.Now(), signing.RemovalContent(query))
	}
	a, err := p.do(ctx, http.MethodDelete, target, nil, header)
	if a.status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
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
	if err := json.Unmarshal(a.body, &list); err != nil {
		return nil, fmt.Errorf("%s answered with something else than a list of subscriptions: is that its subscriptions service?", p)
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
		return answer{}, fmt.Errorf("can't reach %s: %w: is it running, and is --publisher right?", p, err)
	}
	defer func() { _ = res.Body.Close() }()
	a := answer{status: res.StatusCode, header: res.Header}
	if a.body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer)); err != nil {
		return answer{}, fmt.Errorf("%s broke off its answer: %w", p, err)
	}
	if a.status < 200 || a.status > 299 {
		return a, p.explain(a)
	}
	return a, nil
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
	return fmt.Errorf("%s answered with status %d (%s)", p, a.status, http.StatusText(a.status))
}
