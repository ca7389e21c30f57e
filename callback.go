package toot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/coalesce"
	"github.com/watermarkchurch/toot-go/internal/lanes"
	"github.com/watermarkchurch/toot-go/internal/wire"
	"github.com/watermarkchurch/toot-go/signing"
)

// HandlerService returns the service that takes events in. Mount it at
// Options.CallbackURL. It answers 200 once the event is stored durably, as one job
// for each subscription to its channel; Run runs the handlers.
//
// Events are taken in for the subscriptions of all processes that share the
// store, such as those of another release of the app, and are handled by the
// processes that have the subscription. A process that does not have the secrets
// to check an event that must be signed answers it with 503.
//
// An event on a channel without a subscription in any process is answered with
// 200 and the header X-Toot-Unsubscribe, which makes the publisher stop sending.
// An OPTIONS request that asks whether events are wanted
// (WebHook-Request-Origin) is answered for the channels that are subscribed to.
// So mount it for all methods: mux.Handle("POST /callbacks", …) keeps those
// requests away, and publishers that ask for consent then refuse to register the
// callback URL.
func (a *App) HandlerService() http.Handler {
	return http.HandlerFunc(a.subscriber.serveCallback)
}

func (s *subscriber) serveCallback(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost && r.Method != http.MethodOptions {
		wire.MethodNotAllowed(w, http.MethodPost)
		return
	}
	if err := s.calls.enter(); err != nil {
		unavailable(w)
		return
	}
	defer s.calls.leave()
	if r.Method == http.MethodOptions {
		_ = s.announce(r.Context())
		s.serveConsent(w, r)
		return
	}
	if s.backlogged() {
		busy(w)
		return
	}
	read, ok := s.readBody(w, r)
	if !ok {
		return
	}
	defer read.Done()
	body, began := read.Bytes, time.Now()
	_ = s.announce(r.Context()) // its own subscriptions a process knows without that
	w.Header()[wire.BatchHeader] = wire.BatchMaxValue
	if r.Header.Get("Content-Type") == wire.BatchType {
		s.serveBatch(w, r, body, began)
		return
	}
	id, channel, err := "", "", wire.ErrNotJSON
	if json.Valid(body) {
		id, channel, err = identify(body)
	}
	if err != nil {
		s.refuseEvent(w, channel, err)
		return
	}
	lookup := lookup{s: s}
	takers, err := lookup.takers(r.Context(), channel)
	if err != nil {
		s.cantTell(r, err)
		unavailable(w)
		return
	}
	signed := signed{header: r.Header, body: body}
	refusal := signed.allows(&takers)
	if id == "" {
		id = signed.newID("")
	}
	step := &Step{Name: StepReceive, EventID: id, Channel: channel, Body: body, Header: r.Header}
	ctx, end := s.begin(r.Context(), step)
	if takers.none() {
		w.Header()[wire.UnsubscribeHeader] = []string{"True"}
		w.WriteHeader(http.StatusOK)
		end(StepResult{Outcome: OutcomeUnwanted})
		return
	}
	if refusal != nil {
		end(StepResult{Outcome: OutcomeFailed, Reason: refusal.Error()})
		s.refuse(w, id, channel, refusal)
		return
	}
	item := &arrival{Waiter: coalesce.NewWaiter()}
	item.add(&engine.Event{ID: id, Channel: channel, Body: body, Meta: wire.EncodeTrace(step.Header)}, takers)
	ctx, cancel := patient(ctx, began)
	defer cancel()
	if err := s.trouble.explain(s.callbacks.Do(ctx, item, &item.Waiter)); err != nil {
		signed.failed()
		end(StepResult{Outcome: OutcomeFailed, Reason: err.Error()})
		if r.Context().Err() == nil && !errors.Is(err, ErrBusy) { // those that wait have more to say
			s.log.Error("toot: can't store an incoming event; its publisher will send it again", "event", wire.Shorten(id), "channel", channel, "error", err)
		}
		notStored(w, err)
		return
	}
	end(StepResult{Outcome: OutcomeOK})
	w.WriteHeader(http.StatusOK)
}

// identify reads which event it is that arrives, if it is one that can be passed
// on. The body must be valid JSON.
func identify(body []byte) (id, channel string, err error) {
	if err := wire.CheckText(body); err != nil {
		return "", "", err
	}
	return wire.Identify(body)
}

