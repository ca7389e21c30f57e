package toot

import (
	"context"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Observer is told of each step of an event's way. Metrics and tracing sit on
// it; see the packages below observe/. It is called concurrently and on the
// way of every event, so it had better be quick.
type Observer interface {
	// Begin is called when a step begins. The step is made in the context it
	// returns, and the function it returns is called when the step has ended;
	// nil is fine.
	//
	// Begin may read and change s.Header, the context of a trace; it must not
	// keep s.
	Begin(ctx context.Context, s *Step) (context.Context, func(StepResult))
}

// Observers returns an Observer that tells each of several of every step, the
// last one first when the step has ended. Those that are nil are left out.
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

// StepName names a step of an event's way.
type StepName string

// The steps of an event's way.
const (
	StepPublish StepName = "publish" // Publish, until the event is durable
	StepDeliver StepName = "deliver" // one POST to a callback URL
	StepReceive StepName = "receive" // HandlerService, until the event is durable
	StepHandle  StepName = "handle"  // one run of a handler
)

// Step is one step of an event's way.
type Step struct {
	Name    StepName
	EventID string
	Channel string
	// Lane is the callback URL as it may be shown (StepDeliver) or the
	// subscription's name (StepHandle).
	Lane string
	// Attempt is how many tries went wrong before, as far as they count.
	Attempt int
	// Age is how long the job has been in the store (StepDeliver, StepHandle).
	Age time.Duration
	// Header carries the context of a trace from step to step: what
	// StepPublish leaves in it, StepDeliver finds, and sends on; what came
	// with the request, StepReceive finds, and StepHandle finds what it left.
	// Only Traceparent, Tracestate (W3C Trace Context) and Baggage are kept.
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
	OutcomeFailed StepOutcome = "failed" // it failed, which its caller was told (StepPublish, StepReceive)
	// OutcomeUnwanted: the endpoint (StepDeliver), or this app (StepReceive),
	// has no subscription to the channel.
	OutcomeUnwanted StepOutcome = "unwanted"
)

// StepResult is the result of a step.
type StepResult struct {
	Outcome StepOutcome
	Status  int    // of the HTTP answer (StepDeliver), 0 if there was none
	Reason  string // why it failed; free of credentials
}

// begin tells the observer, if there is one, of a step. The result is never nil.
func (a *App) begin(ctx context.Context, s *Step) (context.Context, func(StepResult)) {
	if a.opts.Observer == nil {
		return ctx, func(StepResult) {}
	}
	ctx, end := a.opts.Observer.Begin(ctx, s)
	if end == nil {
		end = func(StepResult) {}
	}
	return ctx, end
}

// beginTry begins the step of trying a job, and returns the trace's context
// that goes with it. The dispatcher ends the step once it knows what becomes
// of the job.
func (a *App) beginTry(ctx context.Context, name StepName, j *job) (context.Context, http.Header) {
	event := j.claim.Event
	var trace http.Header
	if len(event.Meta) > 0 || a.opts.Observer != nil {
		trace = decodeMeta(event.Meta)
	}
	if a.opts.Observer != nil {
		ctx, j.end = a.begin(ctx, &Step{
			Name: name, EventID: event.ID, Channel: event.Channel, Lane: j.lane.shown,
			Attempt: j.claim.Attempt, Age: j.age(time.Now()), Header: trace,
		})
	}
	return ctx, trace
}

// The headers of a trace's context that travel with an event, in the form of
// engine.Event.Meta: one "Name: value" a line.
var traceHeaders = [...]string{"Traceparent", "Tracestate", "Baggage"}

// maxTraceValue bounds each of them.
const maxTraceValue = 1024

func encodeMeta(h http.Header) []byte {
	var meta []byte
	for _, name := range traceHeaders {
		values := h[name]
		if len(values) == 0 {
			continue
		}
		value := strings.Join(values, ",")
		if value == "" || len(value) > maxTraceValue || strings.ContainsAny(value, "\r\n") {
			continue
		}
		meta = append(meta, name...)
		meta = append(meta, ": "...)
		meta = append(meta, value...)
		meta = append(meta, '\n')
	}
	return meta
}

func decodeMeta(meta []byte) http.Header {
	h := http.Header{}
	for line := range strings.Lines(string(meta)) {
		if name, value, ok := strings.Cut(strings.TrimSuffix(line, "\n"), ": "); ok {
			h[name] = []string{value}
		}
	}
	return h
}
