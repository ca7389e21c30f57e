package toot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/coalesce"
	"github.com/watermarkchurch/toot-go/internal/lanes"
	"github.com/watermarkchurch/toot-go/internal/wire"
	"github.com/watermarkchurch/toot-go/signing"
)

// HandlerService returns the service that takes events in, to be mounted at
// Options.CallbackURL. It answers 200 once the event is durable, one job for
// each subscription to its channel; Run does the handling.
//
// An event on a channel without a subscription is answered with 200 and the
// header X-Toot-Unsubscribe, upon which the publisher stops sending. An OPTIONS
// request that asks whether events are wanted (WebHook-Request-Origin) is
// answered for the channels that are subscribed to.
func (a *App) HandlerService() http.Handler {
	return http.HandlerFunc(a.subscriber.serveCallback)
}

func (s *subscriber) serveCallback(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions {
		s.serveConsent(w, r)
		return
	}
	if r.Method != http.MethodPost {
		wire.MethodNotAllowed(w, http.MethodPost)
		return
	}
	if err := s.calls.enter(); err != nil {
		unavailable(w)
		return
	}
	defer s.calls.leave()
	if s.backlogged() {
		busy(w)
		return
	}
	body, ok := s.opts.readBody(w, r)
	if !ok {
		return
	}
	w.Header()[wire.BatchHeader] = wire.BatchMaxValue
	if r.Header.Get("Content-Type") == wire.BatchType {
		s.serveBatch(w, r, body)
		return
	}
	id, channel, err := "", "", wire.ErrNotJSON
	if json.Valid(body) {
		id, channel, err = wire.Identify(body)
	}
	switch {
	case errors.Is(err, wire.ErrNoChannel):
		wire.Problem(w, http.StatusUnprocessableEntity, `Expected an event: {"id":…,"timestamp":…,"payload":…,"channel":…}, but `+err.Error()+".")
		return
	case err != nil:
		wire.Problem(w, http.StatusBadRequest, `Expected an event as one JSON object: {"id":…,"timestamp":…,"payload":…,"channel":…}, but `+err.Error()+".")
		return
	}
	step := &Step{Name: StepReceive, EventID: id, Channel: channel, Header: r.Header}
	ctx, end := s.begin(r.Context(), step)
	subscriptions := s.subscriptionsTo(channel)
	if len(subscriptions) == 0 {
		w.Header()[wire.UnsubscribeHeader] = []string{"True"}
		w.WriteHeader(http.StatusOK)
		end(StepResult{Outcome: OutcomeUnwanted})
		return
	}
	signed := signed{header: r.Header, body: body}
	if err := signed.allows(subscriptions); err != nil {
		end(StepResult{Outcome: OutcomeFailed, Reason: err.Error()})
		s.log.Warn("toot: refused an event", "event", id, "channel", channel, "error", err)
		signing.Unauthorized(w, err)
		return
	}
	item := &arrival{Waiter: coalesce.NewWaiter()}
	item.add(&engine.Event{ID: id, Channel: channel, Body: body, Meta: wire.EncodeTrace(step.Header)}, subscriptions)
	if err := s.trouble.explain(s.callbacks.Do(ctx, item, &item.Waiter)); err != nil {
		signed.failed()
		end(StepResult{Outcome: OutcomeFailed, Reason: err.Error()})
		if r.Context().Err() == nil && !errors.Is(err, ErrBusy) { // those that wait have more to say
			s.log.Error("toot: can't store an incoming event; its publisher will send it again", "event", id, "channel", channel, "error", err)
		}
		notStored(w, err)
		return
	}
	end(StepResult{Outcome: OutcomeOK})
	w.WriteHeader(http.StatusOK)
}

// arrival is what one request brought, on its way into the store.
type arrival struct {
	coalesce.Waiter
	events        []*engine.Event
	subscriptions [][]*Subscription // to each event's channel
}

func (item *arrival) add(e *engine.Event, subscriptions []*Subscription) {
	item.events = append(item.events, e)
	item.subscriptions = append(item.subscriptions, subscriptions)
}

func (item *arrival) size() int { return len(item.events) }

func (item *arrival) bytes() int { return bytesOf(item.events) }

// flushArrivals stores what several callbacks brought in one step.
func (s *subscriber) flushArrivals(items []*arrival) {
	ctx, cancel := context.WithTimeout(context.Background(), flushTimeout)
	defer cancel()
	var push lanes.Push
	for _, item := range items {
		for i, e := range item.events {
			for _, sub := range item.subscriptions[i] {
				push.Add(s.handlers, e, sub.Name)
			}
		}
	}
	_, err := push.Store(ctx, s.engine, nil, 0)
	err = s.trouble.note(err)
	for _, item := range items {
		item.Finish(err)
	}
}

// serveBatch takes in several events in one step: all are stored, or none.
// What is no event is refused by itself.
func (s *subscriber) serveBatch(w http.ResponseWriter, r *http.Request, body []byte) {
	var answer wire.BatchAnswer
	item := &arrival{Waiter: coalesce.NewWaiter()}
	signed := signed{header: r.Header, body: body}
	err := wire.EachElement(body, func(i int, element []byte) {
		id, channel, err := wire.Identify(element)
		if err != nil {
			answer.Results = append(answer.Results, wire.BatchResult{Index: i, Status: http.StatusUnprocessableEntity, Detail: err.Error()})
			return
		}
		subscriptions := s.subscriptionsTo(channel)
		if len(subscriptions) == 0 {
			answer.Results = append(answer.Results, wire.BatchResult{Index: i, Status: http.StatusOK, Unsubscribe: true})
			return
		}
		if err := signed.allows(subscriptions); err != nil {
			answer.Results = append(answer.Results, wire.BatchResult{Index: i, Status: http.StatusUnauthorized, Detail: err.Error()})
			return
		}
		item.add(&engine.Event{ID: id, Channel: channel, Body: element}, subscriptions)
	})
	if err != nil {
		wire.Problem(w, http.StatusBadRequest, "Expected a JSON array of events, but "+err.Error()+".")
		return
	}
	ends := s.beginAll(r.Context(), StepReceive, item.events)
	if len(item.events) > 0 {
		err = s.trouble.explain(s.callbacks.Do(r.Context(), item, &item.Waiter))
	}
	ends(err)
	if err != nil {
		signed.failed()
		if !errors.Is(err, ErrBusy) {
			s.log.Error("toot: can't store incoming events; their publisher will send them again", "events", len(item.events), "error", err)
		}
		notStored(w, err)
		return
	}
	if len(answer.Results) == 0 {
		w.WriteHeader(http.StatusOK)
		return
	}
	w.Header()["Content-Type"] = wire.JSONContentType
	_ = json.NewEncoder(w).Encode(answer)
}

// serveConsent answers whether events on a channel are wanted here.
func (s *subscriber) serveConsent(w http.ResponseWriter, r *http.Request) {
	origin := r.Header.Get(wire.RequestOriginHeader)
	channel, err := url.QueryUnescape(r.Header.Get(wire.ChannelHeader))
	if origin == "" || len(origin) > wire.MaxOrigin || err != nil {
		wire.MethodNotAllowed(w, http.MethodPost)
		return
	}
	wanted := len(s.subscriptionsTo(channel)) > 0
	if channel == "" { // a sender that knows no channels
		wanted = len(s.subscriptionNames()) > 0
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
