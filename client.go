package toot

import (
	"errors"
	"net/http"

	"github.com/watermarkchurch/toot-go/internal/h1"
)

// newClients makes the clients for callbacks and for sources: the caller's
// with toot's rules laid over it. They differ if there is a policy on
// callbacks: where the sources are is for this app alone to say.
func (a *App) newClients() error {
	var client http.Client
	if a.opts.Client != nil {
		client = *a.opts.Client
	}
	base := client.Transport
	if base == nil {
		base = http.DefaultTransport
	}
	plain, isPlain := base.(*http.Transport)
	if a.opts.Client == nil && isPlain {
		plain = plain.Clone()
		plain.MaxIdleConns = a.opts.MaxDeliveries
		plain.MaxIdleConnsPerHost = a.opts.MaxDeliveries // many callback URLs may share a host
		plain.DisableCompression = true                  // answers are a few bytes
		base = a.own(plain)
	}
	wrap := a.opts.WrapTransport
	if wrap == nil {
		wrap = func(t http.RoundTripper) http.RoundTripper { return t }
	}
	client.Transport = wrap(base)
	a.sourceClient = a.ruled(client)
	a.client = a.sourceClient
	if policy := a.opts.AllowCallback; policy != nil {
		if !isPlain {
			return errors.New("toot: Options.AllowCallback needs a Client whose Transport is an *http.Transport, or none, since it dials by itself: put what wraps it into Options.WrapTransport")
		}
		guarded, err := policy.guard(plain)
		if err != nil {
			return err
		}
		client.Transport = wrap(a.own(guarded))
		a.client = a.ruled(client)
	}
	return nil
}

// own takes charge of a transport, and makes it quick.
func (a *App) own(t *http.Transport) http.RoundTripper {
	quick := h1.New(t)
	a.transports = append(a.transports, quick)
	return quick
}

// ruled lays the rules over a client.
func (a *App) ruled(client http.Client) *http.Client {
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if client.Timeout <= 0 || client.Timeout > a.opts.RequestTimeout {
		client.Timeout = a.opts.RequestTimeout
	}
	return &client
}

// closeIdle closes the idle connections that are nobody else's.
func (a *App) closeIdle() {
	for _, t := range a.transports {
		t.CloseIdleConnections()
	}
}
