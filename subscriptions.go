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
)

// maxURLBytes bounds a callback URL.
const maxURLBytes = 2048

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
	return http.HandlerFunc(a.serveSubscriptions)
}

func (a *App) serveSubscriptions(w http.ResponseWriter, r *http.Request) {
	if err := a.enter(); err != nil {
		unavailable(w)
		return
	}
	defer a.closing.Done()
	switch r.Method {
	case http.MethodPost:
		a.addSubscriber(w, r)
	case http.MethodGet:
		a.listSubscribers(w, r)
	case http.MethodDelete:
		a.removeSubscriber(w, r)
	default:
		methodNotAllowed(w, http.MethodGet, http.MethodPost, http.MethodDelete)
	}
}

// registration is what a subscriber sends.
type registration struct {
	CallbackURL string `json:"callback_url"`
	Channel     string `json:"channel"`
	// SigningSecret is for signatures after Standard Webhooks.
	SigningSecret string `json:"signing_secret,omitempty"`
}

func (a *App) addSubscriber(w http.ResponseWriter, r *http.Request) {
	body, ok := a.readBody(w, r)
	if !ok {
		return
	}
	const want = `Expected {"callback_url":"https://…","channel":"…"}, but `
	var reg registration
	if err := json.Unmarshal(body, &reg); err != nil {
		problem(w, http.StatusUnprocessableEntity, want+"the body is no such JSON object.")
		return
	}
	if err := checkChannel(reg.Channel); err != nil {
		problem(w, http.StatusUnprocessableEntity, want+strings.TrimPrefix(err.Error(), "toot: ")+".")
		return
	}
	if err := checkCallbackURL(reg.CallbackURL); err != nil {
		problem(w, http.StatusUnprocessableEntity, want+"invalid callback_url: "+err.Error()+".")
		return
	}
	if policy := a.opts.AllowCallback; policy != nil {
		if err := policy.check(r.Context(), reg.CallbackURL); err != nil {
			a.log.Warn("toot: refused a callback URL that is not allowed", "channel", reg.Channel, "callback_url", redactURL(reg.CallbackURL))
			problem(w, http.StatusUnprocessableEntity, want+strings.TrimPrefix(err.Error(), "toot: ")+".")
			return
		}
	}
	if full, err := a.channelIsFull(r.Context(), reg); full || err != nil {
		if err != nil {
			a.log.Error("toot: can't count the subscribers of a channel", "channel", reg.Channel, "error", err)
			unavailable(w)
			return
		}
		problem(w, http.StatusUnprocessableEntity, "This channel has as many subscribers as it may have here.")
		return
	}
	if a.opts.RequireConsent {
		if err := a.consent(r.Context(), reg.Channel, reg.CallbackURL); err != nil {
			if !errors.Is(err, errNoConsent) {
				a.log.Error("toot: can't keep a consent", "callback_url", redactURL(reg.CallbackURL), "error", err)
				unavailable(w)
				return
			}
			problem(w, http.StatusUnprocessableEntity, "Nothing was stored: "+errNoConsent.Error()+".")
			return
		}
	}
	if reg.SigningSecret != "" && !a.registerSecret(w, r, body, reg) {
		return
	}
	if a.opts.RegistrationLease > 0 {
		if err := a.grantLease(r.Context(), reg.Channel, reg.CallbackURL); err != nil {
			a.log.Error("toot: can't keep when a registration ends", "channel", reg.Channel, "callback_url", redactURL(reg.CallbackURL), "error", err)
			unavailable(w)
			return
		}
		w.Header().Set(leaseHeader, strconv.FormatInt(int64(a.opts.RegistrationLease/time.Second), 10))
	}
	added, err := a.engine.AddSubscriber(r.Context(), reg.Channel, reg.CallbackURL, 0)
	if err != nil {
		a.log.Error("toot: can't add a subscriber", "channel", reg.Channel, "callback_url", redactURL(reg.CallbackURL), "error", err)
		unavailable(w)
		return
	}
	if !added {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	a.log.Info("toot: subscriber added", "channel", reg.Channel, "callback_url", redactURL(reg.CallbackURL))
	w.WriteHeader(http.StatusCreated)
}

// registerSecret keeps a subscriber's signing secret, or answers why not.
func (a *App) registerSecret(w http.ResponseWriter, r *http.Request, body []byte, reg registration) (ok bool) {
	if _, err := parseSecret(reg.SigningSecret); err != nil {
		problem(w, http.StatusUnprocessableEntity, "Invalid signing_secret: "+strings.TrimPrefix(err.Error(), "toot: ")+".")
		return false
	}
	err := a.takeSecret(r, body, reg)
	switch {
	case errors.Is(err, errOtherSecret):
		a.log.Warn("toot: refused a signing secret: there is another", "channel", reg.Channel, "callback_url", redactURL(reg.CallbackURL))
		problem(w, http.StatusForbidden, "Nothing was changed: "+err.Error()+".")
	case errors.Is(err, ErrUnsupported):
		problem(w, http.StatusUnprocessableEntity, "This publisher can't sign: leave out signing_secret.")
	case err != nil:
		a.log.Error("toot: can't keep a signing secret", "callback_url", redactURL(reg.CallbackURL), "error", err)
		unavailable(w)
	}
	return err == nil
}

// channelIsFull reports that one more subscriber would be too many. Those who
// come at the same moment may be a few more.
func (a *App) channelIsFull(ctx context.Context, reg registration) (bool, error) {
	limit := a.opts.MaxSubscribersPerChannel
	if limit < 0 {
		return false, nil
	}
	urls, err := a.engine.Subscribers(ctx, reg.Channel)
	return len(urls) >= limit && !slices.Contains(urls, reg.CallbackURL), err
}

func checkCallbackURL(raw string) error {
	if len(raw) > maxURLBytes {
		return fmt.Errorf("%d bytes, at most %d", len(raw), maxURLBytes)
	}
	return checkHTTPURL(raw)
}

func (a *App) listSubscribers(w http.ResponseWriter, r *http.Request) {
	if !acceptsJSON(r.Header.Values("Accept")) {
		problem(w, http.StatusNotAcceptable, "There is only application/json here.")
		return
	}
	channels, err := a.engine.Channels(r.Context(), a.opts.ChannelPrefix)
	if err != nil {
		a.log.Error("toot: can't list subscribers", "error", err)
		unavailable(w)
		return
	}
	list := struct {
		Channels      []string            `json:"channels"`
		Subscriptions map[string][]string `json:"subscriptions"`
	}{make([]string, 0, len(channels)), channels}
	for channel, urls := range channels {
		if urls, err = a.live(r.Context(), channel, urls); err != nil {
			a.log.Error("toot: can't list subscribers", "error", err)
			unavailable(w)
			return
		}
		if len(urls) == 0 {
			delete(channels, channel)
			continue
		}
		list.Channels = append(list.Channels, channel)
		shown := slices.Clone(urls)
		for i, u := range shown {
			shown[i] = withoutPassword(u)
		}
		channels[channel] = shown
	}
	slices.Sort(list.Channels)
	if list.Subscriptions == nil {
		list.Subscriptions = map[string][]string{}
	}
	w.Header()["Content-Type"] = jsonContentType
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

func (a *App) removeSubscriber(w http.ResponseWriter, r *http.Request) {
	query := r.URL.Query()
	channel, callbackURL := query.Get("channel"), query.Get("callback_url")
	if strings.TrimSpace(channel) == "" || strings.TrimSpace(callbackURL) == "" {
		problem(w, http.StatusBadRequest, "Expected the query parameters channel and callback_url.")
		return
	}
	removed, err := a.engine.RemoveSubscriber(r.Context(), channel, callbackURL, 0)
	switch {
	case err != nil:
		a.log.Error("toot: can't remove a subscriber", "channel", channel, "callback_url", redactURL(callbackURL), "error", err)
		unavailable(w)
	case !removed:
		problem(w, http.StatusNotFound, "That callback_url is not subscribed to that channel.")
	default:
		a.dropLease(r.Context(), channel, callbackURL)
		a.withdrawConsent(r.Context(), channel, callbackURL)
		a.log.Info("toot: subscriber removed", "channel", channel, "callback_url", redactURL(callbackURL))
		w.WriteHeader(http.StatusNoContent)
	}
}
