package lanes

import (
	"time"
)

// health is what a lane's answers tell about its endpoint: how many requests
// it may have in flight, and whether it is given a rest. Pure; the dispatcher
// guards it.
type health struct {
	limit  int  // requests in flight
	max    int  // the most that limit may become
	proven bool // has answered well since the last trouble
	fails  int  // failures in a row, weighted
	opened int  // how often in a row the circuit has opened
	probe  time.Duration
}

const (
	openAfter     = 5               // weighted failures in a row
	timeoutWeight = 3               // a request that hangs costs more than one refused
	firstProbe    = 1 * time.Second // doubled each time, up to Options.ProbeInterval

	// So many requests in flight only an endpoint gets that answers so quickly.
	// A server with a few threads, where requests queue up, has had enough.
	manyRequests = 64
	veryQuick    = 50 * time.Millisecond
)

func newHealth(maxLimit int, probe time.Duration) health {
	return health{limit: 1, max: maxLimit, probe: probe}
}

// sick reports a lane that has yet to show that it works.
func (h *health) sick() bool { return !h.proven }

// open reports a circuit that has opened and not closed since.
func (h *health) open() bool { return h.opened > 0 }

// suspect reports failures in a row, if not yet enough to open the circuit.
func (h *health) suspect() bool { return h.fails >= 2 }

// good records a good answer and how long it took. Those within quick let the
// limit grow: it doubles with each round of answers.
func (h *health) good(took, quick time.Duration) {
	h.fails, h.opened, h.proven = 0, 0, true
	if h.limit >= manyRequests {
		quick = min(quick, veryQuick)
	}
	if took < quick && h.limit < h.max {
		h.limit++
	}
}

// bad records a failure and returns for how long the lane is to rest, 0 for
// not at all. jitter is from [0, 1).
func (h *health) bad(timedOut bool, jitter float64) time.Duration {
	h.limit = max(h.limit/2, 1)
	h.proven = false
	h.fails++
	if timedOut {
		h.fails += timeoutWeight - 1
	}
	if h.fails < openAfter {
		return 0
	}
	h.limit = 1
	rest := h.probe
	if h.opened < 16 {
		rest = min(firstProbe<<h.opened, h.probe)
	}
	h.opened++
	return rest - time.Duration(jitter*float64(rest)/5)
}
