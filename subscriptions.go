package toot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/internal/outbound"
	"github.com/watermarkchurch/toot-go/internal/registry"
	"github.com/watermarkchurch/toot-go/internal/wire"
	"github.com/watermarkchurch/toot-go/signing"
)

// SubscriptionsService returns the service with which subscribers register
// and unregister their callback URLs, to be mounted at what they know as the
// source's subscription URL.
//
//	POST    {"callback_url":…,"channel":…}   201 added, 204 there already, 422 invalid
//	GET                                      200, the channels of this app and their callback URLs, without passwords
//	DELETE  ?channel=…&callback_url=…        204 removed, 404 not subscribed, 400 invalid
//
// Channels are full names. The service trusts whoever reaches it; put
// authorization in front of it where that is not everybody.
func (a *App) SubscriptionsService() http.Handler {
	return http.HandlerFunc(a.publisher.serveSubscriptions)
}

func (p *publisher) serveSubscriptions(w http.ResponseWriter, r *http.Request) {
	if err := p.calls.enter(); err != nil {
		unavailable(w)
		return
	}
	defer p.calls.leave()
	switch r.Method {
	case http.MethodPost:
		p.addSubscriber(w, r)
	case http.MethodGet:
		p.listSubscribers(w, r)
	case http.MethodDelete:
		p.removeSubscriber(w, r)
	default:
		wire.MethodNotAllowed(w, http.MethodGet, http.MethodPost, http.MethodDelete)
	}
}

