package main_test

import (
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	collectorpb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// collector is an OpenTelemetry collector that is busy at first.
type collector struct {
	*httptest.Server
	mu       sync.Mutex
	requests int
	wrong    []string
	header   http.Header
	resource map[string]string
	spans    map[string]*collectorpb.Span // by name
}

func newCollector(t *testing.T) *collector {
	c := &collector{spans: map[string]*collectorpb.Span{}, resource: map[string]string{}}
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.requests++; c.requests == 1 {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		body, err := io.ReadAll(r.Body)
		var data collectorpb.TracesData
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" || proto.Unmarshal(body, &data) != nil {
			c.wrong = append(c.wrong, r.Method+" "+r.URL.Path)
		}
		c.header = r.Header
		for _, what := range data.ResourceSpans {
			for _, a := range what.Resource.Attributes {
				c.resource[a.Key] = a.Value.GetStringValue()
			}
			for _, scope := range what.ScopeSpans {
				for _, span := range scope.Spans {
					c.spans[span.Name] = span
				}
			}
		}
	}))
	t.Cleanup(c.Close)
	return c
}

// TestServeTraces: the spans of what is published and delivered reach a
// collector, within the trace that the publisher began, and the callback
// belongs to it too.
func TestServeTraces(t *testing.T) {
	const traceID, spanID = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
	for _, how := range []string{"by flag", "by OpenTelemetry's environment", "off"} {
		t.Run(how, func(t *testing.T) {
			c := newCollector(t)
			var args []string
			service := "toot"
			switch how {
			case "by flag":
				args = []string{"--otlp-endpoint", c.URL + "/"}
			case "by OpenTelemetry's environment":
				service = "shop"
				t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.URL)
				t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret, x-tenant = 7")
				t.Setenv("OTEL_SERVICE_NAME", service)
			}
			s := serve(t, args...)
			parents := make(chan string, 1)
			endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { parents <- r.Header.Get("Traceparent") }))
			defer endpoint.Close()
			wantCode(t, command(t, "subscribe", endpoint.URL, "--channel", "users", "--publisher", s.url), 0)
			status, body := curl(t, "-H", "traceparent: 00-"+traceID+"-"+spanID+"-01", "-d", "{}", s.url+"/publish/users")
			wantStatus(t, "202", status, body)
			parent := <-parents
			s.stop() // which sends the last spans

			c.mu.Lock()
			defer c.mu.Unlock()
			if how == "off" {
				if c.requests != 0 || parent != "00-"+traceID+"-"+spanID+"-01" {
					t.Errorf("%d requests to the collector; the callback came with %q", c.requests, parent)
				}
				return
			}
			publish, deliver := c.spans["publish users"], c.spans["deliver users"]
			if publish == nil || deliver == nil || len(c.wrong) > 0 {
				t.Fatalf("the collector got %v; wrong: %v", c.spans, c.wrong)
			}
			for _, span := range []*collectorpb.Span{publish, deliver} {
				if hex.EncodeToString(span.TraceId) != traceID {
					t.Errorf("%s is of trace %x", span.Name, span.TraceId)
				}
			}
			if hex.EncodeToString(publish.ParentSpanId) != spanID || string(deliver.ParentSpanId) != string(publish.SpanId) {
				t.Errorf("publish has the parent %x, deliver %x", publish.ParentSpanId, deliver.ParentSpanId)
			}
			if want := "00-" + traceID + "-" + hex.EncodeToString(deliver.SpanId) + "-01"; parent != want {
				t.Errorf("the callback came with %q, want %q", parent, want)
			}
			if c.resource["service.name"] != service || c.resource["service.version"] == "" {
				t.Errorf("the resource is %v", c.resource)
			}
			if service != "toot" && (c.header.Get("Authorization") != "Bearer s3cret" || c.header.Get("X-Tenant") != "7") {
				t.Errorf("the headers are %v", c.header)
			}
			if strings.Contains(s.stderr.String(), "s3cret") {
				t.Error("a secret is in the log")
			}
		})
	}
}

// TestServeWithoutCollector: one that is away costs a line in the log.
func TestServeWithoutCollector(t *testing.T) {
	s := serve(t, "--otlp-endpoint", "http://user:s3cret@127.0.0.1:1")
	status, body := curl(t, "-d", "{}", s.url+"/publish/users")
	wantStatus(t, "202", status, body)
	s.stop()
	if log := s.stderr.String(); !strings.Contains(log, "spans could not be sent") || strings.Contains(log, "s3cret") {
		t.Errorf("the log says:\n%s", log)
	}
	t.Setenv("OTEL_EXPORTER_OTLP_HEADERS", "s3cret")
	for _, endpoint := range []string{"collector:4318", "ftp://s3cret", "http://127.0.0.1:1"} {
		r := start(t, "", "serve", "--otlp-endpoint", endpoint).wait()
		wantCode(t, r, 2)
		if strings.Count(r.stderr, "\n") != 1 || strings.Contains(r.stderr, "s3cret") {
			t.Errorf("%s: it says %q, want one line", endpoint, r.stderr)
		}
	}
}
