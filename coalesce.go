package toot

import (
	"context"
	"runtime"
	"sync"
)

// batcher turns concurrent calls into few: while one flush is under way, what
// is submitted gathers for the next. An item that finds the batcher idle is
// flushed at once, by itself, so that batching adds no wait.
type batcher[T any] struct {
	flush func(items []T)
	size  func(item T) int
	most  int // the sizes of the items of a flush add up to no more, unless it is one

	mu       sync.Mutex
	pending  []T
	spare    []T
	flushing bool
	idle     sync.WaitGroup
}

func newBatcher[T any](most int, size func(T) int, flush func([]T)) *batcher[T] {
	return &batcher[T]{flush: flush, size: size, most: most}
}

// submit hands over an item. flush tells the submitter of the result by
// means of the item.
func (b *batcher[T]) submit(item T) {
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
func (b *batcher[T]) loop() {
	defer b.idle.Done()
	for {
		runtime.Gosched() // whoever is about to submit does, if the machine is busy
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
			n, size := 1, b.size(rest[0])
			for n < len(rest) {
				if size += b.size(rest[n]); size > b.most {
					break
				}
				n++
			}
			b.flush(rest[:n])
			rest = rest[n:]
		}
		clear(items)
		b.spare = items
	}
}

// withdraw takes an item out that no flush has begun with, and reports
// whether it did.
func withdraw[T comparable](b *batcher[T], item T) bool {
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

// wait returns when nothing is pending and no flush is under way.
func (b *batcher[T]) wait() { b.idle.Wait() }

// waiter is embedded in items whose submitter waits for the result.
type waiter struct {
	done chan struct{}
	err  error
}

func newWaiter() waiter { return waiter{done: make(chan struct{})} }

func (w *waiter) finish(err error) {
	w.err = err
	close(w.done)
}

// submitAndWait submits an item and waits for its flush, or for the end of
// ctx. An item still pending then is withdrawn; one being flushed may yet
// take effect.
func submitAndWait[T comparable](ctx context.Context, b *batcher[T], item T, w *waiter) error {
	b.submit(item)
	select {
	case <-w.done:
		return w.err
	case <-ctx.Done():
	}
	if withdraw(b, item) {
		return context.Cause(ctx)
	}
	select {
	case <-w.done:
		return w.err
	default:
		return context.Cause(ctx)
	}
}
