package toot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/watermarkchurch/toot-go/internal/lanes"
	"github.com/watermarkchurch/toot-go/internal/registry"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// newRegistry returns the registry, which asks for consent if that is required.
func (p *publisher) newRegistry() (*registry.Registry, error) {
	c := registry.Config{Engine: p.engine, Log: p.log, Lease: p.opts.RegistrationLease, Timeout: engineTimeout}
	if p.opts.RequireConsent {
		if err := p.opts.setOrigin(); err != nil {
			return nil, err
		}
		c.AskConsent = p.askConsent
	}
	r, err := registry.New(c)
	if err != nil {
		return nil, fmt.Errorf("%w: Options.RequireConsent and RegistrationLease need one that implements engine.Attributes", ErrUnsupported)
	}
	return r, nil
}

// setOrigin finds the name of this app that RequireConsent needs.
func (o *Options) setOrigin() error {
	if o.Origin == "" && o.CallbackURL != "" {
		if u, err := url.Parse(o.CallbackURL); err == nil {
			o.Origin = u.Hostname()
		}
	}
	if o.Origin == "" || len(o.Origin) > wire.MaxOrigin || strings.ContainsFunc(o.Origin, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return errors.New("toot: Options.RequireConsent needs Options.Origin, the DNS name that callbacks know this app by")
	}
	return nil
}

// askConsent makes the handshake. What counts is the header, not the status, of
// which 405 tells that the question did not reach whoever could answer it.
func (p *publisher) askConsent(ctx context.Context, channel, callbackURL string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodOptions, wire.RequestURL(callbackURL), nil)
	if err != nil {
		return registry.ErrNoConsent
	}
	req.Header["User-Agent"] = wire.UserAgent
	req.Header[wire.RequestOriginHeader] = []string{p.opts.Origin}
	req.Header[wire.ChannelHeader] = []string{url.QueryEscape(channel)}
	res, err := p.client.HTTP().Do(req)
	if err != nil {
		return fmt.Errorf("%w: %w", registry.ErrNoConsent, wire.WithoutURL(err))
	}
	_ = res.Body.Close()
	if res.StatusCode == http.StatusMethodNotAllowed {
		return registry.ErrOptionsRefused
	}
	if allowed := res.Header.Get(wire.AllowedOriginHeader); allowed != "*" && !strings.EqualFold(allowed, p.opts.Origin) {
		return registry.ErrNoConsent
	}
	return nil
}

// haveConsent reports whether jobs of one lane may be delivered. If not, those
// without consent have failed, and the others come back.
func (p *publisher) haveConsent(ctx context.Context, l *lanes.Lane, jobs []*lanes.Job, verdicts []lanes.Verdict) bool {
	answers := map[string]error{}
	all := true
	for i, j := range jobs {
		channel := j.Event.Channel
		err, known := answers[channel]
		if !known {
			err = p.registry.Consent(ctx, channel, l.Name())
			answers[channel] = err
		}
		switch {
		case err == nil:
			verdicts[i] = lanes.Verdict{Action: lanes.GiveBack}
			continue
		case ctx.Err() != nil:
			verdicts[i] = lanes.Verdict{Action: lanes.GiveBack} // stopped from our side
		case errors.Is(err, registry.ErrNoConsent):
			verdicts[i] = lanes.Verdict{Action: lanes.TryAgain, Evidence: lanes.Trouble, Reason: err.Error()}
		default:
			verdicts[i] = lanes.Verdict{Action: lanes.GiveBack, After: storeRetry}
		}
		all = false
	}
	return all
}
