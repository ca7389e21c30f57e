// Package otel follows events with OpenTelemetry traces: from Publish through the
// POST to their handlers, also from one app to another.
//
//	tracer := otel.New(nil) // the global TracerProvider and propagator
//	app, err := toot.New(store, &toot.Options{Observer: tracer})
//
// Names and attributes of spans follow version 1.43.0 of the semantic
// conventions for messaging, and for HTTP where a request is made.
package otel

import (
	"context"
	"net/http"
	"net/url"
	"strconv"

	api "go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	semconv "go.opentelemetry.io/otel/semconv/v1.43.0"
	"go.opentelemetry.io/otel/trace"

	toot "github.com/watermarkchurch/toot-go"
)

// Options configure a Tracer. Zero fields mean the defaults.
type Options struct {
	// TracerProvider makes the spans. Default: the global one, which makes
	// none until it is set.
	TracerProvider trace.TracerProvider
	// Propagator writes a trace's context into the headers Traceparent,
	// Tracestate and Baggage, and reads it from them. Other headers do not
	// travel with an event, and Baggage goes to toot.Options.BaggageHosts only.
	// Default: the global one, which does nothing until it is set, for example
	// to propagation.TraceContext{}.
	Propagator propagation.TextMapPropagator
}

// Tracer is a toot.Observer that makes a span of each step in the life of an event.
//
//	prepare CHANNEL   producer   an event was put into an outbox
//	publish CHANNEL   producer   until the event is durable
//	deliver CHANNEL   client     one POST of it to a callback URL
//	receive CHANNEL   server     until it is durable at the other end
//	handle CHANNEL    consumer   one run of a handler
//
// A publish span is a child of the span in the context given to Publish, or of
// the prepare span, which is a child of that in the context given to the
// outbox; each deliver span, retries included, is a child of publish; receive
// of the deliver span whose request it is, or of the span that a middleware
// around HandlerService has made of it, and internal then; each handle span of
// receive. A handler finds its span in its context.
//
// Events that carry a trace's context, sampled or not, are sent alone, never in
// batches.
//
// One Tracer may be shared by several apps.
type Tracer struct {
	tracer     trace.Tracer
	propagator propagation.TextMapPropagator
}

var _ toot.Observer = (*Tracer)(nil)

// New returns a Tracer to be given to toot.Options; toot.Observers puts it
// beside others. Nil options mean the defaults.
func New(opts *Options) *Tracer {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.TracerProvider == nil {
		o.TracerProvider = api.GetTracerProvider()
	}
	if o.Propagator == nil {
		o.Propagator = api.GetTextMapPropagator()
	}
	return &Tracer{
		tracer:     o.TracerProvider.Tracer("github.com/watermarkchurch/toot-go/observe/otel", trace.WithSchemaURL(semconv.SchemaURL)),
		propagator: o.Propagator,
	}
}

// What the conventions have no names for.
const (
	attemptKey = attribute.Key("toot.attempt")     // which try it is, from 1
	ageKey     = attribute.Key("toot.age_seconds") // how long the event had been in the store
	outcomeKey = attribute.Key("toot.outcome")     // a toot.StepOutcome
	// How many subscribers the channel of a published event has.
	subscribersKey = attribute.Key("toot.subscribers")
	afterKey       = attribute.Key("toot.after_seconds") // how long a published event is kept before it is sent
)

