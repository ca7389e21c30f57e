package pgengine

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// readRetention returns what is in force.
func (e *Engine) readRetention(ctx context.Context, q querier) (engine.Retention, error) {
	var dedupe, age, most *int64
	err := q.QueryRow(ctx, e.sql("SELECT dedupe, dead_age, dead_max FROM toot.state"), e.mode).Scan(&dedupe, &age, &most)
	if err != nil {
		return engine.Retention{}, err
	}
	var kept engine.Retention
	if dedupe != nil {
		kept.Dedupe = time.Duration(*dedupe) * time.Microsecond
	}
	if age != nil {
		kept.DeadAge = time.Duration(*age) * time.Microsecond
	}
	if most != nil {
		kept.DeadMax = int(*most)
	}
	return kept.WithDefaults(), nil
}

// window is the dedupe window in microseconds, as state has it.
func window(dedupe *int64) int64 {
	if dedupe == nil {
		return engine.DefaultDedupe.Microseconds()
	}
	return max(1, *dedupe)
}

// Retention implements engine.Retainer.
func (e *Engine) Retention(ctx context.Context) (kept engine.Retention, err error) {
	err = e.try(ctx, "retention", again, func(ctx context.Context) error {
		var err error
		kept, err = e.readRetention(ctx, e.pool)
		return err
	})
	return kept, err
}

// retain writes what the engine was opened with into the store, once.
func (e *Engine) retain(ctx context.Context) error {
	if e.retained.Load() || e.wanted == (engine.Retention{}) {
		return nil
	}
	some := func(n int64) *int64 {
		if n <= 0 {
			return nil
		}
		return &n
	}
	_, err := e.pool.Exec(ctx, e.sql(`UPDATE toot.state SET dedupe = COALESCE($1, dedupe), dead_age = COALESCE($2, dead_age), dead_max = COALESCE($3, dead_max)`),
		e.mode, some(micros(e.wanted.Dedupe)), some(micros(e.wanted.DeadAge)), some(int64(e.wanted.DeadMax)))
	if err == nil {
		e.retained.Store(true)
	}
	return err
}
