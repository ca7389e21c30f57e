package once

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/internal/dialect"
)

const (
	// sweepEvery is how often old notes are looked for.
	sweepEvery = time.Hour
	// sweepOn is the pause while there may be more of them.
	sweepOn = time.Second
	// sweepRows is how many are deleted at once.
	sweepRows = 1000
	// sweepTimeout bounds that.
	sweepTimeout = 5 * time.Second
	// sweepMargin is for how much longer than events are run notes are kept:
	// the clocks of publishers, of this process and of the database may differ.
	sweepMargin = 24 * time.Hour
)

// sweeper says when old notes are deleted next.
type sweeper struct {
	mu   sync.Mutex
	next time.Time
}

// isDue reports whether to delete old notes now, to one caller.
func (s *sweeper) isDue(now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if now.Before(s.next) {
		return false
	}
	s.next = now.Add(sweepEvery)
	return true
}

func (s *sweeper) goOn(now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next = now.Add(sweepOn)
}

// sweep deletes some of the notes that nobody needs any more, now and then. It
// is done by whoever has handled an event: notes grow only where events are
// handled.
func (in *Inbox[T]) sweep(ctx context.Context) {
	if in.keep < 0 || !in.sweeper.isDue(time.Now()) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), sweepTimeout)
	defer cancel()
	deleted, err := in.db.ExecAlone(ctx, in.sweeping())
	switch {
	case dialect.IsConflict(err), deleted == sweepRows:
		in.sweeper.goOn(time.Now())
	case err != nil:
		in.log.Warn("inbox: can't delete old notes; will try again in an hour", "table", in.table, "error", err)
	}
}

// sweeping is the statement that deletes the oldest notes.
func (in *Inbox[T]) sweeping() string {
	// In a query of its own it is asked once, so that the index serves.
	before := "(SELECT " + in.dialect.NowMillis() + " - " + strconv.FormatInt((in.keep+sweepMargin).Milliseconds(), 10) + ")"
	oldest := " WHERE noted_ms < " + before + " ORDER BY noted_ms LIMIT " + strconv.Itoa(sweepRows)
	switch in.dialect {
	case dialect.MySQL:
		return "DELETE FROM " + in.table + oldest
	case dialect.Postgres: // one row after the other, or two who sweep would be in each other's way
		return "DELETE FROM " + in.table + " WHERE ctid = ANY(ARRAY(SELECT ctid FROM " + in.table + oldest + " FOR UPDATE SKIP LOCKED))"
	default:
		return "DELETE FROM " + in.table + " WHERE (subscription, event) IN (SELECT subscription, event FROM " + in.table + oldest + ")"
	}
}
