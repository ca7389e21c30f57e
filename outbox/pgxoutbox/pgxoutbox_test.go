//go:build linux || darwin || freebsd

package pgxoutbox_test

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"go.uber.org/goleak"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
	"github.com/watermarkchurch/toot-go/outbox/pgxoutbox"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestAnEventGoesOutIfItsTransactionCommits: one of pgx's, on a server and by
// way of a PgBouncer in transaction mode, which knows no statements that were
// prepared.
func TestAnEventGoesOutIfItsTransactionCommits(t *testing.T) {
	server := postgrestest.Shared(t)
	bouncer := server.Bouncer(t)
	for name, mode := range map[string]pgx.QueryExecMode{"direct": pgx.QueryExecModeCacheStatement, "bouncer": pgx.QueryExecModeExec, "bouncer, simple": pgx.QueryExecModeSimpleProtocol} {
		t.Run(name, func(t *testing.T) {
			url := server.Database(t)
			if name != "direct" {
				url = bouncer.URL(url)
			}
			config, err := pgxpool.ParseConfig(url)
			must(t, err)
			config.ConnConfig.DefaultQueryExecMode = mode
			pool, err := pgxpool.NewWithConfig(t.Context(), config)
			must(t, err)
			defer pool.Close()
			arrived := make(chan string, 10)
			endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				var e toot.Event
				if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
					t.Error(err)
				}
				arrived <- e.ID
			}))
			defer endpoint.Close()
			store := memengine.New()
			_, err = store.AddSubscriber(t.Context(), "a", endpoint.URL, 0)
			must(t, err)
			app, err := toot.New(store, &toot.Options{Logger: slog.New(slog.DiscardHandler)})
			must(t, err)
			box, err := pgxoutbox.New(app, pool, nil)
			must(t, err)
			must(t, box.Migrate(t.Context()))
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error, 2)
			go func() { ended <- app.Run(ctx) }()
			go func() { ended <- box.Run(ctx) }()

			broken := errors.New("broken")
			publish := func(id string, then error) {
				err := pgx.BeginFunc(t.Context(), pool, func(tx pgx.Tx) error {
					_, err := box.PublishAll(t.Context(), tx, toot.Message{Channel: "a", ID: id, Payload: `it's $1 \ ?`})
					return errors.Join(err, then)
				})
				if !errors.Is(err, then) {
					t.Error(err)
				}
			}
			publish("undone", broken)
			publish("one", nil)
			if id := <-arrived; id != "one" {
				t.Errorf("%s arrived", id)
			}
			if _, err := box.Publish(t.Context(), pool, "a", nil); err == nil {
				t.Error("a pool passes for a transaction")
			}
			for end := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
				stats, err := box.Stats(t.Context())
				must(t, err)
				if stats.Waiting == 0 {
					break
				}
				if time.Now().After(end) {
					t.Fatal("the row stays")
				}
			}
			cancel()
			must(t, <-ended)
			must(t, <-ended)
			must(t, box.Close())
			must(t, app.Close())
			must(t, store.Close())
		})
	}
}
