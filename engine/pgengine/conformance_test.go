package pgengine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/enginetest"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
)

func TestConformance(t *testing.T) {
	enginetest.Run(t, harness(t, postgrestest.Database(t)))
}

// TestConformanceBehindPgBouncer: in transaction mode each statement may meet
// another connection to the server.
func TestConformanceBehindPgBouncer(t *testing.T) {
	s := postgrestest.Shared(t)
	enginetest.Run(t, harness(t, s.Bouncer(t, "default_pool_size = 20").URL(s.Database(t))))
}

// warnings fails a test in which an engine warns of something, save of what the suite
// does on purpose.
type warnings struct{ testing.TB }

func (w warnings) Write(text []byte) (int, error) {
	if !bytes.Contains(text, []byte("has jumped")) {
		w.Errorf("an engine warns: %s", text)
	}
	return len(text), nil
}

// harness gives each subtest a schema of its own in one database. The server's
// clock is set for one of them by a table beside the schema that says by how much
// the clock is ahead.
func harness(t *testing.T, url string) enginetest.Harness {
	direct := open(t, url, &Options{Schema: "harness"})
	exec := func(t testing.TB, sql string) {
		t.Helper()
		if _, err := direct.pool.Exec(context.Background(), sql); err != nil {
			t.Error(err)
		}
	}
	var schemasOf sync.Map // of engines
	return enginetest.Harness{
		NewStore: func(sub testing.TB) enginetest.Opener {
			schema := newSchema()
			exec(sub, fmt.Sprintf("CREATE TABLE public.ahead_%s AS SELECT interval '0' AS d", schema))
			sub.Cleanup(func() { exec(sub, fmt.Sprintf("DROP SCHEMA %s CASCADE; DROP TABLE public.ahead_%s", schema, schema)) })
			return func(r engine.Retention) (engine.Engine, error) {
				e, err := Open(sub.Context(), url, &Options{
					Schema: schema, Retention: r, Logger: slog.New(slog.NewTextHandler(warnings{sub}, &slog.HandlerOptions{Level: slog.LevelWarn})),
					clock: fmt.Sprintf("(clock_timestamp() + (SELECT d FROM public.ahead_%s))", schema),
				})
				if err == nil {
					schemasOf.Store(engine.Engine(e), schema)
				}
				return e, err
			}
		},
		BreakChannel: nil,
		// What is remembered is held against a count that each call reads.
		Stall: func(engine.Engine) func() { return func() {} },
		Jump: func(e engine.Engine, d time.Duration) {
			schema, _ := schemasOf.Load(e)
			exec(t, fmt.Sprintf("UPDATE public.ahead_%s SET d = d + interval '%d microseconds'", schema, d.Microseconds()))
		},
	}
}
