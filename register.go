package toot

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/internal/wire"
	"github.com/watermarkchurch/toot-go/signing"
)

// RegisterSubscriptions asks the publishers of all channels that this app
// subscribes to to send their events to Options.CallbackURL. It is safe to repeat,
// and meant to be called at each deploy, once the callback URL is served. Events
// that are published from then on are taken in for all of this app's subscriptions,
// whichever of the processes that share the store they reach. So that this holds
// while other processes already receive a channel's events, it may wait some
// seconds until they know of this one's subscriptions.
//
// It tries every channel, and returns the errors of those that failed, joined.
// For one that was answered with other than 2xx, errors.As finds a
// *StatusError; otherwise the error is what kept the request from being
// answered.
func (a *App) RegisterSubscriptions(ctx context.Context) error {
	if err := a.calls.enter(); err != nil {
		return err
	}
	defer a.calls.leave()
	return a.subscriber.registerAll(ctx)
}

func (s *subscriber) registerAll(ctx context.Context) error {
	type pair struct {
		source, channel string
		of              Source
	}
	var pairs []pair
	s.mu.RLock()
	for channel, subscriptions := range s.handling {
		for _, sub := range subscriptions {
			pairs = append(pairs, pair{sub.Source, channel, s.sources[sub.Source]})
		}
	}
	s.mu.RUnlock()
	slices.SortFunc(pairs, func(a, b pair) int {
		return cmp.Or(cmp.Compare(a.source, b.source), cmp.Compare(a.channel, b.channel))
	})
	pairs = slices.CompactFunc(pairs, func(a, b pair) bool { return a.source == b.source && a.channel == b.channel })
	if len(pairs) > 0 && s.opts.CallbackURL == "" {
		return errors.New("toot: RegisterSubscriptions needs Options.CallbackURL, the full URL of this app's HandlerService")
	}
	// The first event may reach a process of an older release.
	if err := s.announce(ctx); err != nil {
		return err
	}
	if err := s.awaitKnown(ctx); err != nil {
		return err
	}
	var failed []error
	var shortest time.Duration
	mounted := true
	for _, p := range pairs {
		lease, err := s.register(ctx, p.of, wire.Registration{CallbackURL: s.opts.CallbackURL, Channel: p.channel})
		if lease > 0 && (shortest == 0 || lease < shortest) {
			shortest = lease
		}
		if err != nil {
			if refused := (*StatusError)(nil); mounted && errors.As(err, &refused) && refused.problemType == wire.OptionsRefused {
				mounted = false // said once
				s.log.Warn(`toot: a publisher asked the callback URL for consent with OPTIONS, and was answered 405; mount HandlerService for all methods: mux.Handle("/callbacks", …) rather than mux.Handle("POST /callbacks", …)`, "source", p.source, "callback_url", wire.RedactURL(s.opts.CallbackURL))
			}
			failed = append(failed, wrapf(err, "register %q with source %q", p.channel, p.source))
		}
	}
	s.renewals.note(shortest)
	return errors.Join(failed...)
}

func (s *subscriber) register(ctx context.Context, src Source, reg wire.Registration) (lease time.Duration, err error) {
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
	req.Header["Content-Type"] = wire.JSONContentType
	req.Header["User-Agent"] = wire.UserAgent
	if src.verifier != nil { // which shows that the secrets before it were ours, too
		signing.Sign(req.Header, src.keys, wire.NewEventID(), time.Now(), body)
	}
	res, err := src.Client.Do(req)
	if err != nil {
		return 0, wire.WithoutURL(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode < 200 || res.StatusCode > 299 {
		problemType, detail := wire.ReadProblem(res)
		err = &StatusError{StatusCode: res.StatusCode, Detail: s.harmless(detail, reg), problemType: problemType}
	}
	_, _ = io.CopyN(io.Discard, res.Body, maxRegistrationAnswer)
	if err != nil {
		return 0, err
	}
	return wire.Lease(res.Header), nil
}

// harmless returns what a publisher says, unless it repeats a secret of ours.
func (s *subscriber) harmless(detail string, reg wire.Registration) string {
	secrets := []string{reg.SigningSecret}
	if u, err := url.Parse(reg.CallbackURL); err == nil {
		password, _ := u.User.Password()
		secrets = append(secrets, password, u.RawQuery)
	}
	for _, secret := range secrets {
		if secret != "" && strings.Contains(detail, secret) {
			return ""
		}
	}
	return detail
}

// maxRegistrationAnswer is how much of an answer is read, so that its
// connection can be used again.
const maxRegistrationAnswer = 64 << 10

// firstRetry and lastRetry are how soon registrations that failed are made again:
// after the first failure, and at the most after many.
const (
	firstRetry = time.Second
	lastRetry  = time.Minute
)

// renewals says when to register again.
type renewals struct {
	mu    sync.Mutex
	due   time.Time     // zero: not at all
	noted chan struct{} // holds a value if due was changed
}

// note sets when to register again: after a third of the shortest lease.
func (r *renewals) note(shortest time.Duration) {
	due := time.Time{}
	if shortest > 0 {
		due = time.Now().Add(max(shortest/3, time.Second))
	}
	r.set(due)
}

func (r *renewals) set(due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.due = due
	select {
	case r.noted <- struct{}{}:
	default:
	}
}

func (r *renewals) next() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.due
}

// noteRegistered notes what became of registering, after a failure that was to be
// made good after retry, if any. It returns how soon it is to be tried again, zero
// if all went well.
func (s *subscriber) noteRegistered(err error, retry time.Duration) time.Duration {
	if err == nil {
		if retry > 0 {
			s.log.Info("toot: all subscriptions are registered")
		}
		return 0
	}
	retry = min(max(2*retry, firstRetry), lastRetry)
	s.log.Warn("toot: can't register all subscriptions; will try again", "in", retry, "error", err)
	now := time.Now()
	if next := s.renewals.next(); !next.After(now) || next.After(now.Add(retry)) {
		s.renewals.set(now.Add(retry))
	}
	return retry
}

// renew registers again whenever it is time, until ctx ends.
func (s *subscriber) renew(ctx context.Context) {
	if s.opts.RegisterOnRun {
		s.renewals.set(time.Now())
	}
	var retry time.Duration // zero if the last time all were registered
	for {
		var due <-chan time.Time
		var timer *time.Timer
		if next := s.renewals.next(); !next.IsZero() {
			timer = time.NewTimer(time.Until(next))
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-s.renewals.noted:
		case <-due:
			err := s.registerAll(ctx)
			if ctx.Err() != nil {
				break
			}
			retry = s.noteRegistered(err, retry)
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return
		}
	}
}
