package toot

import (
	"encoding/json"
	"net/http"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/coalesce"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

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
