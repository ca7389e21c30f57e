package lanes

import (
	"testing"
	"time"
)

// Many requests in flight are for endpoints where they don't queue up.
func TestManyRequestsAreForTheVeryQuick(t *testing.T) {
	h := newHealth(128, time.Minute)
	for range 1000 {
		h.good(veryQuick, 4*time.Second)
	}
	if h.limit != manyRequests {
		t.Errorf("an endpoint that answers in %v gets %d", veryQuick, h.limit)
	}
	for range 1000 {
		h.good(veryQuick-1, 4*time.Second)
	}
	if h.limit != 128 {
		t.Errorf("an endpoint that answers in less gets %d", h.limit)
	}
}

func TestCircuit(t *testing.T) {
	h := newHealth(32, time.Minute)
	if h.limit != 1 || !h.sick() || h.open() {
		t.Fatalf("a new lane: %+v", h)
	}
	for range 100 {
		h.good(time.Second, 4*time.Second)
	}
	if h.limit != 32 || h.sick() {
		t.Fatalf("after good answers: %+v", h)
	}
	h.good(time.Second, time.Second)
	for i := range 4 {
		if rest := h.bad(false, 0); rest != 0 {
			t.Fatalf("rests after failure %d", i+1)
		}
	}
	if h.limit != 2 || !h.sick() {
		t.Errorf("after four failures: %+v", h)
	}
	want := []time.Duration{1, 2, 4, 8, 16, 32, 60, 60, 60}
	for i, seconds := range want {
		if rest := h.bad(false, 0); rest != seconds*time.Second {
			t.Errorf("rest %d is %v, want %vs", i, rest, seconds)
		}
		if !h.open() || h.limit != 1 {
			t.Errorf("not open: %+v", h)
		}
	}
	for range 100 {
		h.bad(false, 0)
	}
	if rest := h.bad(false, 0.999); rest < 48*time.Second || rest > time.Minute {
		t.Errorf("with jitter: %v", rest)
	}
	h.good(time.Second, 4*time.Second)
	if h.open() || h.sick() {
		t.Errorf("after a good probe: %+v", h)
	}
	h.bad(true, 0)
	if rest := h.bad(true, 0); rest != time.Second {
		t.Errorf("two requests that hang: rest %v", rest)
	}
}

// However many requests it had in flight, an endpoint is probed with one.
func TestAnOpenCircuitLeavesOneRequest(t *testing.T) {
	h := newHealth(128, time.Minute)
	h.limit = 128
	h.bad(true, 0)
	if h.limit != 64 {
		t.Errorf("after a request that hangs: %d", h.limit)
	}
	h.bad(true, 0)
	if h.limit != 1 || !h.open() {
		t.Errorf("after two: %+v", h)
	}
}
