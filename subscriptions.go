package toot

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/outbound"
	"github.com/watermarkchurch/toot-go/internal/registry"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// SubscriptionsService returns the service with which subscribers register
// and unregister their callback URLs. Mount it, for all methods, at the URL that
// they are given as Source.SubscriptionURL.
//
//	POST    {"callback_url":…,"channel":…}   201 added, 204 there already, 422 invalid
//	GET                                      200, the channels of this app and their callback URLs
//	DELETE  ?channel=…&callback_url=…        204 removed, 404 not subscribed, 400 invalid, 403 somebody else's
//
// Channels are full names, under Options.ChannelPrefix or one of
// SubscriptionPrefixes; others are 422, and for DELETE 404.
//
// The service trusts whoever can reach it; where not everybody should be trusted,
// put authorization in front of it, such as auth.Credentials.BasicAuth. Where that
// says who sends a request (WithUser), a registration can be removed only by the
// user who made it, by an operator, or by a request that is signed with the
// callback URL's secret; and the list shows the URLs of other users as logs do,
// without what may be secret.
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

// prefixes are those of the channels on which registrations are taken; an empty
// one is any channel's.
func (p *publisher) prefixes() []string {
	if slices.Contains(p.opts.SubscriptionPrefixes, "*") {
		return []string{""}
	}
	return append([]string{p.opts.ChannelPrefix}, p.opts.SubscriptionPrefixes...)
}

