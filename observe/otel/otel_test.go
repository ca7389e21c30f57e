package otel_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/baggage"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
	"go.opentelemetry.io/otel/trace/noop"
	"go.uber.org/goleak"

	sdk "go.opentelemetry.io/otel/sdk/trace"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
	"github.com/watermarkchurch/toot-go/observe/otel"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var w3c = propagation.NewCompositeTextMapPropagator(propagation.TraceContext{}, propagation.Baggage{})

// site is an app with a store, a server and an exporter of its own.
type site struct {
	*toot.App
	url      string
	exporter *tracetest.InMemoryExporter
	provider *sdk.TracerProvider
	around   func(http.Handler) http.Handler // the callback URL
}

// newSite starts an app, traced unless that is to be left out.
func newSite(t *testing.T, traced bool) *site {
	t.Helper()
	store, err := sqliteengine.Open(filepath.Join(t.TempDir(), "toot.db"), nil)
	must(t, err)
	s := &site{exporter: tracetest.NewInMemoryExporter(), around: func(h http.Handler) http.Handler { return h }}
	s.provider = sdk.NewTracerProvider(sdk.WithSyncer(s.exporter))
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	s.url = server.URL
	opts := &toot.Options{
		CallbackURL: server.URL + "/callbacks", Logger: slog.New(slog.DiscardHandler),
		RetryDelay: func(int) time.Duration { return time.Millisecond }, BaggageHosts: []string{"127.0.0.1"},
	}
	if traced {
		opts.Observer = otel.New(&otel.Options{TracerProvider: s.provider, Propagator: w3c})
	}
	s.App, err = toot.New(store, opts)
	must(t, err)
	mux.Handle("/subscriptions", s.SubscriptionsService())
	mux.HandleFunc("/callbacks", func(w http.ResponseWriter, r *http.Request) { s.around(s.HandlerService()).ServeHTTP(w, r) })
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
		server.Close()
		must(t, s.Close())
		must(t, store.Close())
		must(t, s.provider.Shutdown(context.Background()))
	})
	return s
}

// subscribe has a site handle what another publishes on "users".
func (s *site) subscribe(t *testing.T, publisher *site, h toot.HandlerFunc) {
	t.Helper()
	must(t, s.AddSource("publisher", toot.Source{SubscriptionURL: publisher.url + "/subscriptions"}))
	must(t, s.Subscribe("publisher", "users", h))
	must(t, s.RegisterSubscriptions(t.Context()))
}

// spans returns the spans of a site, once there are n.
func (s *site) spans(t *testing.T, n int) tracetest.SpanStubs {
	t.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		spans := s.exporter.GetSpans()
		if len(spans) >= n || time.Now().After(deadline) {
			if len(spans) != n {
				t.Fatalf("%d spans, want %d: %v", len(spans), n, names(spans))
			}
			return spans
		}
	}
}

func names(spans tracetest.SpanStubs) (names []string) {
	for _, s := range spans {
		names = append(names, s.Name)
	}
	return names
}

// named returns the spans of a name, in the order in which they ended.
func named(spans tracetest.SpanStubs, name string) (found tracetest.SpanStubs) {
	for _, s := range spans {
		if s.Name == name {
			found = append(found, s)
		}
	}
	return found
}

func wantAttributes(t *testing.T, s *tracetest.SpanStub, want map[string]any) {
	t.Helper()
	got := map[string]any{}
	for _, a := range s.Attributes {
		got[string(a.Key)] = a.Value.AsInterface()
	}
	for key, value := range want {
		if fmt.Sprint(got[key]) != fmt.Sprint(value) {
			t.Errorf("%s: %s is %v, want %v", s.Name, key, got[key], value)
		}
	}
}

