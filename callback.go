package toot

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/coalesce"
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
	return http.HandlerFunc(a.serveCallback)
}

func (a *App) serveCallback(w http.ResponseWriter, r *http.Request) {
	if r.Method == http.MethodOptions {
		a.serveConsent(w, r)
		return
	}
	if r.Method != http.MethodPost {
		methodNotAllowed(w, http.MethodPost)
		return
	}
	if err := a.enter(); err != nil {
		unavailable(w)
		return
	}
	defer a.closing.Done()
	if a.backlogged() {
		busy(w)
		return
	}
	body, ok := a.readBody(w, r)
	if !ok {
		return
	}
	w.Header()[batchHeader] = batchMaxValue
	if r.Header.Get("Content-Type") == batchType {
		a.serveBatch(w, r, body)
		return
	}
	id, channel, err := "", "", errNotJSON
	if json.Valid(body) {
		id, channel, err = identify(body)
	}
	switch {
	case errors.Is(err, errNoChannel):
		problem(w, http.StatusUnprocessableEntity, `Expected an event: {"id":…,"timestamp":…,"payload":…,"channel":…}, but `+err.Error()+".")
		return
	case err != nil:
		problem(w, http.StatusBadRequest, `Expected an event as one JSON object: {"id":…,"timestamp":…,"payload":…,"channel":…}, but `+err.Error()+".")
		return
	}
	step := &Step{Name: StepReceive, EventID: id, Channel: channel, Header: r.Header}
	ctx, end := a.begin(r.Context(), step)
	subscriptions := a.subscriptionsTo(channel)
	if len(subscriptions) == 0 {
		w.Header()[unsubscribeHeader] = []string{"True"}
		w.WriteHeader(http.StatusOK)
		end(StepResult{Outcome: OutcomeUnwanted})
		return
	}
	signed := signed{header: r.Header, body: body}
	if err := signed.allows(subscriptions); err != nil {
		end(StepResult{Outcome: OutcomeFailed, Reason: err.Error()})
		a.log.Warn("toot: refused an event", "event", id, "channel", channel, "error", err)
		unsigned(w, err)
		return
	}
	item := &arrival{Waiter: coalesce.NewWaiter()}
	item.add(&engine.Event{ID: id, Channel: channel, Body: body, Meta: encodeMeta(step.Header)}, subscriptions)
	if err := a.callbacks.Do(ctx, item, &item.Waiter); err != nil {
		signed.failed()
		end(StepResult{Outcome: OutcomeFailed, Reason: err.Error()})
		if r.Context().Err() == nil {
			a.log.Error("toot: can't store an incoming event; its publisher will send it again", "event", id, "channel", channel, "error", err)
		}
		unavailable(w)
		return
	}
	end(StepResult{Outcome: OutcomeOK})
	w.WriteHeader(http.StatusOK)
}

// readBody reads a request's body, or answers why it can't.
func (a *App) readBody(w http.ResponseWriter, r *http.Request) (body []byte, ok bool) {
	limit := int64(a.opts.MaxEventBytes)
	if r.ContentLength > limit {
		tooLarge(w, limit)
		return nil, false
	}
	if !isPlain(r.Header) {
		problem(w, http.StatusUnsupportedMediaType, "The body has a Content-Encoding. Expected it as it is.")
		return nil, false
	}
	slow := a.limitReading(w, r)
	var err error
	if r.ContentLength > 0 {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, limit))
	}
	if slow != nil {
		_ = slow.SetReadDeadline(time.Time{})
	}
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		tooLarge(w, limit)
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		problem(w, http.StatusRequestTimeout, "The body did not arrive in time.")
	case err != nil:
		problem(w, http.StatusBadRequest, "The body ended before its end was reached.")
	case tooDeep(body, a.wireDepth()):
		tooNested(w, a.opts.MaxDepth)
		return nil, false
	}
	return body, err == nil
}

func tooLarge(w http.ResponseWriter, limit int64) {
	problem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is larger than the %d bytes that are accepted here.", limit))
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
func (a *App) flushArrivals(items []*arrival) {
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	var h handOff
	for _, item := range items {
		for i, e := range item.events {
			for _, s := range item.subscriptions[i] {
				h.add(a.handlers, e, s.Name)
			}
		}
	}
	err := h.push(ctx, a.engine)
	for _, item := range items {
		item.Finish(err)
	}
}
