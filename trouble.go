package toot

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/lanes"
)

const (
	// sayAgain is how long after a handler's failure was logged another one is:
	// twice as long each time while it goes on, up to the most.
	sayAgain     = time.Minute
	sayAgainMost = time.Hour
)

// trouble is how a subscription's handler fares, as far as the log is concerned.
// The first failure is said at once, others sparingly, and once after that it is
// said that the handler works again.
type trouble struct {
	said atomic.Bool // that it fails, and not since that it works

	mu    sync.Mutex // guards what follows
	next  time.Time  // when a failure is said again
	pause time.Duration
	since int // failures that were not said
}

// failed notes a failure. It reports whether to say so, and how many there were
// since that was said last, this one included.
func (t *trouble) failed(now time.Time) (failures int, say bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.since++
	if now.Before(t.next) {
		return 0, false
	}
	if now.Sub(t.next) > t.pause { // it has been quiet
		t.pause = 0
	}
	t.pause = min(max(2*t.pause, sayAgain), sayAgainMost)
	t.next = now.Add(t.pause)
	failures, t.since = t.since, 0
	t.said.Store(true)
	return failures, true
}

// works notes a success. It reports whether to say so.
func (t *trouble) works() bool { return t.said.Load() && t.said.CompareAndSwap(true, false) }

// ended tells the log how the handlers fare, and then what c.ended tells.
func (s *subscriber) ended() func(*lanes.Lane, []*lanes.Job, []lanes.Verdict, []engine.Outcome) {
	next := s.core.ended(engine.Handle)
	return func(l *lanes.Lane, jobs []*lanes.Job, verdicts []lanes.Verdict, outcomes []engine.Outcome) {
		if t, ok := l.Peer().(*trouble); ok {
			for i, j := range jobs {
				s.say(t, l, j, &verdicts[i], &outcomes[i])
			}
		}
		next(l, jobs, verdicts, outcomes)
	}
}

func (s *subscriber) say(t *trouble, l *lanes.Lane, j *lanes.Job, v *lanes.Verdict, out *engine.Outcome) {
	switch out.Result {
	case engine.Done:
		if t.works() {
			s.log.Info("toot: handler works again", "lane", l.Shown())
		}
	case engine.Retry:
		if failures, say := t.failed(time.Now()); say {
			s.log.LogAttrs(context.Background(), slog.LevelWarn, "toot: handler failed; the event will be tried again",
				slog.String("lane", l.Shown()), slog.String("event", j.Event.ID), slog.String("channel", j.Event.Channel),
				slog.Int("attempt", out.Attempt), slog.String("error", v.Reason), slog.Duration("again_in", out.After), slog.Int("failures", failures))
		}
	}
}