func wantParent(t *testing.T, s, parent *tracetest.SpanStub) {
	t.Helper()
	if s.SpanContext.TraceID() != parent.SpanContext.TraceID() || s.Parent.SpanID() != parent.SpanContext.SpanID() {
		t.Errorf("%s of trace %s has the parent %s, want %s of trace %s (%s)", s.Name, s.SpanContext.TraceID(), s.Parent.SpanID(),
			parent.SpanContext.SpanID(), parent.SpanContext.TraceID(), parent.Name)
	}
}

// TestATraceFollowsAnEvent from a span of the publisher's to a handler in
// another app, over an endpoint and a handler that fail once.
func TestATraceFollowsAnEvent(t *testing.T) {
	publisher, subscriber := newSite(t, true), newSite(t, true)
	var requests atomic.Int64
	subscriber.around = func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if requests.Add(1) == 1 {
				w.WriteHeader(http.StatusBadGateway)
				return
			}
			h.ServeHTTP(w, r)
		})
	}
	inHandler := make(chan trace.SpanContext, 2)
	bags := make(chan string, 2)
	subscriber.subscribe(t, publisher, func(ctx context.Context, e *toot.Event) error {
		inHandler <- trace.SpanContextFromContext(ctx)
		bags <- baggage.FromContext(ctx).Member("tenant").Value()
		if e.Attempt == 1 {
			return errors.New("not today")
		}
		return nil
	})

	member, err := baggage.NewMember("tenant", "7")
	must(t, err)
	bag, err := baggage.New(member)
	must(t, err)
	ctx, span := publisher.provider.Tracer("test").Start(baggage.ContextWithBaggage(t.Context(), bag), "request")
	event, err := publisher.Publish(ctx, "users", map[string]int{"id": 1})
	must(t, err)
	span.End()

	ours, theirs := publisher.spans(t, 4), subscriber.spans(t, 3)
	request, publish, deliver := named(ours, "request"), named(ours, "publish users"), named(ours, "deliver users")
	receive, handle := named(theirs, "receive users"), named(theirs, "handle users")
	if len(request) != 1 || len(publish) != 1 || len(deliver) != 2 || len(receive) != 1 || len(handle) != 2 {
		t.Fatalf("the spans are %v and %v", names(ours), names(theirs))
	}
	wantParent(t, &publish[0], &request[0])
	wantParent(t, &deliver[0], &publish[0])
	wantParent(t, &deliver[1], &publish[0])
	wantParent(t, &receive[0], &deliver[1])
	wantParent(t, &handle[0], &receive[0])
	wantParent(t, &handle[1], &receive[0])

	for _, c := range []struct {
		span   *tracetest.SpanStub
		kind   trace.SpanKind
		status codes.Code
		why    string
	}{
		{&publish[0], trace.SpanKindProducer, codes.Unset, ""},
		{&deliver[0], trace.SpanKindClient, codes.Error, "answered with status 502"},
		{&deliver[1], trace.SpanKindClient, codes.Unset, ""},
		{&receive[0], trace.SpanKindServer, codes.Unset, ""},
		{&handle[0], trace.SpanKindConsumer, codes.Error, "not today"},
		{&handle[1], trace.SpanKindConsumer, codes.Unset, ""},
	} {
		if c.span.SpanKind != c.kind || c.span.Status.Code != c.status || c.span.Status.Description != c.why {
			t.Errorf("%s: %v, %+v, want %v, %v, %q", c.span.Name, c.span.SpanKind, c.span.Status, c.kind, c.status, c.why)
		}
		wantAttributes(t, c.span, map[string]any{
			"messaging.system": "toot", "messaging.destination.name": "users", "messaging.message.id": event.ID,
			"messaging.operation.name": strings.Fields(c.span.Name)[0],
		})
	}
	wantAttributes(t, &publish[0], map[string]any{"messaging.operation.type": "send", "toot.outcome": "ok", "toot.subscribers": 1})
	wantAttributes(t, &deliver[0], map[string]any{
		"messaging.operation.type": "send", "http.request.method": "POST", "url.full": subscriber.url + "/callbacks", "server.address": "127.0.0.1",
		"http.response.status_code": 502, "error.type": "502", "toot.outcome": "retry", "toot.attempt": 1,
	})
	wantAttributes(t, &deliver[1], map[string]any{"http.response.status_code": 200, "toot.outcome": "ok"})
	wantAttributes(t, &receive[0], map[string]any{"messaging.operation.type": "receive"})
	wantAttributes(t, &handle[0], map[string]any{
		"messaging.operation.type": "process", "messaging.destination.subscription.name": "users", "error.type": "retry", "toot.attempt": 1,
	})
	wantAttributes(t, &handle[1], map[string]any{"toot.attempt": 2, "toot.outcome": "ok"})
	for i := range handle {
		if got := <-inHandler; got.SpanID() != handle[i].SpanContext.SpanID() {
			t.Errorf("the handler ran in span %s, want %s", got.SpanID(), handle[i].SpanContext.SpanID())
		}
		if got := <-bags; got != "7" {
			t.Errorf("the handler's baggage is %q", got)
		}
	}
}

