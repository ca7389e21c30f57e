package memengine

import (
	"context"
	"time"
)

// AwaitTried waits until all that can be done about an event now has been
// tried: none of its jobs is claimed, and none is due in a lane that is not
// deferred. What is due later, such as the next try of a handler that failed,
// is not waited for, nor is an event of which nothing is in the store. The
// error is the context's, with which the wait ends.
//
// It is for tests, beside what engines have to do. It may be called
// concurrently.
func (e *Engine) AwaitTried(ctx context.Context, channel, eventID string) error {
	for {
		end, err := e.begin(ctx, nil)
		if err != nil {
			return err
		}
		if !e.s.isDue(channel, eventID, time.Now()) {
			end()
			return nil
		}
		if e.s.changed == nil {
			e.s.changed = make(chan struct{})
		}
		changed := e.s.changed
		end()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// isDue reports whether a job about an event is claimed or can be. The store
// is locked.
func (s *Store) isDue(channel, eventID string, now time.Time) bool {
	for lane, jobs := range s.lanes {
		for id, j := range jobs {
			if id.channel != channel || id.event != eventID {
				continue
			}
			if j.ticket != "" || !j.due.After(now) && !s.deferred[lane].After(now) {
				return true
			}
		}
	}
	return false
}

// noteChange tells those who wait that a job was settled or a lane deferred.
// The store is locked.
func (s *Store) noteChange() {
	if s.changed != nil {
		close(s.changed)
		s.changed = nil
	}
}
