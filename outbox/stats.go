package outbox

import (
	"context"
	"fmt"
	"time"
)

// Stats is what an outbox holds.
type Stats struct {
	// Waiting is how many events of transactions that have committed wait for a
	// relay.
	Waiting int
	// Oldest is for how long the oldest of them has been in the outbox, by the
	// database's clock. More than a few seconds says that no relay runs, or that
	// none gets through to the database or to the engine.
	Oldest time.Duration
	// SetAside is how many events can't be published, see Outbox.ListSetAside.
	SetAside int
}

// Stats counts what the outbox holds. It takes time in proportion to that.
func (o *Outbox) Stats(ctx context.Context) (Stats, error) {
	var s Stats
	var oldest int64
	now := o.dialect.NowMillis()
	err := o.db.QueryRowContext(ctx, "SELECT (SELECT COUNT(*) FROM "+o.opts.Table+"), COALESCE("+now+" - (SELECT MIN(created_ms) FROM "+o.opts.Table+"), 0), "+
		"(SELECT COUNT(*) FROM "+o.opts.Table+asideSuffix+")").Scan(&s.Waiting, &oldest, &s.SetAside)
	if err != nil {
		return Stats{}, fmt.Errorf("outbox: can't count what waits: %w", err)
	}
	s.Oldest = time.Duration(max(oldest, 0)) * time.Millisecond
	return s, nil
}
