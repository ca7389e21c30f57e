package engine

import "time"

// Retention is how long an engine remembers what is over. Engines take it
// in their options; zero fields mean the defaults.
type Retention struct {
	// Dedupe is the time after a job was pushed in which pushing it again is
	// a no-op even though it is done, dead or discarded. Default 1 hour.
	// Engines may remember for up to twice as long. Afterwards a dead job's
	// identity is free for a new job; redriving the dead one then may run
	// beside it or be merged into it.
	Dedupe time.Duration
	// DeadAge is how long dead letters are kept. Default 180 days.
	DeadAge time.Duration
	// DeadMax is how many dead letters are kept, the newest. Default 10,000.
	DeadMax int
}

// The defaults of Retention. The latter two are those of Sidekiq's dead set.
const (
	DefaultDedupe  = time.Hour
	DefaultDeadAge = 180 * 24 * time.Hour
	DefaultDeadMax = 10_000
)

// WithDefaults returns r with its zero fields replaced by the defaults.
func (r Retention) WithDefaults() Retention {
	if r.Dedupe <= 0 {
		r.Dedupe = DefaultDedupe
	}
	if r.DeadAge <= 0 {
		r.DeadAge = DefaultDeadAge
	}
	if r.DeadMax <= 0 {
		r.DeadMax = DefaultDeadMax
	}
	return r
}
