package engine

import (
	"context"
	"time"
)

// Retention is how long a store remembers what is over. It belongs to the store:
// every engine on it goes by what is kept there, and by the defaults where
// nothing is.
//
// Engines take one in their options. Fields of it that are more than zero are
// written into the store with the first Claim, so by an app that runs, and are in
// force for all engines from then on; fields that are zero leave what the store
// has. Whoever opens a store and claims nothing, such as a tool that looks into
// it, changes nothing.
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
	return Retention{DefaultDedupe, DefaultDeadAge, DefaultDeadMax}.With(r)
}

// With returns r with those fields replaced that are more than zero in changes.
func (r Retention) With(changes Retention) Retention {
	if changes.Dedupe > 0 {
		r.Dedupe = changes.Dedupe
	}
	if changes.DeadAge > 0 {
		r.DeadAge = changes.DeadAge
	}
	if changes.DeadMax > 0 {
		r.DeadMax = changes.DeadMax
	}
	return r
}

// Retainer is implemented by engines that tell how long their store remembers,
// which all of toot's own do.
type Retainer interface {
	// Retention returns what is in force: what the store has, and the defaults
	// for the rest. What the engine was given when it was opened counts once it
	// has been written.
	Retention(ctx context.Context) (Retention, error)
}
