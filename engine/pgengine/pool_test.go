package pgengine

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
)

// An engine on a pool of the caller's connects as the pool does, plans as an engine
// does, and leaves the pool and its sessions alone, all of which may be taken.
func TestACallersPoolIsLeftAlone(t *testing.T) {
	t.Parallel()
	config, err := pgxpool.ParseConfig(postgrestest.Database(t) + "&pool_max_conns=1")
	if err != nil {
		t.Fatal(err)
	}
	var before, after atomic.Int64
	right := config.ConnConfig.Port
	config.ConnConfig.Port = 1
	config.BeforeConnect = func(_ context.Context, c *pgx.ConnConfig) error {
		before.Add(1)
		c.Port = right
		return nil
	}
	config.AfterConnect = func(ctx context.Context, c *pgx.Conn) error {
		after.Add(1)
		_, err := c.Exec(ctx, "SET work_mem = '5MB'")
		return err
	}
	config.AfterRelease = func(c *pgx.Conn) bool {
		_, err := c.Exec(context.Background(), "RESET ALL")
		return err == nil
	}
	config.ConnConfig.DefaultQueryExecMode, config.ConnConfig.StatementCacheCapacity = pgx.QueryExecModeExec, 0
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	if err != nil {
		t.Fatal(err)
	}
	defer pool.Close()
	taken, err := pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	e, err := New(t.Context(), pool, nil)
	if err != nil {
		t.Fatal(err)
	}
	stop := e.Watch(func(engine.Kind) {})
	for _, id := range []string{"one", "two"} {
		if _, err := pushed(t, e, id); err != nil {
			t.Fatal(err)
		}
	}
	// The pool's, the engine's, and the one that listens.
	eventually(t, "the engine listens", func() bool { return before.Load() == 3 })
	if after.Load() != 2 {
		t.Errorf("AfterConnect was called %d times", after.Load())
	}
	type settings struct{ jit, seqscan, mode, memory string }
	read := func(c *pgx.Conn) (s settings) {
		t.Helper()
		err := c.QueryRow(t.Context(), "SELECT current_setting('jit'), current_setting('enable_seqscan'), current_setting('plan_cache_mode'), current_setting('work_mem')").
			Scan(&s.jit, &s.seqscan, &s.mode, &s.memory)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if s := read(taken.Conn()); s != (settings{"on", "on", "auto", "5MB"}) {
		t.Errorf("the settings of the caller's session are %v", s)
	}
	own, err := e.pool.Acquire(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s := read(own.Conn()); s != (settings{"off", "off", "force_generic_plan", "5MB"}) {
		t.Errorf("the settings of the engine's session are %v", s)
	}
	own.Release()
	stop()
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	taken.Release()
	if err := pool.Ping(t.Context()); err != nil {
		t.Errorf("the caller's pool does not work any more: %v", err)
	}
}