// TestFailuresShow: a publication that fails and a job that is given up on.
func TestFailuresShow(t *testing.T) {
	publisher := newSite(t, true)
	gone := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadRequest) }))
	defer gone.Close()
	subscribe(t, publisher, "users", strings.Replace(gone.URL, "://", "://user:s3cret@", 1))
	opts := toot.Options{Observer: otel.New(&otel.Options{TracerProvider: publisher.provider, Propagator: w3c}), Logger: slog.New(slog.DiscardHandler)}
	store, err := sqliteengine.Open(filepath.Join(t.TempDir(), "toot.db"), nil)
	must(t, err)
	closed, err := toot.New(store, &opts)
	must(t, err)
	must(t, store.Close())
	if _, err := closed.Publish(t.Context(), "users", nil); err == nil {
		t.Error("publishing without a store works")
	}
	must(t, closed.Close())
	if s := publisher.spans(t, 1)[0]; s.Name != "publish users" || s.Status.Code != codes.Error || s.Status.Description == "" {
		t.Errorf("%s: %+v", s.Name, s.Status)
	}

	_, err = publisher.Publish(t.Context(), "users", nil)
	must(t, err)
	spans := publisher.spans(t, 3)
	deliver := named(spans, "deliver users")[0]
	wantAttributes(t, &deliver, map[string]any{"error.type": "400"})
	if text := fmt.Sprint(spans); strings.Contains(text, "s3cret") {
		t.Errorf("a password is shown: %s", text)
	}
}

// TestManyEventsAtOnceKeepTheirTraces, though the endpoint takes batches; and
// events of a publisher without tracing, which do come in batches, begin
// traces of their own.
func TestManyEventsAtOnceKeepTheirTraces(t *testing.T) {
	const events = 200
	for _, traced := range []bool{true, false} {
		publisher, subscriber := newSite(t, traced), newSite(t, true)
		var batches atomic.Int64
		subscriber.around = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if strings.Contains(r.Header.Get("Content-Type"), "batch") {
					batches.Add(1)
				}
				h.ServeHTTP(w, r)
			})
		}
		subscriber.subscribe(t, publisher, func(context.Context, *toot.Event) error { return nil })
		var group sync.WaitGroup
		for range events {
			group.Go(func() {
				if _, err := publisher.Publish(t.Context(), "users", nil); err != nil {
					t.Error(err)
				}
			})
		}
		group.Wait()
		theirs := subscriber.spans(t, 2*events)
		all := theirs
		if traced {
			all = append(all, publisher.spans(t, 2*events)...)
		}
		byID := map[trace.SpanID]tracetest.SpanStub{}
		for _, s := range all {
			byID[s.SpanContext.SpanID()] = s
		}
		parents := map[string]string{"handle users": "receive users"}
		if traced {
			parents["receive users"], parents["deliver users"] = "deliver users", "publish users"
		}
		for _, s := range all {
			parent := byID[s.Parent.SpanID()]
			if parent.Name != parents[s.Name] || parent.Name != "" && id(parent.Attributes) != id(s.Attributes) {
				t.Errorf("traced: %v: %s of %s has the parent %q of %s", traced, s.Name, id(s.Attributes), parent.Name, id(parent.Attributes))
			}
		}
		if traced != (batches.Load() == 0) {
			t.Errorf("traced: %v: %d batches", traced, batches.Load())
		}
	}
}

