package lanes

import (
	"math/rand/v2"
	"time"
)

// backoff spaces out attempts at a store that is out of reach.
type backoff struct{ n int }

// next returns the time to wait after one more failure.
func (b *backoff) next() time.Duration {
	b.n++
	d := min(50*time.Millisecond<<min(b.n-1, 6), 2*time.Second)
	return d - time.Duration(jitter()*float64(d)/2)
}

// first reports whether there was one failure so far.
func (b *backoff) first() bool { return b.n == 1 }

// over resets it and reports whether there had been a failure.
func (b *backoff) over() bool {
	n := b.n
	b.n = 0
	return n > 0
}

// jitter returns a random number from [0, 1).
func jitter() float64 {
	return rand.Float64() //nolint:gosec // G404: jitter is no secret
}
