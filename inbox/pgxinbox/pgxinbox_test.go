//go:build linux || darwin || freebsd

package pgxinbox_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/inbox"
	"github.com/watermarkchurch/toot-go/inbox/pgxinbox"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newPool is a pool of a database with an account of nothing.
func newPool(t *testing.T, url string, mode pgx.QueryExecMode) *pgxpool.Pool {
	t.Helper()
	config, err := pgxpool.ParseConfig(url)
	must(t, err)
	config.ConnConfig.DefaultQueryExecMode = mode
	pool, err := pgxpool.NewWithConfig(t.Context(), config)
	must(t, err)
	t.Cleanup(pool.Close)
	_, err = pool.Exec(t.Context(), "CREATE TABLE accounts (name text PRIMARY KEY, cents bigint NOT NULL)")
	must(t, err)
	_, err = pool.Exec(t.Context(), "INSERT INTO accounts VALUES ('a', 0)")
	must(t, err)
	return pool
}

func cents(t *testing.T, pool *pgxpool.Pool) (n int) {
	t.Helper()
	must(t, pool.QueryRow(t.Context(), "SELECT cents FROM accounts").Scan(&n))
	return n
}

func add(ctx context.Context, tx pgx.Tx, cents int) error {
	_, err := tx.Exec(ctx, "UPDATE accounts SET cents = cents + $1 WHERE name = 'a'", cents)
	return err
}

func event(id string) *toot.Event {
	return &toot.Event{ID: id, Channel: "transfers", Subscription: "transfers", Timestamp: time.Now(), Payload: json.RawMessage(`{"cents":1}`)}
}

// TestAnEventIsHandledOnce, at each isolation level, on a server and by way of a
// PgBouncer in transaction mode.
func TestAnEventIsHandledOnce(t *testing.T) {
	server := postgrestest.Shared(t)
	bouncer := server.Bouncer(t)
	for name, mode := range map[string]pgx.QueryExecMode{"direct": pgx.QueryExecModeCacheStatement, "bouncer": pgx.QueryExecModeExec, "bouncer, simple": pgx.QueryExecModeSimpleProtocol} {
		t.Run(name, func(t *testing.T) {
			url := server.Database(t)
			if name != "direct" {
				url = bouncer.URL(url)
			}
			pool := newPool(t, url, mode)
			want := 0
			for _, level := range []sql.IsolationLevel{sql.LevelDefault, sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable} {
				in, err := pgxinbox.New(pool, &inbox.Options{Isolation: level, Table: fmt.Sprintf("inbox_%d", level)})
				must(t, err)
				must(t, in.Migrate(t.Context()))
				h := pgxinbox.HandlePayload(in, func(ctx context.Context, tx pgx.Tx, _ *toot.Event, p struct{ Cents int }) error {
					return add(ctx, tx, p.Cents)
				})
				var all sync.WaitGroup
				for range 3 {
					all.Go(func() {
						for i := range 5 {
							if err := h.HandleEvent(t.Context(), event(fmt.Sprint(i))); err != nil {
								t.Errorf("%v: %v", level, err)
							}
						}
					})
				}
				all.Wait()
				if want += 5; cents(t, pool) != want {
					t.Errorf("%v: %d cents, want %d", level, cents(t, pool), want)
				}
			}
		})
	}
	pool := newPool(t, server.Database(t), pgx.QueryExecModeCacheStatement)
	if _, err := pgxinbox.New(pool, &inbox.Options{Isolation: sql.LevelLinearizable}); err == nil {
		t.Error("PostgreSQL is linearizable")
	}
}

// TestALostLeaseEndsTheTransaction, even of a handler that does not look at its
// context, and leaves the pool in order.
func TestALostLeaseEndsTheTransaction(t *testing.T) {
	pool := newPool(t, postgrestest.Database(t), pgx.QueryExecModeCacheStatement)
	in, err := pgxinbox.New(pool, nil)
	must(t, err)
	must(t, in.Migrate(t.Context()))
	for i := range 5 {
		id := fmt.Sprint(i)
		ctx, cancel := context.WithCancelCause(t.Context())
		begun, goOn, ended := make(chan struct{}), make(chan struct{}), make(chan error, 1)
		go func() {
			ended <- in.Handler(func(ctx context.Context, tx pgx.Tx, _ *toot.Event) error {
				err := add(ctx, tx, 1)
				close(begun)
				<-goOn
				return err
			}).HandleEvent(ctx, event(id))
		}()
		<-begun
		cancel(toot.ErrLeaseLost)
		must(t, in.Handler(func(ctx context.Context, tx pgx.Tx, _ *toot.Event) error { return add(ctx, tx, 1) }).HandleEvent(t.Context(), event(id)))
		close(goOn)
		if err := <-ended; !errors.Is(err, toot.ErrLeaseLost) {
			t.Error(err)
		}
		if got := cents(t, pool); got != i+1 {
			t.Errorf("%d cents, want %d", got, i+1)
		}
	}
	must(t, in.Handler(func(context.Context, pgx.Tx, *toot.Event) error { panic("it is run again") }).HandleEvent(t.Context(), event("0")))
}
