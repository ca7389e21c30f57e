package engine

import (
	"context"
	"time"
)

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
