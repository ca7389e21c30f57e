package toot

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"

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

// flushArrivals stores what several callbacks brought in one step.
func (s *subscriber) flushArrivals(items []*arrival) {
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	var push lanes.Push
	for _, item := range items {
		for i, e := range item.events {
			for _, sub := range item.subscriptions[i] {
				push.Add(s.handlers, e, sub.Name)
			}
		}
	}
	err := push.Store(ctx, s.engine)
	for _, item := range items {
		item.Finish(err)
	}
}
