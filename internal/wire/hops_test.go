package wire

import (
	"math"
	"net/http"
	"testing"
)

func TestDeliveryHops(t *testing.T) {
	for _, c := range []struct {
		header     http.Header
		hops       int
		isDelivery bool
	}{
		{http.Header{}, 0, false},
		{http.Header{"User-Agent": {"curl/8"}}, 0, false},
		{http.Header{"User-Agent": {"toot-go"}}, 0, true},
		{http.Header{"User-Agent": {"toot-go"}, "X-Toot-Hops": {"2"}}, 2, true},
		{http.Header{"X-Toot-Hops": {"0"}}, 0, true},
		{http.Header{"X-Toot-Hops": {"3"}}, 3, true},
		{http.Header{"X-Toot-Hops": {"99999999999999999999"}}, math.MaxInt32, true},
		{http.Header{"X-Toot-Hops": {"-1"}}, math.MaxInt32, true},
		{http.Header{"X-Toot-Hops": {"none"}}, math.MaxInt32, true},
	} {
		if hops, isDelivery := DeliveryHops(c.header); hops != c.hops || isDelivery != c.isDelivery {
			t.Errorf("%v: %d, %v, want %d, %v", c.header, hops, isDelivery, c.hops, c.isDelivery)
		}
	}
}

// TestHopsAreKeptBesideTheTrace: both are lines of what is kept with an event,
// and an event without either has nothing kept.
func TestHopsAreKeptBesideTheTrace(t *testing.T) {
	trace := http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	kept := DecodeTrace(append(EncodeHops(2), EncodeTrace(trace)...))
	if len(kept) != 2 || kept.Get(HopsHeader) != "2" || kept.Get("Traceparent") != trace.Get("Traceparent") {
		t.Errorf("kept %v", kept)
	}
	if meta := append(EncodeHops(0), EncodeTrace(http.Header{})...); meta != nil {
		t.Errorf("kept %q of nothing", meta)
	}
}
