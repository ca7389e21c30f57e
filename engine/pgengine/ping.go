package pgengine

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Ping implements engine.Engine. It asks for something that takes a write, so that
// a standby shows.
func (e *Engine) Ping(ctx context.Context) error {
	return e.try(ctx, "ping", again, func(ctx context.Context) error {
		var standby bool
		if err := e.pool.QueryRow(ctx, e.sql("SELECT pg_is_in_recovery() FROM toot.state"), e.mode).Scan(&standby); err != nil {
			return err
		}
		if standby {
			return plain("the server is a standby: it can't be written to")
		}
		return nil
	})
}

// Defer implements engine.Engine.
func (e *Engine) Defer(ctx context.Context, lane engine.Lane, d time.Duration) error {
	if err := lane.Validate(); err != nil {
		return err
	}
	err := e.try(ctx, "defer", again, func(ctx context.Context) error {
		if d <= 0 {
			_, err := e.pool.Exec(ctx, e.sql("UPDATE toot.lanes SET deferred = 0 WHERE kind = $1 AND name = $2"), e.mode, int16(lane.Kind), []byte(lane.Name))
			return err
		}
		now, _, err := e.storeTime(ctx, e.pool)
		if err != nil {
			return errBefore{err}
		}
		_, err = e.pool.Exec(ctx, e.sql(`INSERT INTO toot.lanes (kind, name, next, deferred, idle) VALUES ($1, $2, $3, $4, $5)
			ON CONFLICT (kind, name) DO UPDATE SET deferred = $4`), e.mode, int16(lane.Kind), []byte(lane.Name), never, now+micros(d), now)
		return err
	})
	if err == nil && d <= 0 {
		e.hint(kindOf(lane.Kind))
	}
	return err
}
