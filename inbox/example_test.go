package inbox_test

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
	"time"

	_ "modernc.org/sqlite"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/inbox"
)

// Transfer is the payload of an event.
type Transfer struct {
	To    string
	Cents int
}

// A transfer is credited once, however often it is delivered.
func Example() {
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	dir, err := os.MkdirTemp("", "inbox")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "accounts.db")+"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)")
	if err != nil {
		log.Fatal(err)
	}
	defer db.Close()
	tables, err := inbox.Schema(inbox.SQLite, "")
	if err != nil {
		log.Fatal(err)
	}
	if _, err := db.Exec("CREATE TABLE accounts (name, cents); INSERT INTO accounts VALUES ('mary', 0); " + tables); err != nil {
		log.Fatal(err)
	}
	// The bank is the same app here. In an app of your own the engine is one
	// that lasts.
	app, err := toot.New(memengine.New(), &toot.Options{CallbackURL: server.URL + "/callbacks", Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		log.Fatal(err)
	}
	defer app.Close()
	mux.Handle("/subscriptions", app.SubscriptionsService())
	mux.Handle("/callbacks", app.HandlerService())
	if err := app.AddSource("bank", toot.Source{SubscriptionURL: server.URL + "/subscriptions"}); err != nil {
		log.Fatal(err)
	}
	if err := creditTransfers(app, db); err != nil {
		log.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := app.RegisterSubscriptions(ctx); err != nil {
		log.Fatal(err)
	}
	ended := make(chan error)
	go func() { ended <- app.Run(ctx) }()
	if _, err := app.Publish(ctx, "transfers.made.v1", Transfer{To: "mary", Cents: 500}); err != nil {
		log.Fatal(err)
	}
	cents := 0
	for cents == 0 {
		time.Sleep(time.Millisecond) // between two looks
		if err := db.QueryRow("SELECT cents FROM accounts").Scan(&cents); err != nil {
			log.Fatal(err)
		}
	}
	fmt.Println("mary has", cents)
	cancel()
	<-ended
	// Output: mary has 500
}

func creditTransfers(app *toot.App, db *sql.DB) error {
	in, err := inbox.New(db, inbox.SQLite, nil)
	if err != nil {
		return err
	}
	return app.Subscribe("bank", "transfers.made.v1", inbox.HandlePayload(in,
		func(ctx context.Context, tx *sql.Tx, _ *toot.Event, t Transfer) error {
			_, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = cents + ? WHERE name = ?", t.Cents, t.To)
			return err // nil commits; an error rolls back, and the event is tried again
		}))
}
