// Package engine is the contract between toot and the place where it keeps
// what must not be lost: subscribers, jobs and leases.
//
// An engine stores and hands out; it decides nothing. It knows no HTTP, no
// JSON, no retry schedule. Everything it is told in terms of time is a
// duration from now, by the engine's own clock, so that machines whose clocks
// differ can share one store.
//
// Package enginetest holds the conformance suite that every engine passes,
// and docs/engines.md is a guide to writing one.
package engine

import (
	"context"
	"errors"
	"time"
)

// Errors that every engine returns for these cases, possibly wrapped. Any
// other error means that the store could not do what was asked: the caller
// may try again.
var (
	// ErrClosed is returned by every method of an engine after Close.
	ErrClosed = errors.New("engine: closed")
	// ErrInvalid is returned for a request that no store could carry out,
	// such as a job without a lane. Trying again does not help.
	ErrInvalid = errors.New("engine: invalid request")
)

// Engine is a durable store of subscribers and jobs.
//
// All methods may be called concurrently, by many goroutines and, where the
// store can be shared, by many processes. When a method that writes returns
// nil, what it wrote survives the death of the process, and of the machine as
// far as the store's own configuration promises it. When it returns an error,
// nothing of the call is visible, except where the method says otherwise.
//
// A context that ends while a call waits makes it return the context's error.
// A write that had been handed to the store by then may still take effect.
type Engine interface {
	// AddSubscriber registers a callback URL on a channel and reports
	// whether it was new there.
	AddSubscriber(ctx context.Context, channel, callbackURL string) (added bool, err error)

	// RemoveSubscriber takes a callback URL off a channel and reports
	// whether it was there.
	RemoveSubscriber(ctx context.Context, channel, callbackURL string) (removed bool, err error)

	// Subscribers returns the callback URLs of a channel in no particular
	// order. It is called for each batch of published events, so an engine
	// answers from memory where it can; it never misses a subscriber that
	// was added, by any process, before the call began by more than the
	// time it takes an invalidation to arrive (at once within a process).
	// The caller must not change the slice.
	Subscribers(ctx context.Context, channel string) ([]string, error)

	// Channels returns every channel whose name starts with prefix and that
	// has at least one subscriber, with its callback URLs in ascending order.
	Channels(ctx context.Context, prefix string) (map[string][]string, error)

	// Push stores jobs, all or none. An event's bytes are stored once,
	// however many jobs of the call refer to it (by the same pointer).
	//
	// A job's identity is its event's ID together with its lane. Pushing a
	// job that is already there, or that was there within the dedupe window
	// (see Retention), is a no-op. It is therefore safe to repeat a Push
	// whose outcome is unknown.
	//
	// The result has one Ticket for each job, in order: empty for a job that
	// was already there or that was pushed without a Lease, otherwise the
	// ticket of the claim under which it was stored.
	//
	// An engine that is split into shards, or that cuts large calls, is atomic
	// for all the jobs of one event; on an error it may have stored the jobs
	// of other events.
	Push(ctx context.Context, jobs []Job) ([]Ticket, error)

	// Claim hands out due jobs under a lease: nobody else gets them until
	// the lease ends, and if they have not been settled by then they are due
	// again. An engine that knows the process that held a lease to be dead may
	// end it early. Lanes are served oldest first (by their earliest due job) and
	// fairly: no lane gets a second share of the same call before the others
	// had a first one, save where a limit says otherwise. Within a lane, jobs
	// come in order of the time at which they became due.
	Claim(ctx context.Context, req ClaimRequest) (ClaimResult, error)

	// Settle reports what became of claimed jobs. Outcomes are independent:
	// one whose ticket is stale (its lease ended and somebody else claimed
	// the job, or the job was settled already) changes nothing and is
	// reported as such, and the others take effect. A single outcome,
	// follow-up jobs included, is atomic.
	//
	// The result has one entry for each outcome, in order.
	Settle(ctx context.Context, outcomes []Outcome) ([]Settled, error)

	// Defer keeps every process from claiming from a lane for d from now.
	// Zero or less lifts a deferral. Jobs may be pushed meanwhile, also
	// under a lease. A later call replaces an earlier one.
	Defer(ctx context.Context, lane Lane, d time.Duration) error

	// Watch calls wake, from a goroutine of the engine's, whenever work of a
	// kind may have become claimable because of another process or of this
	// one. wake must not block. A hint may be spurious, late or lost: it
	// saves waiting, nothing else. stop ends the calls; none is running or
	// begins after it returned, so it must not be called from wake.
	Watch(wake func(Kind)) (stop func())

	// Close releases what the engine holds. Claimed jobs keep their leases.
	// It waits for calls under way. Closing twice is harmless.
	Close() error
}

