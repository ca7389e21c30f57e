package outbox

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/internal/dialect"
)

const (
	// soon is how long after something was put into the outbox a relay looks
	// first; while it finds nothing, it waits twice as long each time.
	soon = 2 * time.Millisecond
	// gather is the pause after a look that found something, but less than
	// is moved at once: what comes meanwhile shares a transaction.
	gather = 5 * time.Millisecond
	// lively is the longest pause for livelyFor after this process put something
	// into the outbox, whose transaction may be about to commit.
	lively    = 50 * time.Millisecond
	livelyFor = 10 * time.Second
	// failureMost is the longest pause after a failure; they begin with
	// failureFirst.
	failureFirst = 50 * time.Millisecond
	failureMost  = 5 * time.Second
	// sayAgain is how long after a failure was logged the next one is.
	sayAgain = time.Minute
	// fullShare is how much of its time, as one part of so many, a relay spends
	// on looks at the whole table. In between it looks behind the last row that
	// it has moved only.
	fullShare = 20
)

// Run moves what is in the outbox, once its transaction has committed, to the
// subscribers of that moment, until ctx ends; then it ends what it has begun,
// which takes five seconds at most, and returns nil. The app need not run in
// the same process; if it is closed, Run ends with toot.ErrClosed.
//
// Any number of processes may run it at the same time, on one outbox, each with
// an App on the same engine. While the database or the engine is out of reach
// it keeps trying. Events are published in the order in which they were
// written, but for those that commit late, and but for what several relays do
// to it.
func (o *Outbox) Run(ctx context.Context) error {
	r := relay{Outbox: o, rows: o.opts.MaxRows}
	for ctx.Err() == nil {
		// What has begun is ended though ctx ends: it has a time-out of its own.
		m, err := r.step(context.WithoutCancel(ctx))
		if errors.Is(err, toot.ErrClosed) {
			return toot.ErrClosed
		}
		r.wait(ctx, r.pause(m, err, time.Now()), err == nil && m.events == 0)
	}
	return nil
}

// relay is one run of Run.
type relay struct {
	*Outbox
	rows     int           // how many are moved at once: fewer where they are large, or take long
	last     int64         // the last row that was moved
	lookAll  time.Time     // when the whole table is looked at again
	found    bool          // the last look found something
	idle     time.Duration // the last pause after a look that found nothing
	lively   time.Time     // when something was last put into the outbox by this process
	failures int           // in a row
	said     time.Time     // when one was logged
}

// step looks for rows and moves them. While there are none a look is one
// statement.
func (r *relay) step(ctx context.Context) (moved, error) {
	ctx, cancel := context.WithTimeout(ctx, moveTimeout)
	defer cancel()
	began := time.Now()
	after, all := r.last, !began.Before(r.lookAll)
	if all {
		after = 0
	}
	var m moved
	there, err := r.found, error(nil)
	if !there {
		there, err = r.look(ctx, after)
		m.read = time.Since(began)
	}
	if err == nil && there {
		m, err = r.move(ctx, after, r.rows)
	}
	if all {
		r.lookAll = time.Now().Add(m.read * fullShare)
	}
	return m, err
}

// look reports whether there are rows after one.
func (r *relay) look(ctx context.Context, after int64) (bool, error) {
	query, args := r.dialect.Statement("SELECT n FROM "+r.opts.Table+" WHERE n > ? ORDER BY n LIMIT 1", after)
	rows, err := r.db.QueryContext(ctx, query, args...)
	if err != nil {
		return false, err
	}
	defer func() { _ = rows.Close() }()
	return rows.Next(), rows.Err()
}

// pause notes what came of a step and says for how long to wait.
func (r *relay) pause(m moved, err error, now time.Time) time.Duration {
	r.found = m.events > 0
	if err != nil {
		return r.failed(err, now)
	}
	if r.failures > 0 {
		if !r.said.IsZero() {
			r.opts.Logger.Info("outbox: events are moved again", "table", r.opts.Table)
		}
		r.failures, r.said = 0, time.Time{}
	}
	if m.events == 0 {
		most := r.opts.PollInterval
		if now.Sub(r.lively) < livelyFor {
			most = min(most, lively)
		}
		r.idle = min(max(2*r.idle, soon), most)
		return r.idle
	}
	r.idle, r.last = 0, max(r.last, m.last)
	full := m.events >= r.rows || m.bytes >= moveBytes
	fit := max(1, moveBytes/max(1, m.bytes/m.events)) // as many as have that size together
	r.rows = min(2*r.rows, fit, r.opts.MaxRows)
	if full {
		return 0
	}
	return gather
}

func (r *relay) failed(err error, now time.Time) time.Duration {
	r.failures++
	if dialect.IsConflict(err) && r.failures < 10 {
		return time.Duration(rand.Int64N(int64(failureFirst))) //nolint:gosec // it only has to differ
	}
	r.rows = max(1, r.rows/2) // it may have been too much at once
	if now.Sub(r.said) >= sayAgain {
		r.said = now
		r.opts.Logger.Warn("outbox: can't move events; will try again", "table", r.opts.Table, "error", err)
	}
	most := min(failureFirst<<min(r.failures, 10), failureMost)
	return most/2 + time.Duration(rand.Int64N(int64(most/2))) //nolint:gosec // it only has to differ
}

// wait waits until it is time for another step. An eager one is soon after this
// process puts something into the outbox.
func (r *relay) wait(ctx context.Context, pause time.Duration, eager bool) {
	if pause <= 0 {
		return
	}
	end := time.Now().Add(pause)
	timer := time.NewTimer(pause)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
			return
		case <-r.published:
			r.lively, r.idle = time.Now(), 0
			if eager && time.Until(end) > soon {
				end = r.lively.Add(soon)
				timer.Reset(soon)
			}
		}
	}
}