// Begin implements toot.Observer.
func (t *Tracer) Begin(ctx context.Context, s *toot.Step) (context.Context, func(toot.StepResult)) {
	attributes := make([]attribute.KeyValue, 0, 16)
	attributes = append(attributes, semconv.MessagingSystemKey.String("toot"), semconv.MessagingOperationName(string(s.Name)),
		semconv.MessagingDestinationName(s.Channel), semconv.MessagingMessageID(s.EventID))
	var options []trace.SpanStartOption
	var kind trace.SpanKind
	switch s.Name {
	case toot.StepPrepare:
		kind = trace.SpanKindProducer
		attributes = append(attributes, semconv.MessagingOperationTypeCreate)
	case toot.StepPublish:
		kind = trace.SpanKindProducer
		ctx = t.extract(ctx, s.Header) // of an event that was prepared
		attributes = append(attributes, semconv.MessagingOperationTypeSend)
		if s.After > 0 {
			attributes = append(attributes, afterKey.Float64(s.After.Seconds()))
		}
	case toot.StepDeliver:
		kind = trace.SpanKindClient
		ctx = t.extract(ctx, s.Header)
		attributes = append(attributes, semconv.MessagingOperationTypeSend, semconv.HTTPRequestMethodPost,
			attemptKey.Int(s.Attempt), ageKey.Float64(s.Age.Seconds()))
		attributes = append(attributes, whereTo(s.Lane)...)
		if s.Attempt > 1 {
			attributes = append(attributes, semconv.HTTPRequestResendCount(s.Attempt-1))
		}
	case toot.StepReceive:
		ctx, kind, options = t.receive(ctx, s.Header)
		attributes = append(attributes, semconv.MessagingOperationTypeReceive)
	case toot.StepHandle:
		kind = trace.SpanKindConsumer
		ctx = t.extract(ctx, s.Header)
		attributes = append(attributes, semconv.MessagingOperationTypeProcess, semconv.MessagingDestinationSubscriptionName(s.Lane),
			attemptKey.Int(s.Attempt), ageKey.Float64(s.Age.Seconds()))
	default:
		return ctx, nil
	}
	options = append(options, trace.WithSpanKind(kind), trace.WithAttributes(attributes...))
	ctx, span := t.tracer.Start(ctx, string(s.Name)+" "+s.Channel, options...)
	if s.Name != toot.StepHandle { // the end of the way
		t.propagator.Inject(ctx, propagation.HeaderCarrier(s.Header))
	}
	published := s.Name == toot.StepPublish
	return ctx, func(r toot.StepResult) {
		if published && r.Outcome == toot.OutcomeOK {
			span.SetAttributes(subscribersKey.Int(r.Subscribers))
		}
		end(span, r)
	}
}

func (t *Tracer) extract(ctx context.Context, h http.Header) context.Context {
	return t.propagator.Extract(ctx, propagation.HeaderCarrier(h))
}

// receive finds the parent of a receive span. A middleware for HTTP may have
// made a span of the request already: that one is the parent if it belongs to
// the event's trace, and linked otherwise.
func (t *Tracer) receive(ctx context.Context, h http.Header) (context.Context, trace.SpanKind, []trace.SpanStartOption) {
	request := trace.SpanContextFromContext(ctx)
	if request.IsRemote() { // the middleware has only read the headers
		request = trace.SpanContext{}
	}
	withSender := t.extract(ctx, h)
	sender := trace.SpanContextFromContext(withSender)
	switch {
	case !request.IsValid():
		return withSender, trace.SpanKindServer, nil
	case !sender.IsRemote() || sender.TraceID() == request.TraceID():
		return ctx, trace.SpanKindInternal, nil
	}
	return withSender, trace.SpanKindInternal, []trace.SpanStartOption{trace.WithLinks(trace.Link{SpanContext: request})}
}

// whereTo are the attributes of a callback URL, which is free of credentials.
func whereTo(callbackURL string) []attribute.KeyValue {
	u, err := url.Parse(callbackURL)
	if err != nil || u.Host == "" {
		return nil
	}
	port, err := strconv.Atoi(u.Port())
	if err != nil {
		port = 80
		if u.Scheme == "https" {
			port = 443
		}
	}
	return []attribute.KeyValue{semconv.URLFull(callbackURL), semconv.ServerAddress(u.Hostname()), semconv.ServerPort(port)}
}

func end(span trace.Span, r toot.StepResult) {
	if span.IsRecording() {
		span.SetAttributes(outcomeKey.String(string(r.Outcome)))
		if r.Status > 0 {
			span.SetAttributes(semconv.HTTPResponseStatusCode(r.Status))
		}
		switch r.Outcome {
		case toot.OutcomeRetry, toot.OutcomeDead, toot.OutcomeFailed:
			class := string(r.Outcome)
			if r.Status >= 400 {
				class = strconv.Itoa(r.Status)
			}
			span.SetAttributes(semconv.ErrorTypeKey.String(class))
			span.SetStatus(codes.Error, r.Reason)
		}
	}
	span.End()
}
