// Package engine is the contract between toot and the place where it keeps
// what must not be lost: subscribers, jobs and leases.
//
// An engine stores jobs and hands them out; it decides nothing. It knows no
// HTTP, no JSON and no retry schedule. All times that it is given are durations
// from now, by the store's clock, so that machines whose clocks differ can share
// one store.
//
// The store's clock runs evenly: it is wall time plus an offset that is kept in
// the store. Wall time has jumped if, between two calls of a process, it disagrees
// by more than ten seconds with the process's monotonic time. The offset then makes
// up for the jump: nothing that waits stands still, and no lease ends early. It is no
// jump if a machine slept while the calls of others moved the store's clock on.
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
	// ErrUncertain is what an error wraps if the call may have taken effect
	// all the same, wholly or in part: the store's answer was lost.
	ErrUncertain = errors.New("engine: it is not known whether the call took effect")
)

// Engine is a durable store of subscribers and jobs.
//
// All methods may be called concurrently, by many goroutines and, where the
// store can be shared, by many processes. When a method that writes returns
// nil, what it wrote survives the death of the process, and of the machine as
// far as the store's own configuration promises it. When it returns an error,
// nothing of the call is visible, except where the method says otherwise or
// the error wraps ErrUncertain.
//
// What is invalid is the same for every engine: what the Validate methods and
// functions of this package refuse, which engines call before anything else of
// a call takes effect.
//
// A context that ends while a call waits makes it return the context's error.
// A write that had been handed to the store by then may still take effect.
type Engine interface {
	// AddSubscriber registers a callback URL on a channel and reports
	// whether it was new there. A lease of more than zero makes the
	// registration end after that time: from then on the callback URL is no
	// subscriber, exactly as if it had been removed. Adding it again makes
	// its registration as old as this call, with the end that this call says,
	// or none.
	AddSubscriber(ctx context.Context, channel, callbackURL string, lease time.Duration) (added bool, err error)

	// RemoveSubscriber takes a callback URL off a channel and reports
	// whether it was there. If olderThan is more than zero, it does so only
	// if the last AddSubscriber was at least that long ago: an answer to a
	// request that began before a registration says nothing about that
	// registration. One whose age the store does not know, because another
	// program wrote it, counts as old. So that what other programs wrote can
	// be removed, an empty callback URL is not ErrInvalid here.
	RemoveSubscriber(ctx context.Context, channel, callbackURL string, olderThan time.Duration) (removed bool, err error)

	// Subscribers returns the callback URLs of a channel, as of a moment
	// after the call began, in no particular order. The caller must not
	// change the slice.
	Subscribers(ctx context.Context, channel string) ([]string, error)

	// Channels returns every channel whose name starts with prefix and that
	// has at least one subscriber, with its callback URLs in ascending order.
	Channels(ctx context.Context, prefix string) (map[string][]string, error)

	// Push stores the jobs of the request, all or none, and answers with the
	// subscribers of its channels, as of a moment after the call began. A
	// publisher that pushes deliveries to the subscribers it knew of, and
	// then to those that it finds to have been missing, has missed none,
	// whichever process registered them. An event's bytes are stored once,
	// however many jobs of the call refer to it (by the same pointer).
	//
	// A job's identity is its event's channel, ID and replay mark, and its
	// lane. Pushing a job that is already there, or that was there within the
	// dedupe window (see Retention), is a no-op. It is therefore safe to
	// repeat a Push whose outcome is unknown.
	//
	// An engine that is split into shards, or that cuts large calls, is atomic
	// for all the jobs of one event; on an error that wraps ErrUncertain it may
	// have stored the jobs of other events. A channel whose subscribers can't be read has an error
	// of its own in the result, and stops neither the jobs nor the others.
	Push(ctx context.Context, req PushRequest) (PushResult, error)

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

	// Ping asks the store for something small that is never answered from
	// memory, and returns the error with which it does not answer.
	Ping(ctx context.Context) error

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