func (p *publisher) addSubscriber(w http.ResponseWriter, r *http.Request) {
	read, ok := p.readBody(w, r)
	if !ok {
		return
	}
	defer read.Done()
	body := read.Bytes
	const want = `Expected {"callback_url":"https://…","channel":"…"}, but `
	var reg wire.Registration
	if err := json.Unmarshal(body, &reg); err != nil {
		wire.Problem(w, http.StatusUnprocessableEntity, want+"the body is no such JSON object.")
		return
	}
	if err := checkChannel(reg.Channel); err != nil {
		wire.Problem(w, http.StatusUnprocessableEntity, want+strings.TrimPrefix(err.Error(), "toot: ")+".")
		return
	}
	if err := wire.CheckCallbackURL(reg.CallbackURL); err != nil {
		wire.Problem(w, http.StatusUnprocessableEntity, want+"invalid callback_url: "+err.Error()+".")
		return
	}
	if policy := (*outbound.Policy)(p.opts.AllowCallback); policy != nil {
		if err := policy.Check(r.Context(), reg.CallbackURL); err != nil {
			p.log.Warn("toot: refused a callback URL that is not allowed", "channel", reg.Channel, "callback_url", wire.RedactURL(reg.CallbackURL))
			wire.Problem(w, http.StatusUnprocessableEntity, want+strings.TrimPrefix(err.Error(), "toot: ")+".")
			return
		}
	}
	if limit := p.opts.MaxSubscribersPerChannel; limit >= 0 {
		full, err := p.registry.IsFull(r.Context(), reg.Channel, reg.CallbackURL, limit)
		if err != nil {
			p.log.Error("toot: can't count the subscribers of a channel", "channel", reg.Channel, "error", err)
			unavailable(w)
			return
		}
		if full { // those who come at the same moment may be a few more
			wire.Problem(w, http.StatusUnprocessableEntity, "This channel has as many subscribers as it may have here.")
			return
		}
	}
	if err := p.registry.Consent(r.Context(), reg.Channel, reg.CallbackURL); err != nil {
		if !errors.Is(err, registry.ErrNoConsent) {
			p.log.Error("toot: can't keep a consent", "callback_url", wire.RedactURL(reg.CallbackURL), "error", err)
			unavailable(w)
			return
		}
		wire.Problem(w, http.StatusUnprocessableEntity, "Nothing was stored: "+registry.ErrNoConsent.Error()+".")
		return
	}
	if reg.SigningSecret != "" && !p.registerSecret(w, r, body, reg) {
		return
	}
	added, err := p.registry.Add(r.Context(), reg.Channel, reg.CallbackURL)
	if err != nil {
		p.log.Error("toot: can't add a subscriber", "channel", reg.Channel, "callback_url", wire.RedactURL(reg.CallbackURL), "error", err)
		unavailable(w)
		return
	}
	if lease := p.opts.RegistrationLease; lease > 0 {
		w.Header().Set(wire.LeaseHeader, strconv.FormatInt(int64(lease/time.Second), 10))
	}
	if !added {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	p.log.Info("toot: subscriber added", "channel", reg.Channel, "callback_url", wire.RedactURL(reg.CallbackURL))
	w.WriteHeader(http.StatusCreated)
}

// registerSecret keeps a subscriber's signing secret, or answers why not.
func (p *publisher) registerSecret(w http.ResponseWriter, r *http.Request, body []byte, reg wire.Registration) (ok bool) {
	if _, err := signing.ParseSecret(reg.SigningSecret); err != nil {
		wire.Problem(w, http.StatusUnprocessableEntity, "Invalid signing_secret: "+strings.TrimPrefix(err.Error(), "signing: ")+".")
		return false
	}
	err := p.registry.OfferSecret(r.Context(), reg.CallbackURL, reg.SigningSecret, r.Header, body)
	switch {
	case errors.Is(err, registry.ErrOtherSecret):
		p.log.Warn("toot: refused a signing secret: there is another", "channel", reg.Channel, "callback_url", wire.RedactURL(reg.CallbackURL))
		wire.Problem(w, http.StatusForbidden, "Nothing was changed: "+err.Error()+".")
	case errors.Is(err, registry.ErrUnsupported):
		wire.Problem(w, http.StatusUnprocessableEntity, "This publisher can't sign: leave out signing_secret.")
	case err != nil:
		p.log.Error("toot: can't keep a signing secret", "callback_url", wire.RedactURL(reg.CallbackURL), "error", err)
		unavailable(w)
	}
	return err == nil
}

func (p *publisher) listSubscribers(w http.ResponseWriter, r *http.Request) {
	if !acceptsJSON(r.Header.Values("Accept")) {
		wire.Problem(w, http.StatusNotAcceptable, "There is only application/json here.")
		return
	}
	channels, err := p.registry.List(r.Context(), p.opts.ChannelPrefix)
	if err != nil {
		p.log.Error("toot: can't list subscribers", "error", err)
		unavailable(w)
		return
	}
	list := struct {
		Channels      []string            `json:"channels"`
		Subscriptions map[string][]string `json:"subscriptions"`
	}{make([]string, 0, len(channels)), channels}
	for channel, urls := range channels {
		list.Channels = append(list.Channels, channel)
		shown := slices.Clone(urls)
		for i, u := range shown {
			shown[i] = wire.WithoutPassword(u)
		}
		channels[channel] = shown
	}
	slices.Sort(list.Channels)
	if list.Subscriptions == nil {
		list.Subscriptions = map[string][]string{}
	}
	w.Header()["Content-Type"] = wire.JSONContentType
	_ = json.NewEncoder(w).Encode(list)
}

// acceptsJSON reports whether an Accept header, which may be missing, lets us
// answer with JSON.
func acceptsJSON(values []string) bool {
	if len(values) == 0 {
		return true
	}
	for _, part := range strings.Split(strings.Join(values, ","), ",") {
		mediaType, params, err := mime.ParseMediaType(part)
		if err != nil || strings.Trim(params["q"], "0.") == "" && params["q"] != "" {
			continue
		}
		switch mediaType {
		case "application/json", "application/*", "*/*":
			return true
		}
	}
	return false
}

func (p *publisher) removeSubscriber(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	channel, callbackURL := query.Get("channel"), query.Get("callback_url")
	if strings.TrimSpace(channel) == "" || strings.TrimSpace(callbackURL) == "" {
		wire.Problem(w, http.StatusBadRequest, "Expected the query parameters channel and callback_url.")
		return
	}
	removed, err := p.registry.Remove(r.Context(), channel, callbackURL, 0)
	switch {
	case err != nil:
		p.log.Error("toot: can't remove a subscriber", "channel", channel, "callback_url", wire.RedactURL(callbackURL), "error", err)
		unavailable(w)
	case !removed:
		wire.Problem(w, http.StatusNotFound, "That callback_url is not subscribed to that channel.")
	default:
		p.log.Info("toot: subscriber removed", "channel", channel, "callback_url", wire.RedactURL(callbackURL))
		w.WriteHeader(http.StatusNoContent)
	}
}

// SetSigningSecret makes requests to a callback URL carry signatures after
// Standard Webhooks, under this secret and, for the overlap, under the one
// before too, so that the other side can change it in its own time. An empty
// secret ends the signing. Subscribers may hand over a secret themselves, see
// Source.SigningSecrets.
//
// Other processes sign accordingly within seconds.
func (a *App) SetSigningSecret(ctx context.Context, callbackURL, secret string, overlap time.Duration) error {
	if err := a.calls.enter(); err != nil {
		return err
	}
	defer a.calls.leave()
	if err := wire.CheckCallbackURL(callbackURL); err != nil {
		return fmt.Errorf("toot: callback URL: %w", err)
	}
	if secret != "" {
		if _, err := signing.ParseSecret(secret); err != nil {
			return err
		}
	}
	if err := a.publisher.registry.SetSecret(ctx, callbackURL, secret, overlap); errors.Is(err, registry.ErrUnsupported) {
		return fmt.Errorf("%w: it keeps no signing secrets", ErrUnsupported)
	} else if err != nil {
		return err
	}
	return nil
}
