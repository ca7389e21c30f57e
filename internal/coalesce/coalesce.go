// Package coalesce turns many concurrent calls into few: what is submitted
// while one flush is under way gathers for the next. There is no timer, so
// nothing waits when there is nothing to share a flush with.
package coalesce

import (
	"context"
	"runtime"
	"sync"
)

// Batcher gathers items and flushes them together, one flush at a time. Its
// methods may be called concurrently.
type Batcher[T comparable] struct {
	flush func(items []T)
	size  func(item T) int
	most  int

	mu       sync.Mutex
	pending  []T
	spare    []T // the memory of the last flush, for the next one
	flushing bool
	idle     sync.WaitGroup
}

// New returns a Batcher. The sizes of the items of one flush add up to no more
// than most, unless it is a single item. flush must not keep the slice.
func New[T comparable](most int, size func(T) int, flush func([]T)) *Batcher[T] {
	return &Batcher[T]{flush: flush, size: size, most: most}
}

// Submit hands over an item and returns at once. An item that finds the
// Batcher idle is flushed immediately. flush tells the submitter of the result
// by means of the item, see Waiter.
func (b *Batcher[T]) Submit(item T) {
	b.mu.Lock()
	b.pending = append(b.pending, item)
	if b.flushing {
		b.mu.Unlock()
		return
	}
	b.flushing = true
	b.idle.Add(1)
	b.mu.Unlock()
	go b.loop()
}

// loop flushes until nothing is pending.
func (b *Batcher[T]) loop() {
	defer b.idle.Done()
	for {
		runtime.Gosched() // on a busy machine, whoever is about to submit does so first
		b.mu.Lock()
		if len(b.pending) == 0 {
			b.flushing = false
			b.mu.Unlock()
			return
		}
		items := b.pending
		b.pending, b.spare = b.spare[:0], nil
		b.mu.Unlock()
		for rest := items; len(rest) > 0; {
			n := b.fits(rest)
			b.flush(rest[:n])
			rest = rest[n:]
		}
		clear(items)
		b.spare = items
	}
}

// fits returns how many of the items, of which there are some, go into one
// flush.
func (b *Batcher[T]) fits(items []T) int {
	size := b.size(items[0])
	for n := 1; n < len(items); n++ {
		if size += b.size(items[n]); size > b.most {
			return n
		}
	}
	return len(items)
}

// withdraw takes out an item that no flush has begun with, and reports whether
// it did.
func (b *Batcher[T]) withdraw(item T) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, p := range b.pending {
		if p == item {
			b.pending = append(b.pending[:i], b.pending[i+1:]...)
			return true
		}
	}
	return false
}

// Wait returns when nothing is pending and no flush is under way.
func (b *Batcher[T]) Wait() { b.idle.Wait() }

// Do submits an item and waits until its flush has called Finish of the item's
// Waiter, or until ctx ends. An item that no flush has begun with by then is
// taken back; one that is being flushed may yet take effect.
func (b *Batcher[T]) Do(ctx context.Context, item T, w *Waiter) error {
	b.Submit(item)
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
	}
	if b.withdraw(item) {
		return context.Cause(ctx)
	}
	select {
	case <-w.done:
		return w.err
	default:
		return context.Cause(ctx)
	}
}

// Waiter is embedded in items whose submitter waits for the result.
type Waiter struct {
	done chan struct{}
	err  error
}

// NewWaiter returns a Waiter for one item.
func NewWaiter() Waiter { return Waiter{done: make(chan struct{})} }

// Finish gives the result to whoever waits. It is called once.
func (w *Waiter) Finish(err error) {
	w.err = err
	close(w.done)
}
