package main

import (
	"fmt"
	"sync/atomic"
)

// maxArrivals is how many arrivals a ledger can tell apart.
const maxArrivals = 1 << 26

// ledger knows what has arrived, so that the figures are of events that did,
// each exactly once.
type ledger struct {
	seen    []atomic.Uint64 // a bit each; memory that is not touched costs none
	arrived atomic.Int64
	again   atomic.Int64
	unknown atomic.Int64
}

func newLedger() *ledger { return &ledger{seen: make([]atomic.Uint64, maxArrivals/64)} }

// mark notes an arrival.
func (l *ledger) mark(n int) {
	if n < 0 || n >= maxArrivals {
		l.unknown.Add(1)
		return
	}
	bit := uint64(1) << (n % 64)
	if l.seen[n/64].Or(bit)&bit != 0 {
		l.again.Add(1)
		return
	}
	l.arrived.Add(1)
}

// check is an error unless the arrivals 0 to want-1 have come once each.
func (l *ledger) check(want int) error {
	missing := 0
	for n := range want {
		if l.seen[n/64].Load()&(1<<(n%64)) == 0 {
			missing++
		}
	}
	again, unknown := l.again.Load(), l.unknown.Load()
	unknown += l.arrived.Load() - int64(want-missing)
	if missing+int(again)+int(unknown) > 0 {
		return fmt.Errorf("of %d events %d did not arrive, %d arrived again and %d nobody had published", want, missing, again, unknown)
	}
	return nil
}