// refuseEvent answers a body that is no event, or one whose ID can't be taken.
func (s *subscriber) refuseEvent(w http.ResponseWriter, channel string, why error) {
	const want = `{"id":…,"timestamp":…,"payload":…,"channel":…}, but `
	switch {
	case errors.Is(why, wire.ErrNotJSON), errors.Is(why, wire.ErrNotObject), errors.Is(why, wire.ErrNotUTF8):
		wire.Problem(w, http.StatusBadRequest, "Expected an event as one JSON object: "+want+why.Error()+".")
		return
	case !errors.Is(why, wire.ErrNoChannel):
		s.log.Warn("toot: refused an event", "channel", wire.Shorten(channel), "error", why)
	}
	wire.Problem(w, http.StatusUnprocessableEntity, "Expected an event: "+want+why.Error()+".")
}

// cantTell logs that nobody knows who is subscribed to an event's channel.
func (s *subscriber) cantTell(r *http.Request, err error) {
	if r.Context().Err() == nil {
		s.log.Error("toot: can't read what the app's processes subscribe to; the publisher of an event will send it again", "error", err)
	}
}

// refuse answers that an event may not be taken in.
func (s *subscriber) refuse(w http.ResponseWriter, id, channel string, err error) {
	if !errors.Is(err, errUncheckable) {
		s.log.Warn("toot: refused an event", "event", wire.Shorten(id), "channel", channel, "error", err)
		signing.Unauthorized(w, err)
		return
	}
	s.sayUncheckable(channel)
	wire.Problem(w, http.StatusServiceUnavailable, "Nothing was stored; please send it again: "+err.Error()+".")
}

func (s *subscriber) sayUncheckable(channel string) {
	if s.uncheckable.now() {
		s.log.Warn("toot: can't check signed events here; left to other processes", "channel", channel, "error", errUncheckable)
	}
}

// arrival is what one request brought, on its way into the store.
type arrival struct {
	coalesce.Waiter
	events []*engine.Event
	takers []takers // of each event
}

func (item *arrival) add(e *engine.Event, t takers) {
	item.events = append(item.events, e)
	item.takers = append(item.takers, t)
}

func (item *arrival) size() int { return len(item.events) }

func (item *arrival) bytes() int { return bytesOf(item.events) }

// flushArrivals stores what several callbacks brought in one step. Where the
// store finds something that it can't take, each is seen to by itself.
func (s *subscriber) flushArrivals(items []*arrival) {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	all := s.storeArrivals(ctx, items)
	for _, item := range items {
		err := all
		if len(items) > 1 && errors.Is(err, engine.ErrInvalid) { // perhaps because of another
			err = s.storeArrivals(ctx, []*arrival{item})
		}
		item.Finish(s.trouble.note(err))
	}
}

func (s *subscriber) storeArrivals(ctx context.Context, items []*arrival) error {
	var push lanes.Push
	for _, item := range items {
		for i, e := range item.events {
			for _, sub := range item.takers[i].own {
				push.Add(s.handlers, e, sub.Name)
			}
			for _, name := range item.takers[i].others {
				push.Add(s.handlers, e, name)
			}
		}
	}
	_, err := push.Store(ctx, s.engine, nil, 0)
	return err
}

// serveConsent answers whether events on a channel are wanted here.
func (s *subscriber) serveConsent(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get(wire.RequestOriginHeader)
	channel, err := url.QueryUnescape(r.Header.Get(wire.ChannelHeader))
	if origin == "" || len(origin) > wire.MaxOrigin || err != nil {
		wire.MethodNotAllowed(w, http.MethodPost)
		return
	}
	lookup, wanted := lookup{s: s}, false
	if channel == "" { // a sender that knows no channels
		wanted, err = lookup.any(r.Context())
	} else {
		var t takers
		t, err = lookup.takers(r.Context(), channel)
		wanted = !t.none()
	}
	if err != nil {
		s.cantTell(r, err)
		unavailable(w)
		return
	}
	w.Header().Set("Allow", "POST, OPTIONS")
	if !wanted {
		wire.Problem(w, http.StatusForbidden, "Events on this channel are not wanted here.")
		return
	}
	w.Header()[wire.AllowedOriginHeader] = []string{origin}
	w.Header()[wire.AllowedRateHeader] = []string{"*"}
	w.WriteHeader(http.StatusOK)
}
