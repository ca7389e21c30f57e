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
// Events are taken in for the subscriptions of all processes that share the
// store, such as those of another release of the app; the processes that have
// the subscription handle them. One that must be signed is answered with 503 by
// a process that does not have the secrets.
//
// An event on a channel without a subscription in any process is answered with
// 200 and the header X-Toot-Unsubscribe, upon which the publisher stops sending.
// An OPTIONS request that asks whether events are wanted
// (WebHook-Request-Origin) is answered for the channels that are subscribed to.
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
	_ = s.announce(r.Context()) // its own subscriptions a process knows without that
	if r.Method == http.MethodOptions {
		s.serveConsent(w, r)
		return
	}
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
	lookup := lookup{s: s}
	takers, err := lookup.takers(ctx, channel)
	if err != nil {
		end(StepResult{Outcome: OutcomeFailed, Reason: err.Error()})
		s.cantTell(r, err)
		unavailable(w)
		return
	}
	if takers.none() {
		w.Header()[wire.UnsubscribeHeader] = []string{"True"}
		w.WriteHeader(http.StatusOK)
		end(StepResult{Outcome: OutcomeUnwanted})
		return
	}
	signed := signed{header: r.Header, body: body}
	if err := signed.allows(&takers); err != nil {
		end(StepResult{Outcome: OutcomeFailed, Reason: err.Error()})
		s.refuse(w, id, channel, err)
		return
	}
	item := &arrival{Waiter: coalesce.NewWaiter()}
	item.add(&engine.Event{ID: id, Channel: channel, Body: body, Meta: wire.EncodeTrace(step.Header)}, takers)
	if err := s.callbacks.Do(ctx, item, &item.Waiter); err != nil {
		signed.failed()
		end(StepResult{Outcome: OutcomeFailed, Reason: err.Error()})
		if r.Context().Err() == nil {
			s.log.Error("toot: can't store an incoming event; its publisher will send it again", "event", id, "channel", channel, "error", err)
		}
		unavailable(w)
		return
	}
	end(StepResult{Outcome: OutcomeOK})
	w.WriteHeader(http.StatusOK)
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
		s.log.Warn("toot: refused an event", "event", id, "channel", channel, "error", err)
		signing.Unauthorized(w, err)
		return
	}
	s.sayUncheckable(channel)
	wire.Problem(w, http.StatusServiceUnavailable, "Nothing was stored; please send it again: "+err.Error()+".")
}

func (s *subscriber) sayUncheckable(channel string) {
	if s.uncheckable.now() {
		s.log.Warn("toot: events can't be checked here and are left to other processes", "channel", channel, "error", errUncheckable)
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

// flushArrivals stores what several callbacks brought in one step.
func (s *subscriber) flushArrivals(items []*arrival) {
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
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
	lookup := lookup{s: s}
	err := wire.EachElement(body, func(i int, element []byte) {
		id, channel, err := wire.Identify(element)
		if err != nil {
			answer.Results = append(answer.Results, wire.BatchResult{Index: i, Status: http.StatusUnprocessableEntity, Detail: err.Error()})
			return
		}
		takers, err := lookup.takers(r.Context(), channel)
		if err != nil {
			return // it is kept in the lookup
		}
		if takers.none() {
			answer.Results = append(answer.Results, wire.BatchResult{Index: i, Status: http.StatusOK, Unsubscribe: true})
			return
		}
		if err := signed.allows(&takers); err != nil {
			status := http.StatusUnauthorized
			if errors.Is(err, errUncheckable) {
				s.sayUncheckable(channel)
				status = http.StatusServiceUnavailable
			}
			answer.Results = append(answer.Results, wire.BatchResult{Index: i, Status: status, Detail: err.Error()})
			return
		}
		item.add(&engine.Event{ID: id, Channel: channel, Body: element}, takers)
	})
	if err != nil {
		wire.Problem(w, http.StatusBadRequest, "Expected a JSON array of events, but "+err.Error()+".")
		return
	}
	if lookup.err != nil {
		signed.failed()
		s.cantTell(r, lookup.err)
		unavailable(w)
		return
	}
	ends := s.beginAll(r.Context(), StepReceive, item.events)
	if len(item.events) > 0 {
		err = s.callbacks.Do(r.Context(), item, &item.Waiter)
	}
	ends(err)
	if err != nil {
		signed.failed()
		s.log.Error("toot: can't store incoming events; their publisher will send them again", "events", len(item.events), "error", err)
		unavailable(w)
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
