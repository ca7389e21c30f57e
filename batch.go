package toot

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/coalesce"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// serveBatch takes in several events in one step: all are stored, or none.
// What is no event is refused by itself, but a batch of more events than are
// taken at once as a whole, before anything else is done with it.
func (s *subscriber) serveBatch(w http.ResponseWriter, r *http.Request, body []byte, began time.Time) {
	elements, err := wire.SplitBatch(body)
	switch {
	case errors.Is(err, wire.ErrTooMany):
		s.log.Warn("toot: refused a batch", "bytes", len(body), "error", err)
		wire.Problem(w, http.StatusRequestEntityTooLarge, "The batch was refused: "+err.Error()+" ("+wire.BatchHeader+").")
		return
	case err != nil:
		wire.Problem(w, http.StatusBadRequest, "Expected a JSON array of events, but "+err.Error()+".")
		return
	}
	signed := &signed{header: r.Header, body: body}
	item, answer, err := s.sortBatch(r.Context(), elements, signed)
	if err != nil {
		signed.failed()
		s.cantTell(r, err)
		unavailable(w)
		return
	}
	ends := s.beginAll(r.Context(), StepReceive, item.events, nil)
	if len(item.events) > 0 {
		ctx, cancel := patient(r.Context(), began)
		err = s.trouble.explain(s.callbacks.Do(ctx, item, &item.Waiter))
		cancel()
	}
	ends(err, nil)
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
	_ = answer.Write(w) // whoever asked is gone if that fails
}

// sortBatch returns which events of a batch are to be stored, and what is to be
// answered about the others. An error means that it is not known who takes them.
func (s *subscriber) sortBatch(ctx context.Context, elements [][]byte, signed *signed) (item *arrival, answer wire.BatchAnswer, err error) {
	item = &arrival{
		Waiter: coalesce.NewWaiter(),
		events: make([]*engine.Event, 0, len(elements)),
		takers: make([]takers, 0, len(elements)),
	}
	note := func(result wire.BatchResult) {
		if answer.Results == nil {
			answer.Results = make([]wire.BatchResult, 0, len(elements))
		}
		answer.Results = append(answer.Results, result)
	}
	refused, reason := 0, error(nil) // how many, and the first one's reason
	lookup, copies := lookup{s: s}, copier{}
	for i, element := range elements {
		status := http.StatusUnprocessableEntity
		id, channel, err := identify(element)
		var takers takers
		if err == nil {
			if takers, err = lookup.takers(ctx, channel); err != nil {
				return nil, answer, err
			}
			status, err = http.StatusUnauthorized, signed.allows(&takers)
		}
		switch {
		case errors.Is(err, errUncheckable):
			s.sayUncheckable(channel)
			note(wire.BatchResult{Index: i, Status: http.StatusServiceUnavailable, Detail: err.Error()})
			continue
		case err != nil:
			note(wire.BatchResult{Index: i, Status: status, Detail: err.Error()})
			if refused++; refused == 1 {
				reason = err
			}
			continue
		case takers.none():
			note(wire.BatchResult{Index: i, Status: http.StatusOK, Unsubscribe: true})
			continue
		case id == "":
			id = signed.newID("#" + strconv.Itoa(i))
		}
		item.add(&engine.Event{ID: id, Channel: channel, Body: copies.of(element)}, takers)
	}
	if refused > 0 {
		s.log.Warn("toot: refused events of a batch", "refused", refused, "events", len(elements), "error", reason)
	}
	return item, answer, nil
}

// copier copies the events of a batch, so that one that waits does not keep the
// others. Small ones share a piece of memory: of what is no longer needed, an
// event keeps less than that.
type copier struct{ piece []byte }

// pieceSize is the size of a piece that events share.
const pieceSize = 1 << 10

func (c *copier) of(b []byte) []byte {
	if len(b) > pieceSize/4 {
		return bytes.Clone(b)
	}
	if len(b) > cap(c.piece)-len(c.piece) {
		c.piece = make([]byte, 0, pieceSize)
	}
	start := len(c.piece)
	c.piece = append(c.piece, b...)
	return c.piece[start:len(c.piece):len(c.piece)]
}
