// Package outage says how long engines keep it from their callers that a server
// can't be reached.
package outage

import (
	"sync"
	"sync/atomic"
	"time"
)

// Patience is for how long an outage is kept from callers, if their contexts
// allow it: a restart, say. When it has lasted longer, calls fail at once until
// one succeeds.
const Patience = 5 * time.Second

// Outage is since when all calls fail. Its zero value is none. Its methods may be
// called concurrently.
type Outage struct {
	lasts atomic.Bool

	mu    sync.Mutex
	since time.Time
	last  time.Time // that a call failed
}

// Failed notes that a call has failed which began at some time, and returns
// until when the outage is kept from its caller. If nobody has called for a
// while, nothing is known of an outage before.
func (o *Outage) Failed(began time.Time) (until time.Time) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	if !o.lasts.Load() || now.Sub(o.last) > Patience {
		o.since = began
	}
	o.last = now
	o.lasts.Store(true)
	return o.since.Add(Patience)
}

// Over notes that a call has succeeded.
func (o *Outage) Over() {
	if o.lasts.Load() {
		o.lasts.Store(false)
	}
}
