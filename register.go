package toot

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"time"
)

// RegisterSubscriptions tells every publisher of this app's subscriptions to
// send their events to Options.CallbackURL. It is safe to repeat, and meant to
// be run at each deploy, once what serves the callback URL is up.
//
// It tries every channel, and returns the errors of those that failed, joined.
// For one that was answered with other than 2xx, errors.As finds a
// *StatusError; otherwise the error is what kept the request from being
// answered.
func (a *App) RegisterSubscriptions(ctx context.Context) error {
	if err := a.enter(); err != nil {
		return err
	}
	defer a.closing.Done()
	type pair struct {
		source, channel string
		of              Source
	}
	var pairs []pair
	a.mu.RLock()
	for channel, subscriptions := range a.handling {
		for _, s := range subscriptions {
			pairs = append(pairs, pair{s.Source, channel, a.sources[s.Source]})
		}
	}
	a.mu.RUnlock()
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.channel, b.channel))
	})
	pairs = slices.CompactFunc(pairs, func(a, b pair) bool { return a.source == b.source && a.channel == b.channel })
	if len(pairs) > 0 && a.opts.CallbackURL == "" {
		return errors.New("toot: RegisterSubscriptions needs Options.CallbackURL, the full URL of this app's HandlerService")
	}
	var failed []error
	var shortest time.Duration
	for _, p := range pairs {
		lease, err := a.register(ctx, p.of, registration{CallbackURL: a.opts.CallbackURL, Channel: p.channel})
		if lease > 0 && (shortest == 0 || lease < shortest) {
			shortest = lease
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("toot: register %q with source %q: %w", p.channel, p.source, err))
		}
	}
	a.renewals.note(shortest)
	return errors.Join(failed...)
}

func (a *App) register(ctx context.Context, src Source, reg registration) (lease time.Duration, err error) {
	if len(src.SigningSecrets) > 0 {
		reg.SigningSecret = src.SigningSecrets[0]
	}
	body, err := json.Marshal(reg)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, src.SubscriptionURL, bytes.NewReader(body))
	if err != nil {
		return 0, errors.New("the subscription URL is not a URL")
	}
	req.Header["Content-Type"] = jsonContentType
	req.Header["User-Agent"] = userAgent
	if src.signatures != nil { // which shows that the secrets before it were ours, too
		sign(req.Header, src.signatures.keys, newEventID(), time.Now(), body)
	}
	res, err := src.Client.Do(req)
	if err != nil {
		return 0, withoutURL(err)
	}
	defer func() { _ = res.Body.Close() }()
	_, _ = io.CopyN(io.Discard, res.Body, maxAnswerBytes)
	if res.StatusCode < 200 || res.StatusCode > 299 {
		return 0, &StatusError{StatusCode: res.StatusCode}
	}
	return leaseOf(res.Header), nil
}
