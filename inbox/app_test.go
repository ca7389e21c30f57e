//go:build linux || darwin || freebsd

package inbox_test

import (
	"context"
	"database/sql"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
	"github.com/watermarkchurch/toot-go/internal/testing/memdir"
	"github.com/watermarkchurch/toot-go/internal/testing/sqltest"
)

// TestAHandlerThatRunsForLongerThanALease: the lease is extended, nobody else runs
// it, and what it did is there once.
func TestAHandlerThatRunsForLongerThanALease(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		in := newInbox(t, db, nil)
		path := filepath.Join(memdir.New(t), "toot.db")
		var runs atomic.Int64
		var apps []*toot.App
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 2)
		for range 2 { // two processes, on one store
			store, err := sqliteengine.Open(path, nil)
			must(t, err)
			defer func() { must(t, store.Close()) }()
			app, err := toot.New(store, &toot.Options{CallbackURL: "http://127.0.0.1/callbacks", RequestTimeout: 250 * time.Millisecond, Logger: slog.New(slog.DiscardHandler)})
			must(t, err)
			defer func() { must(t, app.Close()) }()
			must(t, app.AddSource("bank", toot.Source{SubscriptionURL: "http://127.0.0.1/subscriptions"}))
			must(t, app.Subscribe("bank", "transfers", in.Handler(func(ctx context.Context, tx *sql.Tx, _ *toot.Event) error {
				runs.Add(1)
				if err := add(ctx, tx, "a"); err != nil {
					return err
				}
				select { // longer than twice the RequestTimeout and what is added to it
				case <-time.After(3 * time.Second):
				case <-ctx.Done():
				}
				return add(ctx, tx, "a")
			})))
			apps = append(apps, app)
		}
		server := httptest.NewServer(apps[0].HandlerService())
		defer server.Close()
		publisher, err := sqliteengine.Open(filepath.Join(memdir.New(t), "publisher.db"), nil)
		must(t, err)
		defer func() { must(t, publisher.Close()) }()
		_, err = publisher.AddSubscriber(t.Context(), "transfers", server.URL, 0)
		must(t, err)
		bank, err := toot.New(publisher, &toot.Options{Logger: slog.New(slog.DiscardHandler)})
		must(t, err)
		defer func() { must(t, bank.Close()) }()
		for _, app := range append(apps, bank) {
			go func() { ended <- app.Run(ctx) }()
		}
		_, err = bank.Publish(t.Context(), "transfers", nil)
		must(t, err)
		await(t, "it is handled", func() bool { return cents(t, db, "a") > 0 })
		await(t, "it is done", func() bool {
			stats, err := apps[1].Stats(t.Context())
			must(t, err)
			return stats.Waiting == 0 && stats.InFlight == 0
		})
		cancel()
		for range 3 {
			must(t, <-ended)
		}
		if got := cents(t, db, "a"); got != 2 || runs.Load() != 1 {
			t.Errorf("%d cents after %d runs", got, runs.Load())
		}
	})
}
