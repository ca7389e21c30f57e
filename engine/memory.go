package engine

import (
	"context"
	"time"
)

// Memory is implemented by engines that can remember small values for a
// while, which all of toot's own do.
type Memory interface {
	// Remember keeps a value under a key for d, unless there is one under
	// that key already, and returns the value that is there now: of several
	// that are given for one key, by any engines on the store, the first is
	// returned to all of them until d, counted from its own call, has passed.
	// It may be there for longer, but does not stay for good.
	//
	// What is empty, key or value, and a d that is not positive are
	// ErrInvalid.
	Remember(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error)
}