// DeadLetters is implemented by engines whose dead letters can be looked at
// and worked on, which all of toot's own are.
type DeadLetters interface {
	// Dead returns dead jobs, the most recently buried first, those for
	// which the query's fields all match.
	Dead(ctx context.Context, q DeadQuery) ([]Dead, error)
	// Redrive makes dead jobs due now, as if never tried (their history is
	// kept), and returns how many of the IDs it found.
	Redrive(ctx context.Context, ids []string) (int, error)
	// Discard deletes dead jobs for good and returns how many of the IDs it
	// found.
	Discard(ctx context.Context, ids []string) (int, error)
}

// Inspector is implemented by engines that can tell what is waiting.
type Inspector interface {
	// Lanes returns the state of each lane that has jobs, is deferred, or
	// has dead letters, in ascending order of kind and name. It may take
	// time in proportion to the number of jobs.
	Lanes(ctx context.Context) ([]LaneStats, error)
}

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
}

// Ticket names one claim of one job. Only the engine that issued it
// understands it. Empty means no claim.
type Ticket string

// ClaimRequest says what a caller is able to work on now.
type ClaimRequest struct {
	Kind Kind
	// Max is the most jobs to hand out; at least 1.
	Max int
	// MaxPerLane is the most jobs to hand out from one lane; at least 1.
	MaxPerLane int
	// Limits replaces MaxPerLane for the lanes it names; 0 leaves a lane out.
	Limits map[string]int
	// Only, unless nil, restricts the claim to the lanes it names.
	Only []string
	// Lease is how long the jobs are the caller's. More than zero.
	Lease time.Duration
}

// ClaimResult is what Claim found.
type ClaimResult struct {
	Jobs []Claimed
	// Next is how long until a job of the request's kind, in a lane that the
	// request did not leave out, may become claimable, those that this call
	// left behind for Max or MaxPerLane included (0 then). Negative means
	// none is known. It may be too early, never too late, as far as pushes
	// that follow (Watch tells of those) leave it true.
	Next time.Duration
}

// Claimed is a job in the hands of a worker.
type Claimed struct {
	Ticket Ticket
	Event  *Event
	Lane   Lane
	// Attempt and History are as the last Retry (or Push: zero and nil) left
	// them. Engines do not read History.
	Attempt int
	History []byte
	// Claims counts how often the job has been claimed, this time included,
	// and claims that ended with Release left out.
	Claims int
	// Age is how long ago the job was pushed.
	Age time.Duration
}

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
	// Release gives the job back, due After from now, as if it had not been
	// claimed: Attempt and History stay as they were.
	Release
	// Extend makes the lease end After from now. Settled.Ticket replaces
	// the outcome's ticket.
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

// DeadQuery selects dead letters. Zero fields match everything.
type DeadQuery struct {
	Kind    Kind
	Lane    string // whole name
	Channel string // whole name
	Reason  string // a part of the reason, upper and lower case alike
	Since   time.Time
	Until   time.Time
	IDs     []string
	// After continues a listing behind the dead letter with that ID.
	After string
	// Max is the most to return; 0 means 100.
	Max int
}

// Dead is a job in the dead letters.
type Dead struct {
	ID      string // for Redrive and Discard
	Event   *Event
	Lane    Lane
	Attempt int
	History []byte
	Reason  string
	At      time.Time     // when it was buried
	Age     time.Duration // since it was pushed
}

// LaneStats is what a lane holds.
type LaneStats struct {
	Lane     Lane
	Waiting  int           // not leased: due now or later
	Leased   int           // claimed, not settled
	Retrying int           // of Waiting: tried before (Attempt > 0)
	Dead     int           // in the dead letters
	Oldest   time.Duration // age of the oldest job not dead, by the time it was pushed
	Deferred time.Duration // how much longer nobody claims from it
}

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
