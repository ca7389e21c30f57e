package coalesce

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

var (
	// ErrFull is returned by Do, at once, when the limits are reached.
	ErrFull = errors.New("too many calls are waiting")
	// ErrNoAnswer is returned by Do when Limits.Patience is over.
	ErrNoAnswer = errors.New("there was no answer in time")
	// ErrBegun is what errors of Do wrap that gave up on an item whose flush
	// had begun: it may yet take effect.
	ErrBegun = errors.New("it may yet take effect")
)

// Limits bound what waits in a Batcher. A zero field means no limit.
type Limits[T any] struct {
	// Items and Bytes are how many items may be in the Batcher, pending or in
	// a flush, and how many bytes they may have, as BytesOf says. One item is
	// never refused for its bytes.
	Items   int
	Bytes   int
	BytesOf func(T) int
	// Patience is how long Do waits, or up to a fiftieth less.
	Patience time.Duration
}

// Limit sets the limits of Do; what is handed to Submit directly has none. It
// is called before any other method.
func (b *Batcher[T]) Limit(l Limits[T]) { b.limits = l }

// Do submits an item and waits until its flush has called Finish of the item's
// Waiter, until ctx ends, or for Limits.Patience. An item whose flush has not
// begun by then is taken back: it takes no effect. Otherwise the error wraps
// ErrBegun.
func (b *Batcher[T]) Do(ctx context.Context, item T, w *Waiter) error {
	if !b.take(item) {
		return ErrFull
	}
	b.Submit(item)
	var late <-chan struct{}
	if b.limits.Patience > 0 {
		late = b.patience.over(b.limits.Patience)
	}
	var why error
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
		why = context.Cause(ctx)
	case <-late:
		why = ErrNoAnswer
	}
	if w.giveUp() {
		return why
	}
	select {
	case <-w.done:
		return w.err
	default:
		return fmt.Errorf("%w: %w", ErrBegun, why)
	}
}

// room is how much is in a Batcher, where there is a limit.
type room struct{ items, bytes atomic.Int64 }

// take makes room for an item, or reports that there is none.
func (b *Batcher[T]) take(item T) bool {
	if b.limits.Items <= 0 {
		return true
	}
	size := b.limits.bytesOf(item)
	items, bytes := b.room.items.Add(1), b.room.bytes.Add(size)
	if items > int64(b.limits.Items) || b.limits.Bytes > 0 && bytes > int64(b.limits.Bytes) && items > 1 {
		b.free(item)
		return false
	}
	return true
}

// free gives back the room of an item.
func (b *Batcher[T]) free(item T) {
	if b.limits.Items > 0 {
		b.room.items.Add(-1)
		b.room.bytes.Add(-b.limits.bytesOf(item))
	}
}

func (l *Limits[T]) bytesOf(item T) int64 {
	if l.BytesOf == nil {
		return 0
	}
	return int64(l.BytesOf(item))
}

// Waiter is embedded in items whose submitter waits for the result.
type Waiter struct {
	done  chan struct{}
	err   error
	state atomic.Int32 // isPending, isBegun or isGivenUp
}

// The states of a Waiter. It leaves isPending once.
const (
	isPending int32 = iota
	isBegun         // its flush has begun
	isGivenUp       // its Do has returned
)

// waiting is implemented by items that have a Waiter.
type waiting interface{ begin() bool }

// NewWaiter returns a Waiter for one item.
func NewWaiter() Waiter { return Waiter{done: make(chan struct{})} }

// begin reports whether somebody still waits when the flush begins.
func (w *Waiter) begin() bool { return w.state.CompareAndSwap(isPending, isBegun) }

// giveUp reports whether the flush had not begun, and now never will.
func (w *Waiter) giveUp() bool { return w.state.CompareAndSwap(isPending, isGivenUp) }

// Finish gives the result to whoever waits. It is called once.
func (w *Waiter) Finish(err error) {
	w.err = err
	close(w.done)
}
