package outbox_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/outbox"
)

// An order is written, and the event that tells of it, or neither.
func Example() {
	arrived := make(chan string)
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { arrived <- r.URL.Path }))
	defer server.Close()
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "shop.db")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	store := memengine.New() // in an app of your own one that lasts
	app, err := toot.New(store, &toot.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	defer app.Close()
	tables, err := outbox.Schema(outbox.SQLite, "")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE orders (id, cents); " + tables); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if _, err := store.AddSubscriber(ctx, "orders.placed.v1", server.URL+"/callbacks", 0); err != nil {
		log.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- app.Run(ctx) }()

	if err := placeOrder(ctx, app, db); err != nil {
		log.Fatal(err)
	}
	fmt.Println("sent to", <-arrived)
	cancel()
	<-ended
	// Output: sent to /callbacks
}

func placeOrder(ctx context.Context, app *toot.App, db *sql.DB) error {
	box, err := outbox.New(app, db, outbox.SQLite, nil)
	if err != nil {
		return err
	}
	go box.Run(ctx) // the relay: in any number of processes, beside app.Run

	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id, cents) VALUES (42, 999)"); err != nil {
		return err
	}
	if _, err := box.Publish(ctx, tx, "orders.placed.v1", map[string]any{"order": 42}); err != nil {
		return err
	}
	return tx.Commit() // now it goes out, and otherwise never
}
