package pgengine

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/watermarkchurch/toot-go/engine"
)

// Remember implements engine.Memory.
func (e *Engine) Remember(ctx context.Context, key string, value []byte, d time.Duration) (kept []byte, err error) {
	if err := engine.ValidateMemory(key, value, d); err != nil {
		return nil, err
	}
	err = e.try(ctx, "remember", again, func(ctx context.Context) error {
		now, _, err := e.storeTime(ctx, e.pool)
		if err != nil {
			return errBefore{err}
		}
		err = e.pool.QueryRow(ctx, e.sql(`INSERT INTO toot.memory AS m (key, value, until) VALUES ($1, $2, $3)
			ON CONFLICT (key) DO UPDATE SET value = $2, until = $3 WHERE m.until <= $4 RETURNING value`), e.mode, []byte(key), value, end(now, d), now).Scan(&kept)
		if !errors.Is(err, pgx.ErrNoRows) {
			return err
		}
		err = e.pool.QueryRow(ctx, e.sql("SELECT value FROM toot.memory WHERE key = $1"), e.mode, []byte(key)).Scan(&kept)
		if errors.Is(err, pgx.ErrNoRows) {
			return errMoved // it was deleted meanwhile
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}
