package toot

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// Observer is told of each step in the life of an event. Metrics and tracing are
// built on it, see the packages under observe/. It is called concurrently, for
// every step of every event, so it must be quick.
type Observer interface {
	// Begin is called when a step begins. The step is made in the context it
	// returns, and the function it returns is called when the step has ended;
	// nil is fine.
	//
	// Begin may read and change s.Header, the context of a trace; it must not
	// keep s.
	Begin(ctx context.Context, s *Step) (context.Context, func(StepResult))
}

// Observers combines several observers into one. Each is told of every step: in the
// given order when it begins, and in reverse order when it ends. Nil ones are left out.
func Observers(several ...Observer) Observer {
	return observers(slices.DeleteFunc(slices.Clone(several), func(o Observer) bool { return o == nil }))
}

type observers []Observer

func (os observers) Begin(ctx context.Context, s *Step) (context.Context, func(StepResult)) {
	ends := make([]func(StepResult), 0, len(os))
	for _, o := range os {
		var end func(StepResult)
		if ctx, end = o.Begin(ctx, s); end != nil {
			ends = append(ends, end)
		}
	}
	return ctx, func(r StepResult) {
		for _, end := range slices.Backward(ends) {
			end(r)
		}
	}
}

// StepName names a step in the life of an event.
type StepName string

// The steps in the life of an event.
const (
	StepPrepare StepName = "prepare" // Prepare: an event was made, to be published later
	StepPublish StepName = "publish" // Publish, until the event is durable
	StepDeliver StepName = "deliver" // one POST to a callback URL
	StepReceive StepName = "receive" // HandlerService, until the event is durable
	StepHandle  StepName = "handle"  // one run of a handler
)

// Step is one step in the life of an event.
type Step struct {
	Name    StepName
	EventID string
	Channel string
	// Body is the event as it goes over the wire. It may only be read, and only
	// until Begin returns.
	Body []byte
	// Lane is the callback URL as it may be shown (StepDeliver) or the
	// subscription's name (StepHandle).
	Lane string
	// Attempt is which try this is, from 1 (StepDeliver, StepHandle). A probe of
	// an endpoint that keeps failing has the number that the next try has, as it
	// does not count if it fails.
	Attempt int
	// Age is how long the job has been in the store (StepDeliver, StepHandle).
	Age time.Duration
	// After is how long the event is kept before it is sent (StepPrepare,
	// StepPublish), see Message.After.
	After time.Duration
	// Header carries the context of a trace from step to step: StepPublish finds
	// what StepPrepare has left in it; StepDeliver finds and sends what
	// StepPublish has left; StepReceive finds what came with the request, and
	// StepHandle what StepReceive has left.
	// Only Traceparent, Tracestate (W3C Trace Context) and Baggage are kept, and
	// Baggage goes to Options.BaggageHosts only. StepDeliver also finds
	// X-Toot-Hops there, if the event has any.
	// Without an observer, what came in is passed on to the handlers' side
	// unchanged.
	Header http.Header
}

// StepOutcome says how a step ended.
type StepOutcome string

// How steps end.
const (
	OutcomeOK     StepOutcome = "ok"
	OutcomeRetry  StepOutcome = "retry"  // it failed and will be made again
	OutcomeDead   StepOutcome = "dead"   // it failed for good: in the dead letters
	OutcomeFailed StepOutcome = "failed" // it failed, and its caller was told so (StepPublish, StepReceive)
	// OutcomeUnwanted: the endpoint (StepDeliver), or this app (StepReceive),
	// has no subscription to the channel; or it asked for what waits to be
	// discarded when it unsubscribed (StepDeliver, without a request).
	OutcomeUnwanted StepOutcome = "unwanted"
)

// StepResult is the result of a step.
type StepResult struct {
	Outcome StepOutcome
	Status  int    // of the HTTP answer (StepDeliver), 0 if there was none
	Reason  string // why it failed; free of credentials
	// Subscribers is Event.Subscribers (StepPublish, OutcomeOK).
	Subscribers int
}

// begin tells the observer, if there is one, of a step. The result is never nil.
func (c *core) begin(ctx context.Context, s *Step) (context.Context, func(StepResult)) {
	if c.opts.Observer == nil {
		return ctx, func(StepResult) {}
	}
	ctx, end := c.opts.Observer.Begin(ctx, s)
	if end == nil {
		end = func(StepResult) {}
	}
	return ctx, end
}

// beginAll tells the observer, if there is one, of a step of each of several
// events, and keeps the context of its trace with the event. delays, unless nil,
// has the Step.After of each; end is given the StepResult.Subscribers of each, or
// nil.
func (c *core) beginAll(ctx context.Context, name StepName, events []*engine.Event, delays []time.Duration) (end func(err error, subscribers []int)) {
	if c.opts.Observer == nil {
		return func(error, []int) {}
	}
	ends := make([]func(StepResult), len(events))
	for i, e := range events {
		step := &Step{Name: name, EventID: e.ID, Channel: e.Channel, Body: e.Body, Header: wire.TraceOf(e.Meta)}
		if delays != nil {
			step.After = delays[i]
		}
		_, ends[i] = c.begin(ctx, step)
		e.Meta = wire.ReplaceTrace(e.Meta, step.Header)
	}
	return func(err error, subscribers []int) {
		result := StepResult{Outcome: OutcomeOK}
		if err != nil {
			result = StepResult{Outcome: OutcomeFailed, Reason: err.Error()}
		}
		for i, end := range ends {
			if subscribers != nil {
				result.Subscribers = subscribers[i]
			}
			end(result)
		}
	}
}
