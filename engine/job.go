package engine

import (
	"fmt"
	"time"
)

// Kind is what is to be done with an event.
type Kind uint8

// The kinds of work, in the order in which an event meets them.
const (
	// FanOut turns an event into one Deliver job for each subscriber.
	FanOut Kind = 1 + iota
	// Deliver sends an event to a callback URL.
	Deliver
	// Handle runs a subscription's handler on an event.
	Handle
)

// String returns "fanout", "deliver" or "handle".
func (k Kind) String() string {
	switch k {
	case FanOut:
		return "fanout"
	case Deliver:
		return "deliver"
	case Handle:
		return "handle"
	}
	return "unknown"
}

// MarshalText returns what String does, so that JSON has the names of kinds.
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText returns.
func (k *Kind) UnmarshalText(text []byte) error {
	for _, known := range []Kind{FanOut, Deliver, Handle} {
		if known.String() == string(text) {
			*k = known
			return nil
		}
	}
	return fmt.Errorf("engine: %q is no kind of work", text)
}

// Lane is where jobs wait. Lanes are independent: one that is full, deferred
// or slow costs the others nothing. A lane exists while something refers to it.
type Lane struct {
	Kind Kind
	// Name is the channel for FanOut, the callback URL for Deliver and the
	// subscription's name for Handle. Never empty.
	Name string
}

// Event is what jobs are about. Engines keep and return it unchanged.
type Event struct {
	ID      string // never empty
	Channel string
	Body    []byte // as it goes over the wire
	// Meta is kept beside the body for the caller's own use, such as the
	// context of a trace. Usually empty; nil and empty are the same.
	Meta []byte
	// Replay marks an event that is sent again on purpose: with another mark
	// its jobs are other jobs. Empty for the first time.
	Replay string
}

// Job is one unit of work to be stored.
type Job struct {
	// Event is what the job is about. Jobs that share the pointer share the
	// stored bytes. In Outcome.Follow nil means the settled job's own event.
	Event *Event
	Lane  Lane
	// Delay is how long from now the job is due. Zero or less means now.
	Delay time.Duration
	// Lease, if more than zero, stores the job as already claimed for that
	// long by whoever pushes it, so that it can be worked on at once without
	// being read back. Delay is then ignored.
	Lease time.Duration
	// Past, unless nil, is what has become of a job before it came here, from
	// another queue: a Retry, a Bury or a Release. In one step the job is stored
	// as if it had been claimed once and had come to that outcome, whose Ticket
	// and Follow are ignored, as are Delay and Lease. After a Release it waits as
	// after a Retry, After from now with Attempt and History, but counts as never
	// claimed. There is no ticket. A job that is already there stays as it is. In
	// Outcome.Follow it must be nil.
	Past *Outcome
	// Age is how long ago a job with a Past was pushed to where it was before,
	// ten years at most. It counts as pushed then; the dedupe window begins
	// now. Without a Past it says nothing.
	Age time.Duration
}

// maxAge is the most that Job.Age says.
const maxAge = 10 * 365 * 24 * time.Hour

// PushedAgo is how long ago a job that is pushed now counts as pushed, as Age
// says.
func (j *Job) PushedAgo() time.Duration {
	if j.Past == nil {
		return 0
	}
	return min(max(j.Age, 0), maxAge)
}

// Ticket names one claim of one job. Only the engine that issued it
// understands it. Empty means no claim.
type Ticket string
