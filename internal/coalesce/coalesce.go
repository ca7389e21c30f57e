// Package coalesce turns many concurrent calls into few: what is submitted
// while one flush is under way gathers for the next. There is no timer, so
// nothing waits when there is nothing to share a flush with.
package coalesce

import (
	"runtime"
	"sync"
)

// Batcher gathers items and flushes them together, one flush at a time. Its
// methods may be called concurrently.
type Batcher[T comparable] struct {
	flush    func(items []T)
	size     func(item T) int
	most     int
	limits   Limits[T]
	room     room
	patience patience

	mu       sync.Mutex
	pending  []T
	spare    []T // the memory of the last flush, for the next one
	flushing bool
	idle     sync.WaitGroup
}

// New returns a Batcher. The sizes of the items of one flush add up to no more
// than most, unless it is a single item. flush must not keep the slice. Items
// whose Do has given up before their flush began are left out.
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
			b.flushWaiting(rest[:n])
			rest = rest[n:]
		}
		clear(items)
		b.spare = items
	}
}

// flushWaiting flushes those of the items that nobody has given up.
func (b *Batcher[T]) flushWaiting(items []T) {
	n := 0
	for _, item := range items {
		if w, ok := any(item).(waiting); ok && !w.begin() {
			b.free(item)
			continue
		}
		items[n] = item
		n++
	}
	if n == 0 {
		return
	}
	b.flush(items[:n])
	for _, item := range items[:n] {
		b.free(item)
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

// Wait returns when nothing is pending and no flush is under way.
func (b *Batcher[T]) Wait() { b.idle.Wait() }