func (p *publisher) addSubscriber(w http.ResponseWriter, r *http.Request) {
	read, ok := p.readBody(w, r)
	if !ok {
		return
	}
	defer read.Done()
	body := read.Bytes
	const want = `Expected {"callback_url":"https://…","channel":"…"}, but `
	reg, err := wire.ParseRegistration(body)
	if err != nil {
		wire.Problem(w, http.StatusUnprocessableEntity, want+err.Error()+".")
		return
	}
	if err := checkChannel(reg.Channel); err != nil {
		wire.Problem(w, http.StatusUnprocessableEntity, want+strings.TrimPrefix(err.Error(), "toot: ")+".")
		return
	}
	if prefixes := p.prefixes(); !hasPrefix(reg.Channel, prefixes) {
		wire.Problem(w, http.StatusUnprocessableEntity, fmt.Sprintf("The channel %q is none of this app's, whose names begin with %s.%s", reg.Channel, alternatives(prefixes), missingDot(reg.Channel, prefixes)))
		return
	}
	if u := UserOf(r.Context()); u != nil && !u.May(reg.Channel) {
		wire.Problem(w, http.StatusForbidden, fmt.Sprintf("These credentials are for channels whose names begin with %s.", alternatives(u.Prefixes)))
		return
	}
	if err := wire.CheckCallbackURL(reg.CallbackURL); err != nil {
		wire.Problem(w, http.StatusUnprocessableEntity, want+"invalid callback_url: "+err.Error()+".")
		return
	}
	if policy := (*outbound.Policy)(p.opts.AllowCallback); policy != nil {
		if err := policy.Check(r.Context(), reg.CallbackURL); err != nil {
			p.log.Warn("toot: refused a callback URL that is not allowed", about(r, reg)...)
			wire.Problem(w, http.StatusUnprocessableEntity, want+strings.TrimPrefix(err.Error(), "toot: ")+".")
			return
		}
	}
	if limit := p.opts.MaxSubscribersPerChannel; limit >= 0 {
		full, err := p.registry.IsFull(r.Context(), reg.Channel, reg.CallbackURL, limit)
		if err != nil {
			p.refuse(w, r, reg, "can't count the subscribers of a channel", err)
			return
		}
		if full { // those who come at the same moment may be a few more
			wire.Problem(w, http.StatusUnprocessableEntity, "This channel has as many subscribers as it may have here.")
			return
		}
	}
	if err := p.registry.Consent(r.Context(), reg.Channel, reg.CallbackURL); err != nil {
		p.refuse(w, r, reg, "can't keep a consent", err)
		return
	}
	if reg.SigningSecret != "" && !p.registerSecret(w, r, body, reg) {
		return
	}
	owner := ""
	if u := UserOf(r.Context()); u != nil {
		owner = u.Name
	}
	added, err := p.registry.Add(r.Context(), reg.Channel, reg.CallbackURL, owner)
	if err != nil {
		p.refuse(w, r, reg, "can't add a subscriber", err)
		return
	}
	if lease := p.opts.RegistrationLease; lease > 0 {
		w.Header().Set(wire.LeaseHeader, strconv.FormatInt(int64(lease/time.Second), 10))
	}
	if !added {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	p.log.Info("toot: subscriber added", about(r, reg)...)
	w.WriteHeader(http.StatusCreated)
}

// refuse answers what a registration failed of: what the endpoint says, what no
// store takes, or the store's trouble.
func (p *publisher) refuse(w http.ResponseWriter, r *http.Request, reg wire.Registration, what string, err error) {
	switch {
	case errors.Is(err, registry.ErrOptionsRefused):
		wire.ProblemOfType(w, http.StatusUnprocessableEntity, wire.OptionsRefused, "Nothing was stored: "+registry.ErrOptionsRefused.Error()+".")
	case errors.Is(err, registry.ErrNoConsent):
		wire.Problem(w, http.StatusUnprocessableEntity, "Nothing was stored: "+registry.ErrNoConsent.Error()+".")
	case errors.Is(err, engine.ErrInvalid):
		_, why, _ := strings.Cut(err.Error(), engine.ErrInvalid.Error()+": ")
		wire.Problem(w, http.StatusUnprocessableEntity, "Nothing was stored: "+why+".")
	default:
		p.log.Error("toot: "+what, append(about(r, reg), "error", err)...)
		unavailable(w)
	}
}

func (p *publisher) removeSubscriber(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	reg := wire.Registration{Channel: query.Get("channel"), CallbackURL: query.Get("callback_url")}
	const want = "Expected the query parameters channel and callback_url."
	if strings.TrimSpace(reg.Channel) == "" || !query.Has("callback_url") {
		wire.Problem(w, http.StatusBadRequest, want)
		return
	}
	removed := false
	if u := UserOf(r.Context()); hasPrefix(reg.Channel, p.prefixes()) && (u == nil || u.May(reg.Channel)) {
		why, err := p.mayRemove(r, reg)
		if err == nil && why == "" {
			removed, err = p.registry.Remove(r.Context(), reg.Channel, reg.CallbackURL, 0)
			if err == nil {
				err = p.discardWaiting(w, r, reg)
			}
		}
		switch {
		case err != nil && !errors.Is(err, engine.ErrInvalid): // which nobody is subscribed to
			p.refuse(w, r, reg, "can't remove a subscriber", err)
			return
		case why != "":
			p.log.Warn("toot: refused to remove a subscriber", append(about(r, reg), "error", why)...)
			wire.Problem(w, http.StatusForbidden, "Nothing was removed: "+why+".")
			return
		}
	}
	switch {
	case removed:
	case strings.TrimSpace(reg.CallbackURL) == "": // the Ruby gem may have taken such a one
		wire.Problem(w, http.StatusBadRequest, want)
		return
	default:
		wire.Problem(w, http.StatusNotFound, "That callback_url is not subscribed to that channel.")
		return
	}
	p.log.Info("toot: subscriber removed", about(r, reg)...)
	w.WriteHeader(http.StatusNoContent)
}

// mayRemove says why whoever makes a request may not remove a registration;
// nothing if that is allowed.
//
// Without credentials everybody may, save that a subscriber who has handed over
// a secret signs. With them it is the user who registered it or an operator;
// anybody if no user is known to have, or that user is gone.
func (p *publisher) mayRemove(r *http.Request, reg wire.Registration) (why string, err error) {
	ctx, user := r.Context(), UserOf(r.Context())
	if user != nil && user.Operator {
		return "", nil
	}
	signed, err := p.registry.CheckRemoval(ctx, reg.CallbackURL, r.Header, r.URL.RawQuery)
	if err != nil || signed == registry.SignedWell {
		return "", err
	}
	owner := ""
	if user != nil {
		if owner, err = p.registry.Owner(ctx, reg.Channel, reg.CallbackURL); err != nil {
			return "", err
		}
		if owner != "" && owner == user.Name {
			return "", nil
		}
	}
	if signed == registry.NotSigned {
		return "this callback URL has a signing secret: sign the request with it", nil
	}
	if owner == "" {
		return "", nil
	}
	if user.Exists != nil {
		if exists, err := user.Exists(ctx, owner); err != nil || !exists {
			return "", err
		}
	}
	return "another user has registered this callback URL", nil
}

// about is what the log says of a request about a registration.
func about(r *http.Request, reg wire.Registration) []any {
	return append(origin(r), "channel", reg.Channel, "callback_url", wire.RedactURL(reg.CallbackURL))
}

// missingDot asks, as a sentence for an answer, whether the prefix of a channel
// that has none of some prefixes lacks the dot at the end of one of them; nothing
// if that can't be.
func missingDot(channel string, prefixes []string) string {
	for _, p := range prefixes {
		if bare, dotted := strings.CutSuffix(p, "."); dotted && bare != "" && strings.HasPrefix(channel, bare) {
			return fmt.Sprintf(" Does the subscriber's ChannelPrefix (%q) lack the dot at its end?", bare)
		}
	}
	return ""
}

// alternatives lists prefixes in a sentence.
func alternatives(prefixes []string) string {
	quoted := make([]string, len(prefixes))
	for i, p := range prefixes {
		quoted[i] = strconv.Quote(p)
	}
	return strings.Join(quoted, " or ")
}
