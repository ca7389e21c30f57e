package engine

import (
	"context"
	"time"
)

// Inspector is implemented by engines that can tell what is waiting.
type Inspector interface {
	// Lanes returns the state of each lane that has jobs, is deferred, or
	// has dead letters, in ascending order of kind and name. It may take
	// time in proportion to the number of jobs.
	Lanes(ctx context.Context) ([]LaneStats, error)

	// LanePage returns a page of the lanes that have jobs or are deferred, in
	// ascending order of kind and name. Its cost grows with the number of
	// lanes on the page and not with the number of jobs. What it says may be
	// up to five seconds old.
	LanePage(ctx context.Context, q LaneQuery) ([]LaneSummary, error)
}

// LaneStats is what a lane holds.
type LaneStats struct {
	Lane     Lane
	Waiting  int           // not leased: due now or later
	Leased   int           // claimed, not settled
	Later    int           // of Waiting: not due yet
	Retrying int           // of Waiting: tried before (Attempt > 0)
	Dead     int           // in the dead letters
	Oldest   time.Duration // age of the oldest job not dead, by the time it was pushed
	// Overdue is for how long the job of Waiting that became due first has been
	// due, whether or not the lane is deferred. Zero if none is due.
	Overdue  time.Duration
	Deferred time.Duration // how much longer nobody claims from it
}

// LaneQuery selects a page of lanes.
type LaneQuery struct {
	// Kind restricts the page to lanes of that kind; 0 for all.
	Kind Kind
	// After continues a listing behind the lane of that name and kind. Its
	// zero value begins one.
	After Lane
	// Max is the most lanes to return; 0 means 100.
	Max int
}

// LaneSummary is what can be told quickly of a lane.
type LaneSummary struct {
	Lane     Lane
	Jobs     int           // waiting or claimed
	Deferred time.Duration // how much longer nobody claims from it
	// Next is how long until its next job is due, or the next lease ends,
	// whether or not the lane is deferred; negative if that is overdue. Zero
	// if there are no Jobs.
	Next time.Duration
}
