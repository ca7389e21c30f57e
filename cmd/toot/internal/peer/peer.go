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

// Subscribe subscribes a callback URL and reports whether it was new.
func (p *Publisher) Subscribe(ctx context.Context, channel, callbackURL string) (added bool, err error) {
	body, err := json.Marshal(map[string]string{"callback_url": callbackURL, "channel": channel})
	if err != nil {
		return false, err
	}
	status, _, err := p.do(ctx, http.MethodPost, p.subscriptions(nil), body, http.Header{"Content-Type": {"application/json"}})
	return status == http.StatusCreated, err
}

// Unsubscribe unsubscribes a callback URL and reports whether it was
// subscribed.
func (p *Publisher) Unsubscribe(ctx context.Context, channel, callbackURL string) (removed bool, err error) {
	query := url.Values{"channel": {channel}, "callback_url": {callbackURL}}
	status, _, err := p.do(ctx, http.MethodDelete, p.subscriptions(query), nil, http.Header{})
	if status == http.StatusNotFound {
		return false, nil
	}
	return err == nil, err
}

// Subscriptions returns the callback URLs of each channel.
func (p *Publisher) Subscriptions(ctx context.Context) (map[string][]string, error) {
	_, body, err := p.do(ctx, http.MethodGet, p.subscriptions(nil), nil, http.Header{"Accept": {"application/json"}})
	if err != nil {
		return nil, err
	}
	var list struct {
		Subscriptions map[string][]string `json:"subscriptions"`
	}
	if err := json.Unmarshal(body, &list); err != nil {
		return nil, fmt.Errorf("%s answered with something else than a list of subscriptions: is that its subscriptions service?", p)
	}
	return list.Subscriptions, nil
}

// Published is what became of a published event.
type Published struct {
	ID        string `json:"id"`
	Channel   string `json:"channel"`
	Timestamp string `json:"timestamp"`
}

// Publish publishes a payload, or with many one for each line of it.
func (p *Publisher) Publish(ctx context.Context, channel, key string, payload []byte, many bool) ([]Published, error) {
	u := *p.base
	u.Path = strings.TrimSuffix(strings.TrimSuffix(u.Path, "/"), "/subscriptions") + "/publish/" + channel
	header := http.Header{"Content-Type": {"application/json"}}
	if many {
		header.Set("Content-Type", "application/x-ndjson")
	}
	if key != "" {
		header.Set("Idempotency-Key", key)
	}
	_, body, err := p.do(ctx, http.MethodPost, u.String(), payload, header)
	if err != nil {
		return nil, err
	}
	var events []Published
	for dec := json.NewDecoder(bytes.NewReader(body)); dec.More(); {
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

func (p *Publisher) do(ctx context.Context, method, target string, body []byte, header http.Header) (status int, answer []byte, err error) {
	req, err := http.NewRequestWithContext(ctx, method, target, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header = header
	req.Header.Set("User-Agent", "toot-go")
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
			return 0, nil, context.Cause(ctx)
		}
		return 0, nil, fmt.Errorf("can't reach %s: %w: is it running, and is --publisher right?", p, err)
	}
	defer func() { _ = res.Body.Close() }()
	answer, err = io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return 0, nil, fmt.Errorf("%s broke off its answer: %w", p, err)
	}
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return res.StatusCode, answer, p.explain(res.StatusCode, answer)
	}
	return res.StatusCode, answer, nil
}

// explain makes an error of an answer.
func (p *Publisher) explain(status int, answer []byte) error {
	var problem struct {
		Detail string `json:"detail"`
	}
	_ = json.Unmarshal(answer, &problem) // others than toot serve say nothing more
	if problem.Detail != "" {
		return fmt.Errorf("%s answered with status %d: %s", p, status, problem.Detail)
	}
	return fmt.Errorf("%s answered with status %d (%s)", p, status, http.StatusText(status))
}
