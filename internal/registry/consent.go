package registry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

const (
	// consentGroup and a channel are the group of attributes in which those
	// callback URLs are that have consented to it.
	consentGroup = "consent:"
	// consentAge is how old what a process knows of a consent may become.
	consentAge  = 3 * time.Second
	maxConsents = 100_000
)

// ErrNoConsent is the error of a callback URL that does not want a channel's
// events, or does not say that it does.
var ErrNoConsent = errors.New("the endpoint did not consent to events on this channel (OPTIONS with WebHook-Request-Origin)")

// ErrOptionsRefused is the ErrNoConsent of an endpoint that answered the question
// with 405, as a callback does that is served for POST alone.
var ErrOptionsRefused = fmt.Errorf("%w: it answered OPTIONS with 405, as a callback does that is mounted for POST alone", ErrNoConsent)

// consents remembers for a moment who has consented.
type consents struct {
	mu    sync.Mutex
	known map[consent]time.Time // since when
}

type consent struct{ channel, callbackURL string }

func (c *consents) has(channel, callbackURL string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.known[consent{channel, callbackURL}]
	return ok && time.Since(at) <= consentAge
}

func (c *consents) note(channel, callbackURL string, yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !yes {
		delete(c.known, consent{channel, callbackURL})
		return
	}
	if c.known == nil || len(c.known) >= maxConsents {
		c.known = map[consent]time.Time{}
	}
	c.known[consent{channel, callbackURL}] = time.Now()
}

// Consent returns nil if a callback URL has consented to a channel, asking it
// if that is not known. An ErrNoConsent is the endpoint's; other errors are the
// store's. Without Config.AskConsent it is always nil.
func (r *Registry) Consent(ctx context.Context, channel, callbackURL string) error {
	if r.AskConsent == nil || r.consents.has(channel, callbackURL) {
		return nil
	}
	given, err := r.attributes.Attribute(ctx, consentGroup+channel, callbackURL)
	if err != nil {
		return fmt.Errorf("toot: consent: %w", err)
	}
	if len(given.Value) == 0 {
		if err := r.AskConsent(ctx, channel, callbackURL); err != nil {
			return err
		}
		now := []byte(time.Now().UTC().Format(time.RFC3339))
		if _, err := r.attributes.SwapAttribute(ctx, consentGroup+channel, callbackURL, nil, now, 0); err != nil {
			return fmt.Errorf("toot: consent: %w", err)
		}
	}
	r.consents.note(channel, callbackURL, true)
	return nil
}

// withdrawConsent forgets what a callback URL said that is no subscriber any
// more: should it come again, it is asked again.
func (r *Registry) withdrawConsent(ctx context.Context, channel, callbackURL string) {
	if r.AskConsent == nil {
		return
	}
	r.consents.note(channel, callbackURL, false)
	r.forget(ctx, consentGroup+channel, callbackURL, callbackURL)
}
