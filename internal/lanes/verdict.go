package lanes

import "time"

// Action is what becomes of a job after a try.
type Action uint8

// The actions.
const (
	Finish   Action = 1 + iota // it is done
	TryAgain                   // it failed: Config.Retry says when again
	Bury                       // it failed for good: to the dead letters
	GiveBack                   // it was not really tried: due again after a while
	GoOn                       // a part of it is done, and it is tried again at once for the rest
)

// failed says that a try went wrong, so that Config.Retry is asked.
func (a Action) failed() bool { return a == TryAgain || a == Bury }

// Evidence is what a try says about the lane, apart from the job.
type Evidence uint8

// The kinds of evidence.
const (
	None     Evidence = iota
	Works             // the lane works
	Trouble           // the lane is in trouble
	TimedOut          // the lane hangs
)

// Verdict is the judgement on one try of one job.
type Verdict struct {
	Action   Action
	Evidence Evidence
	// After is the least time before the job's next try, if HasAfter (or if
	// GiveBack).
	After    time.Duration
	HasAfter bool
	// LaneWaits makes the whole lane wait for After.
	LaneWaits bool
	// Answered says that Round is known: how many jobs the lane takes in one
	// try; 0 for one.
	Answered bool
	Round    int
	// RefusesRounds says that the lane takes one job at a time for now,
	// whatever it says.
	RefusesRounds bool
	// LostClaims are claims that ended without an outcome, to be held against
	// the job.
	LostClaims int
	// Follow are jobs that appear exactly if the job is Finished, or, of one
	// that is to GoOn, if the part is.
	Follow Push
	// History replaces that of a job that is to GoOn. It is stored in one step
	// with Follow, so that whoever has the job next knows what is done.
	History []byte

	// What follows is for Config.Retry and Config.Ended; nothing here reads it.

	Reason      string // why it failed
	Status      int    // of an answer, 0 if there was none
	CutOff      bool   // the answer did not come whole
	Unsubscribe bool   // the lane wants no more of the event's channel
}

// Failure is a try that went wrong.
type Failure struct {
	Verdict Verdict
	Attempt int           // tries before this one that count
	History []byte        // as stored
	Age     time.Duration // of the job now
	At      time.Time     // for people to read
	// ProbeIn, unless negative, makes the job due again after that time
	// instead of by the schedule, as what is tried then is the lane.
	ProbeIn time.Duration
	// AskedFor, unless negative, replaces the schedule: the next try is after
	// that time, and counts.
	AskedFor time.Duration
	// NoLaterThan, unless 0, makes the job due again after that time at the
	// latest: it may be the lane, rather than the job.
	NoLaterThan time.Duration
}
