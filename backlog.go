package toot

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// backlog is how many events wait to be handled, as counted of late. Counting
// may take the store a while, so it is done beside the requests, and seldom.
type backlog struct {
	over     atomic.Bool
	counting atomic.Bool
	next     atomic.Int64 // Unix time in nanoseconds from which to count again
}

// backlogged reports that Options.MaxBacklog was passed when last counted.
func (s *subscriber) backlogged() bool {
	if s.opts.MaxBacklog <= 0 {
		return false
	}
	if time.Now().UnixNano() >= s.backlog.next.Load() && s.backlog.counting.CompareAndSwap(false, true) {
		s.calls.join() // the caller has entered, so this is not the first
		go func() {
			defer s.calls.leave()
			s.countBacklog()
		}()
	}
	return s.backlog.over.Load()
}

func (s *subscriber) countBacklog() {
	defer s.backlog.counting.Store(false)
	const (
		often = time.Second // between two counts
		share = 20          // of the time may go to counting
	)
	began := time.Now()
	inspector, ok := s.engine.(engine.Inspector)
	if !ok {
		s.backlog.next.Store(began.Add(time.Hour).UnixNano())
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), engineTimeout)
	defer cancel()
	lanes, err := inspector.Lanes(ctx)
	took := time.Since(began)
	s.backlog.next.Store(time.Now().Add(max(often, share*took)).UnixNano())
	if err != nil {
		return // storing an event will fail, too, and say why
	}
	waiting := 0
	for _, l := range lanes {
		if l.Lane.Kind == engine.Handle {
			waiting += l.Waiting
		}
	}
	if over := waiting >= s.opts.MaxBacklog; s.backlog.over.Swap(over) != over {
		if over {
			s.log.Warn("toot: more events are waiting to be handled than MaxBacklog allows; publishers are told to wait", "waiting", waiting, "allowed", s.opts.MaxBacklog)
		} else {
			s.log.Info("toot: events are accepted again", "waiting", waiting)
		}
	}
}
