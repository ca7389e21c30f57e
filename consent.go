package toot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Consent is the handshake of the CloudEvents specification "HTTP 1.1 Web
// Hooks for Event Delivery", part 4: before anything is sent to a callback
// URL, an OPTIONS request asks whether it wants it.
const (
	// consentGroup and a channel are the group of attributes in which those
	// callback URLs are that have consented to it.
	consentGroup = "consent:"
	// The names of the headers, as net/http has them.
	requestOriginHeader = "Webhook-Request-Origin"
	allowedOriginHeader = "Webhook-Allowed-Origin"
	allowedRateHeader   = "Webhook-Allowed-Rate"
	// channelHeader is ours: a subscriber consents to the channels to which it
	// subscribes.
	channelHeader = "X-Toot-Channel"
	maxOrigin     = 255
	maxConsents   = 100_000
)

var errNoConsent = errors.New("the endpoint did not consent to events on this channel (OPTIONS with WebHook-Request-Origin)")

// consents remembers who has consented, for deliveries.
type consents struct {
	store engine.Attributes
	mu    sync.Mutex
	known map[[2]string]bool // by channel and callback URL
}

func (c *consents) has(channel, callbackURL string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.known[[2]string{channel, callbackURL}]
}

func (c *consents) note(channel, callbackURL string, yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !yes {
		delete(c.known, [2]string{channel, callbackURL})
		return
	}
	if c.known == nil || len(c.known) >= maxConsents {
		c.known = map[[2]string]bool{}
	}
	c.known[[2]string{channel, callbackURL}] = true
}

// setOrigin checks what RequireConsent needs.
func (a *App) setOrigin() error {
	if !a.opts.RequireConsent {
		return nil
	}
	if a.consents.store = a.signers.store; a.consents.store == nil {
		return fmt.Errorf("%w: Options.RequireConsent needs one that implements engine.Attributes", ErrUnsupported)
	}
	if a.opts.Origin == "" && a.opts.CallbackURL != "" {
		if u, err := url.Parse(a.opts.CallbackURL); err == nil {
			a.opts.Origin = u.Hostname()
		}
	}
	if o := a.opts.Origin; o == "" || len(o) > maxOrigin || strings.ContainsFunc(o, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("toot: Options.RequireConsent needs Options.Origin, the DNS name that callbacks know this app by")
	}
	return nil
}

// consent returns nil if a callback URL has consented to a channel, asking it
// if that is not known.
func (a *App) consent(ctx context.Context, channel, callbackURL string) error {
	if a.consents.has(channel, callbackURL) {
		return nil
	}
	all, err := a.consents.store.Attributes(ctx, consentGroup+channel)
	if err != nil {
		return fmt.Errorf("toot: consent: %w", err)
	}
	if all[callbackURL].Value == nil {
		if err := a.askConsent(ctx, channel, callbackURL); err != nil {
			return err
		}
		now := []byte(time.Now().UTC().Format(time.RFC3339))
		if _, err := a.consents.store.SwapAttribute(ctx, consentGroup+channel, callbackURL, nil, now, 0); err != nil {
			return fmt.Errorf("toot: consent: %w", err)
		}
	}
	a.consents.note(channel, callbackURL, true)
	return nil
}

// askConsent makes the handshake. What counts is the header, not the status.
func (a *App) askConsent(ctx context.Context, channel, callbackURL string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, callbackURL, nil)
	if err != nil {
		return errNoConsent
	}
	req.Header["User-Agent"] = userAgent
	req.Header[requestOriginHeader] = []string{a.opts.Origin}
	req.Header[channelHeader] = []string{url.QueryEscape(channel)}
	res, err := a.client.Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", errNoConsent, withoutURL(err))
	}
	_ = res.Body.Close()
	if allowed := res.Header.Get(allowedOriginHeader); allowed != "*" && !strings.EqualFold(allowed, a.opts.Origin) {
		return errNoConsent
	}
	return nil
}

// withdrawConsent forgets what a callback URL said that is no subscriber any
// more: should it come again, it is asked again.
func (a *App) withdrawConsent(ctx context.Context, channel, callbackURL string) {
	if !a.opts.RequireConsent {
		return
	}
	a.consents.note(channel, callbackURL, false)
	a.dropAttribute(ctx, consentGroup+channel, callbackURL)
}

// dropAttribute deletes an attribute that nobody needs any more.
func (a *App) dropAttribute(ctx context.Context, group, name string) {
	all, err := a.signers.store.Attributes(ctx, group)
	if err == nil && all[name].Value != nil {
		_, err = a.signers.store.SwapAttribute(ctx, group, name, all[name].Value, nil, 0)
	}
	if err != nil {
		a.log.Warn("toot: can't forget what was kept about a callback URL", "callback_url", redactURL(name), "error", err)
	}
}

// withConsent reports whether jobs of one lane may be delivered. If not, those
// without consent have failed, and the others come back.
func (a *App) withConsent(ctx context.Context, jobs []*job, verdicts []verdict) bool {
	answers := map[string]error{}
	all := true
	for i, j := range jobs {
		channel := j.claim.Event.Channel
		err, known := answers[channel]
		if !known {
			err = a.consent(ctx, channel, j.lane.name)
			answers[channel] = err
		}
		switch {
		case err == nil:
			verdicts[i] = verdict{action: giveBack}
			continue
		case ctx.Err() != nil:
			verdicts[i] = verdict{action: giveBack} // stopped from our side
		case errors.Is(err, errNoConsent):
			verdicts[i] = verdict{action: tryAgain, signal: trouble, reason: err.Error()}
		default:
			verdicts[i] = verdict{action: giveBack, after: storeRetry}
		}
		all = false
	}
	return all
}

// serveConsent answers whether events on a channel are wanted here.
func (a *App) serveConsent(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get(requestOriginHeader)
	channel, err := url.QueryUnescape(r.Header.Get(channelHeader))
	if origin == "" || len(origin) > maxOrigin || err != nil {
		methodNotAllowed(w, http.MethodPost)
		return
	}
	wanted := len(a.subscriptionsTo(channel)) > 0
	if channel == "" { // a sender that knows no channels
		wanted = len(a.subscriptionNames()) > 0
	}
	w.Header().Set("Allow", "POST, OPTIONS")
	if !wanted {
		problem(w, http.StatusForbidden, "Events on this channel are not wanted here.")
		return
	}
	w.Header()[allowedOriginHeader] = []string{origin}
	w.Header()[allowedRateHeader] = []string{"*"}
	w.WriteHeader(http.StatusOK)
}