func id(attributes []attribute.KeyValue) string {
	i := slices.IndexFunc(attributes, func(a attribute.KeyValue) bool { return a.Key == "messaging.message.id" })
	if i < 0 {
		return ""
	}
	return attributes[i].Value.AsString()
}

// TestAMiddlewaresSpan is the parent of receive, if it belongs to the event's
// trace, and linked otherwise.
func TestAMiddlewaresSpan(t *testing.T) {
	for _, reads := range []bool{true, false} {
		publisher, subscriber := newSite(t, true), newSite(t, true)
		subscriber.around = func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				ctx := r.Context()
				if reads {
					ctx = w3c.Extract(ctx, propagation.HeaderCarrier(r.Header))
				}
				ctx, span := subscriber.provider.Tracer("http").Start(ctx, "POST /callbacks")
				defer span.End()
				h.ServeHTTP(w, r.WithContext(ctx))
			})
		}
		subscriber.subscribe(t, publisher, func(context.Context, *toot.Event) error { return nil })
		_, err := publisher.Publish(t.Context(), "users", nil)
		must(t, err)
		deliver := named(publisher.spans(t, 2), "deliver users")[0]
		spans := subscriber.spans(t, 3)
		request, receive := named(spans, "POST /callbacks")[0], named(spans, "receive users")[0]
		if reads {
			wantParent(t, &request, &deliver)
			wantParent(t, &receive, &request)
		} else {
			wantParent(t, &receive, &deliver)
			if len(receive.Links) != 1 || receive.Links[0].SpanContext.SpanID() != request.SpanContext.SpanID() {
				t.Errorf("receive is linked to %+v", receive.Links)
			}
		}
		if receive.SpanKind != trace.SpanKindInternal {
			t.Errorf("receive is %v within a span of the request's", receive.SpanKind)
		}
	}
}

// TestWithoutSpansTheContextPasses: a Tracer that makes no spans hands on what
// came with Publish.
func TestWithoutSpansTheContextPasses(t *testing.T) {
	store, err := sqliteengine.Open(filepath.Join(t.TempDir(), "toot.db"), nil)
	must(t, err)
	app, err := toot.New(store, &toot.Options{Observer: otel.New(&otel.Options{TracerProvider: noop.NewTracerProvider(), Propagator: w3c})})
	must(t, err)
	headers := make(chan http.Header, 1)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { headers <- r.Header }))
	defer server.Close()
	subscribe(t, &site{App: app}, "users", server.URL)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()

	incoming := http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}, "Tracestate": {"a=b"}}
	_, err = app.Publish(w3c.Extract(t.Context(), propagation.HeaderCarrier(incoming)), "users", nil)
	must(t, err)
	if h := <-headers; h.Get("Traceparent") != incoming.Get("Traceparent") || h.Get("Tracestate") != "a=b" {
		t.Errorf("the callback came with %v", h)
	}
	_, err = app.Publish(t.Context(), "users", nil)
	must(t, err)
	if h := <-headers; h.Get("Traceparent") != "" {
		t.Errorf("the callback came with %v", h)
	}
	cancel()
	must(t, <-ended)
	must(t, app.Close())
	must(t, store.Close())
}

// subscribe subscribes a URL to a channel of a site.
func subscribe(t *testing.T, s *site, channel, url string) {
	t.Helper()
	w := httptest.NewRecorder()
	s.SubscriptionsService().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/subscriptions",
		strings.NewReader(fmt.Sprintf(`{"callback_url":%q,"channel":%q}`, url, channel))))
	if w.Code != http.StatusCreated {
		t.Fatal(w.Code, w.Body)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
