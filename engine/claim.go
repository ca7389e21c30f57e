package engine

import "time"

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
