package otlp

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	collector "go.opentelemetry.io/proto/otlp/trace/v1"
)

func TestWhereSpansGo(t *testing.T) {
	for _, c := range []struct{ base, all, traces, want string }{
		{"", "", "", ""},
		{"http://a", "http://b", "http://c/x", "http://a/v1/traces"},
		{"http://a/base/", "", "", "http://a/base/v1/traces"},
		{"", "http://b", "", "http://b/v1/traces"},
		{"", "http://b", "http://c/x", "http://c/x"},
	} {
		t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", c.all)
		t.Setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", c.traces)
		if got := traceURL(c.base); got != c.want {
			t.Errorf("%+v: %q", c, got)
		}
	}
}

func TestHeaders(t *testing.T) {
	h := http.Header{}
	if err := addHeaders(h, " a=1, b = x%20y=,,"); err != nil || h.Get("A") != "1" || h.Get("B") != "x y=" || len(h) != 2 {
		t.Errorf("%v, %v", h, err)
	}
	for _, wrong := range []string{"s3cret", "=s3cret", "a=s3cret%zz"} {
		if err := addHeaders(h, wrong); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%q: %v", wrong, err)
		}
	}
}

// transport is a collector that needs no network, so that time can be faked.
type transport struct{ http.Handler }

func (c transport) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w.Result(), nil
}

// TestSpansAreSentAgain, a few times, if that may help.
func TestSpansAreSentAgain(t *testing.T) {
	for _, c := range []struct {
		status int
		after  string
		want   int64
		took   time.Duration
	}{
		{200, "", 1, 0},
		{503, "", 4, 3500 * time.Millisecond},
		{429, "3", 4, 9 * time.Second},
		{429, "3000", 4, 30 * time.Second},
		{400, "", 1, 0},
		{401, "", 1, 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			var requests atomic.Int64
			client, err := New("http://collector")
			if err != nil {
				t.Fatal(err)
			}
			client.client.Transport = transport{http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				requests.Add(1)
				w.Header().Set("Retry-After", c.after)
				w.WriteHeader(c.status)
			})}
			began := time.Now()
			err = client.UploadTraces(t.Context(), []*collector.ResourceSpans{{}})
			if (err == nil) != (c.status == 200) || err != nil && !strings.Contains(err.Error(), strconv.Itoa(c.status)) {
				t.Errorf("%d: %v", c.status, err)
			}
			if took := time.Since(began); requests.Load() != c.want || took != c.took {
				t.Errorf("%d, Retry-After: %q: %d requests in %v, want %d in %v", c.status, c.after, requests.Load(), took, c.want, c.took)
			}
		})
	}
}
