package demo

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
)

// journeys are the ways of this run's first few events.
type journeys struct {
	run uint64
	all []*journey
}

func newJourneys(l *ledger, n int) *journeys {
	js := &journeys{run: l.run, all: make([]*journey, n)}
	for i := range js.all {
		js.all[i] = &journey{n: i, done: make(chan struct{})}
	}
	return js
}

func (js *journeys) of(id eventID, ok bool) *journey {
	if !ok || id.run != js.run || id.n >= len(js.all) {
		return nil
	}
	return js.all[id.n]
}

// journey is the way of one event: when it came to which step. Of steps that
// were made several times, the last one counts.
type journey struct {
	n    int
	done chan struct{} // closed when it is handled and its publisher knows of the delivery

	mu                                sync.Mutex
	began                             time.Time
	stored, posted, accepted, handled time.Duration
	acknowledged                      bool
	mishaps                           []string
}

func (j *journey) begin() {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.began = time.Now()
}

// note notes the time of a step. A nil journey is that of an event that is
// not followed.
func (j *journey) note(step *time.Duration) {
	j.mu.Lock()
	defer j.mu.Unlock()
	*step = time.Since(j.began)
}

func (j *journey) mishap(what string) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.mishaps = append(j.mishaps, fmt.Sprintf("at %s %s", ui.Millis(time.Since(j.began)), what))
}

// arrived closes done once both ends agree. j.mu is not held.
func (j *journey) arrived(acknowledged bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.acknowledged = j.acknowledged || acknowledged
	if j.acknowledged && j.handled > 0 {
		select {
		case <-j.done:
		default:
			close(j.done)
		}
	}
}

// retryCount counts what was tried again.
type retryCount struct{ deliveries, handlers atomic.Int64 }

// publisherObserver sees the publisher's steps.
type publisherObserver struct{ *course }

// Begin implements toot.Observer.
func (o *publisherObserver) Begin(ctx context.Context, s *toot.Step) (context.Context, func(toot.StepResult)) {
	id, ok := parseID(s.EventID)
	j := o.journeys.of(id, ok)
	switch s.Name {
	case toot.StepPublish:
		if j != nil {
			return ctx, func(toot.StepResult) { j.note(&j.stored) }
		}
	case toot.StepDeliver:
		if j != nil {
			j.note(&j.posted)
		}
		return ctx, func(r toot.StepResult) {
			switch r.Outcome {
			case toot.OutcomeOK:
				if ok {
					o.ledger.markDelivered(id)
				}
				if j != nil {
					j.arrived(true)
				}
			case toot.OutcomeRetry:
				o.retries.deliveries.Add(1)
				if j != nil {
					j.mishap("the POST failed: " + r.Reason)
				}
			}
		}
	}
	return ctx, nil
}

// subscriberObserver sees the subscriber's steps.
type subscriberObserver struct{ *course }

// Begin implements toot.Observer.
func (o *subscriberObserver) Begin(ctx context.Context, s *toot.Step) (context.Context, func(toot.StepResult)) {
	id, ok := parseID(s.EventID)
	j := o.journeys.of(id, ok)
	switch s.Name {
	case toot.StepReceive:
		if j != nil {
			return ctx, func(toot.StepResult) { j.note(&j.accepted) }
		}
	case toot.StepHandle:
		return ctx, func(r toot.StepResult) {
			switch {
			case r.Outcome == toot.OutcomeRetry:
				o.retries.handlers.Add(1)
				if j != nil {
					j.mishap("the handler failed: " + r.Reason)
				}
			case j != nil:
				j.note(&j.handled)
				j.arrived(false)
			}
		}
	}
	return ctx, nil
}
