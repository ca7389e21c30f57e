package engine

import "time"

// Result is what became of a claimed job.
type Result uint8

// The results. After Done, Retry, Bury and Release the ticket is spent.
const (
	// Done removes the job; it is remembered for the dedupe window.
	Done Result = 1 + iota
	// Retry makes the job due again After from now, with Attempt and History.
	Retry
	// Bury moves the job to the dead letters, with Attempt, History and
	// Reason.
	Bury
	// Release gives the job back as if it had not been claimed: Attempt and
	// History stay as they are (with what an Extend noted), and so does its
	// place in the lane: it is due since when it was before the claim (or the
	// Push under a lease), ahead of what came later; or, if After is more than
	// zero, After from now.
	Release
	// Extend makes the lease end After from now. Settled.Ticket replaces
	// the outcome's ticket. A History that is not nil replaces the job's, so
	// that, together with Follow, a long job can note how far it has come.
	Extend
)

// Outcome reports what became of one claimed job.
type Outcome struct {
	Ticket  Ticket
	Result  Result
	After   time.Duration
	Attempt int
	History []byte
	Reason  string
	// Follow are jobs that appear in the same step, exactly if the outcome
	// takes effect. Jobs that are already there are left as they are.
	Follow []Job
}

// Settled is the answer to one Outcome.
type Settled struct {
	// OK is false for a stale ticket: nothing was changed.
	OK bool
	// Ticket is the claim's new ticket after Extend.
	Ticket Ticket
	// Follow has a Ticket for each follow-up job, as Push returns them.
	Follow []Ticket
}
