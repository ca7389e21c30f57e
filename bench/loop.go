package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// load is how events are published in a closed loop.
type load struct {
	publishers int // goroutines
	batch      int // events a call
	window     int // arrivals outstanding at the most
}

// loop publishes events and counts their arrival.
type loop struct {
	load
	fan     int // arrivals for each event
	publish func(ctx context.Context, from, n int) error
	// settled reports that nothing is left to do in any store.
	settled func(context.Context) (bool, error)

	ledger *ledger
	room   *room
	next   atomic.Int64
}

func newLoop(l load, fan int) *loop {
	return &loop{load: l, fan: fan, ledger: newLedger(), room: newRoom(max(l.window, l.batch*fan), l.batch*fan)}
}

// arrive is called with each arrival.
func (l *loop) arrive(n int) {
	l.ledger.mark(n)
	l.room.give(1)
}

// run publishes for a while, waits until everything has arrived and is
// settled, and returns how many arrivals that were.
func (l *loop) run(ctx context.Context, d time.Duration) (int, error) {
	ctx, stop := l.watched(ctx)
	defer stop()
	before := l.published()
	end := time.Now().Add(d)
	if err := l.flood(ctx, func() bool { return time.Now().Before(end) }); err != nil {
		return 0, err
	}
	if err := l.finish(ctx); err != nil {
		return 0, err
	}
	return l.published() - before, nil
}

func (l *loop) published() int { return int(l.next.Load()) * l.fan }

// flood publishes without waiting for the end.
func (l *loop) flood(ctx context.Context, more func() bool) error {
	group, ctx := errgroup.WithContext(ctx)
	for range l.publishers {
		group.Go(func() error {
			for {
				if !l.room.take() {
					return context.Cause(ctx)
				}
				if !more() { // asked only now: there may have been a wait
					l.room.give(l.room.share)
					return nil
				}
				from := int(l.next.Add(int64(l.batch))) - l.batch
				if err := l.publish(ctx, from, l.batch); err != nil {
					l.room.close() // others wait there
					if cause := context.Cause(ctx); cause != nil {
						return cause
					}
					return err
				}
			}
		})
	}
	return group.Wait()
}

// floodWith publishes so many events, one call's at the least, without waiting for
// the end.
func (l *loop) floodWith(ctx context.Context, events int) error {
	var calls atomic.Int64
	most := int64(max(events/l.batch, 1))
	return l.flood(ctx, func() bool { return calls.Add(1) <= most })
}

// finish waits until everything published has arrived and is settled.
func (l *loop) finish(ctx context.Context) error {
	for int(l.ledger.arrived.Load()) < l.published() {
		if err := nap(ctx); err != nil {
			return err
		}
	}
	for {
		settled, err := l.settled(ctx)
		if err != nil {
			return err
		}
		if settled {
			return l.ledger.check(l.published())
		}
		if err := nap(ctx); err != nil {
			return err
		}
	}
}

// nap is short beside a measurement and long beside a look at what is missing.
func nap(ctx context.Context) error {
	select {
	case <-time.After(time.Millisecond):
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// patience is how long nothing may arrive before something counts as lost.
const patience = 30 * time.Second

var errStuck = errors.New("events have stopped to arrive")

// watched returns a context that ends when nothing moves any more, and with
// it the waiting for room.
func (l *loop) watched(ctx context.Context) (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	forget := context.AfterFunc(ctx, l.room.close)
	var watcher sync.WaitGroup
	watcher.Go(func() {
		last, since := int64(-1), time.Now()
		for {
			select {
			case <-ctx.Done():
				return
			case <-time.After(time.Second):
			}
			now := l.ledger.arrived.Load() + l.next.Load()
			if now != last {
				last, since = now, time.Now()
			} else if time.Since(since) > patience {
				cancel(fmt.Errorf("%w: %d of %d came, and not all are settled", errStuck, l.ledger.arrived.Load(), l.published()))
				return
			}
		}
	})
	return ctx, func() {
		forget()
		cancel(nil)
		watcher.Wait()
	}
}

// room bounds what is outstanding. It allocates nothing, so that it does not
// count among what is measured.
type room struct {
	share int // what every taker takes

	mu      sync.Mutex
	more    sync.Cond
	free    int
	waiting int
	closed  bool
}

func newRoom(size, share int) *room {
	r := &room{share: share, free: size}
	r.more.L = &r.mu
	return r
}

// take waits for room. It reports false once the room is closed.
func (r *room) take() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for r.free < r.share && !r.closed {
		r.waiting++
		r.more.Wait()
		r.waiting--
	}
	r.free -= r.share
	r.invite()
	return !r.closed
}

func (r *room) give(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.free += n
	r.invite()
}

// invite wakes a taker if there is room for one. r.mu is held.
func (r *room) invite() {
	if r.waiting > 0 && r.free >= r.share {
		r.more.Signal()
	}
}

func (r *room) close() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.closed = true
	r.more.Broadcast()
}
