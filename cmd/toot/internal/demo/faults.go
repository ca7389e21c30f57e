package demo

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"slices"
	"sync"
	"time"
)

// fault is what goes wrong with an event.
type fault uint8

const (
	answers500 fault = 1 + iota
	answers503       // with Retry-After
	hangs
	handlerFails
	handlerPanics
)

// faultPlan says which of this run's events meet which fault, the first time
// they are tried. It may be used concurrently.
type faultPlan struct {
	run  uint64
	mu   sync.Mutex
	todo map[int]fault
	made map[fault]int
}

const retryAfter = time.Second

// planFaults chooses. There are never so many that the demo takes long: each
// hang and each Retry-After stops the subscriber's whole lane for a second.
func planFaults(run uint64, events int) *faultPlan {
	p := &faultPlan{run: run, todo: map[int]fault{}, made: map[fault]int{}}
	kinds := []struct {
		fault
		of, most int
	}{
		{answers500, 40, 30}, {handlerFails, 50, 20}, {handlerPanics, 200, 5}, {hangs, 300, 3}, {answers503, 300, 3},
	}
	// Two of the first, which are followed step by step, so that it can be
	// seen what happens.
	if events > 1 {
		p.todo[1] = answers500
	}
	if events > 3 {
		p.todo[3] = handlerFails
	}
	for _, kind := range kinds {
		for range min(events/kind.of+1, kind.most) {
			if n := shown + rand.IntN(max(events-shown, 1)); p.todo[n] == 0 { //nolint:gosec // G404: no secret
				p.todo[n] = kind.fault
			}
		}
	}
	return p
}

// take returns a fault that one of the events has yet to meet, if any has. The
// others with the same fault, which came in the same request, meet it too.
func (p *faultPlan) take(ids []eventID, these ...fault) fault {
	p.mu.Lock()
	defer p.mu.Unlock()
	var taken fault
	for _, id := range ids {
		f := p.todo[id.n]
		if id.run != p.run || !slices.Contains(these, f) || taken != 0 && f != taken {
			continue
		}
		taken = f
		delete(p.todo, id.n)
	}
	if taken != 0 {
		p.made[taken]++
	}
	return taken
}

func (p *faultPlan) count(f fault) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.made[f]
}

// endpoint is the subscriber's callback service on a bad day.
func (p *faultPlan) endpoint(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		switch p.take(idsIn(body), answers500, answers503, hangs) {
		case answers500:
			http.Error(w, "out of order", http.StatusInternalServerError)
		case answers503:
			w.Header().Set("Retry-After", fmt.Sprint(int(retryAfter.Seconds())))
			http.Error(w, "busy", http.StatusServiceUnavailable)
		case hangs:
			<-r.Context().Done() // until the publisher has lost its patience
		default:
			next.ServeHTTP(w, r)
		}
	})
}

var errOutOfOrder = errors.New("the warehouse does not answer")

// handle is what goes wrong in the handler.
func (p *faultPlan) handle(id eventID) error {
	switch p.take([]eventID{id}, handlerFails, handlerPanics) {
	case handlerFails:
		return errOutOfOrder
	case handlerPanics:
		panic("index out of range")
	}
	return nil
}

// idsIn finds the IDs in one event, or several, as they come over the wire
// from the demo's own publisher.
func idsIn(body []byte) (ids []eventID) {
	const before, length = `{"id":"`, 36
	for {
		_, rest, found := bytes.Cut(body, []byte(before))
		if !found || len(rest) < length {
			return ids
		}
		if id, ok := parseID(string(rest[:length])); ok {
			ids = append(ids, id)
		}
		body = rest
	}
}
