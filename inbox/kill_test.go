//go:build linux || darwin || freebsd

package inbox_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
	"github.com/watermarkchurch/toot-go/inbox"
	"github.com/watermarkchurch/toot-go/internal/testing/memdir"
	"github.com/watermarkchurch/toot-go/internal/testing/sqltest"
	"github.com/watermarkchurch/toot-go/outbox"
)

// What the test tells the process that it kills.
const (
	envDriver  = "TOOT_KILLTEST_DRIVER"
	envSource  = "TOOT_KILLTEST_SOURCE"
	envDialect = "TOOT_KILLTEST_DIALECT"
	envStore   = "TOOT_KILLTEST_STORE"
	envAddr    = "TOOT_KILLTEST_ADDR"
	envPublish = "TOOT_KILLTEST_PUBLISH"
)

// TestKilledProcesses: an app publishes transfers in transactions, some of which
// are rolled back, relays them, delivers them to itself and handles them, and is
// killed again and again in the middle of it. In the end each transfer that was
// committed has been handled once, and no other.
func TestKilledProcesses(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		db.Do(t, "CREATE TABLE sent (id INT PRIMARY KEY)")
		db.Do(t, "CREATE TABLE handled (id INT NOT NULL)")
		store := filepath.Join(memdir.New(t), "toot.db")
		tables, err := outbox.Schema(db.Dialect, "")
		must(t, err)
		for statement := range strings.SplitSeq(strings.TrimSpace(tables), ";\n") {
			db.Do(t, statement)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		addr := l.Addr().String()
		must(t, l.Close())
		run := func(publish string) *exec.Cmd {
			cmd := exec.Command(os.Args[0])
			cmd.Env = append(os.Environ(), envDriver+"="+db.Driver, envSource+"="+db.Source, envDialect+"="+string(db.Dialect),
				envStore+"="+store, envAddr+"="+addr, envPublish+"="+publish)
			cmd.Stderr = os.Stderr
			must(t, cmd.Start())
			return cmd
		}
		const rounds = 5
		for round := range rounds {
			cmd := run("yes")
			before := db.Int(t, "SELECT COUNT(*) FROM sent")
			await(t, "something is published", func() bool { return db.Int(t, "SELECT COUNT(*) FROM sent") > before+5 })
			time.Sleep(time.Duration(rand.IntN(300)) * time.Millisecond) // at any moment
			if round == rounds-1 {
				await(t, "something is handled", func() bool { return db.Int(t, "SELECT COUNT(*) FROM handled") > 0 })
			}
			must(t, cmd.Process.Kill())
			_ = cmd.Wait()
		}
		cmd := run("no")
		const missing = "SELECT COUNT(*) FROM sent WHERE id NOT IN (SELECT id FROM handled)"
		await(t, "everything is handled", func() bool { return db.Int(t, missing) == 0 && db.Int(t, "SELECT COUNT(*) FROM toot_outbox") == 0 })
		must(t, cmd.Process.Signal(syscall.SIGTERM))
		must(t, cmd.Wait())
		sent, handled := db.Int(t, "SELECT COUNT(*) FROM sent"), db.Int(t, "SELECT COUNT(*) FROM handled")
		wrong := db.Int(t, "SELECT COUNT(*) FROM handled WHERE id NOT IN (SELECT id FROM sent)")
		if sent != handled || wrong != 0 || sent < rounds {
			t.Errorf("%d were sent, %d handled, %d of them never sent", sent, handled, wrong)
		}
		t.Logf("%d transfers, %d kills", sent, rounds)
	})
}

func await(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(2 * time.Minute); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited two minutes in vain: %s", what)
		}
	}
}

// playRole is what a process does that was started to be killed.
func playRole() {
	if os.Getenv(envDriver) == "" {
		return
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	err := play(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

func play(ctx context.Context) error {
	addr := os.Getenv(envAddr)
	store, err := sqliteengine.Open(os.Getenv(envStore), nil)
	if err != nil {
		return err
	}
	defer func() { _ = store.Close() }()
	app, err := toot.New(store, &toot.Options{
		CallbackURL: "http://" + addr + "/callbacks", RequestTimeout: 2 * time.Second, Logger: slog.New(slog.DiscardHandler),
		RetryDelay: func(int) time.Duration { return 50 * time.Millisecond }, ProbeInterval: 100 * time.Millisecond, MaxRetries: 10_000,
	})
	if err != nil {
		return err
	}
	db, err := sql.Open(os.Getenv(envDriver), os.Getenv(envSource))
	if err != nil {
		return err
	}
	defer func() { _ = db.Close() }()
	db.SetMaxOpenConns(10)
	dialect := outbox.Dialect(os.Getenv(envDialect))
	box, err := outbox.New(app, db, dialect, &outbox.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		return err
	}
	in, err := inbox.New(db, dialect, nil)
	if err != nil {
		return err
	}
	if err := errors.Join(box.Migrate(ctx), in.Migrate(ctx)); err != nil {
		return err
	}
	server := &http.Server{Addr: addr, Handler: serving(app), ReadHeaderTimeout: time.Second, ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	listening := make(chan error, 1)
	go func() { listening <- server.ListenAndServe() }()
	defer func() { _ = server.Close() }()
	if err := errors.Join(
		app.AddSource("self", toot.Source{SubscriptionURL: "http://" + addr + "/subscriptions"}),
		app.Subscribe("self", "transfers", inbox.HandlePayload(in, func(ctx context.Context, tx *sql.Tx, _ *toot.Event, id int) error {
			_, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO handled VALUES (%d)", id))
			return err
		})),
	); err != nil {
		return err
	}
	if _, err := store.AddSubscriber(ctx, "transfers", "http://"+addr+"/callbacks", 0); err != nil {
		return err
	}
	var all sync.WaitGroup
	if os.Getenv(envPublish) == "yes" {
		for range 3 {
			all.Go(func() { transfer(ctx, db, box) })
		}
	}
	all.Go(func() { _ = box.Run(ctx) })
	err = app.Run(ctx)
	all.Wait()
	return errors.Join(err, app.Close())
}

func serving(app *toot.App) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/subscriptions", app.SubscriptionsService())
	mux.Handle("/callbacks", app.HandlerService())
	return mux
}

// transfer publishes what it writes down in the same transaction, and takes back
// every fourth.
func transfer(ctx context.Context, db *sql.DB, box *outbox.Outbox) {
	for ctx.Err() == nil {
		id := rand.IntN(1 << 30)
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			continue
		}
		_, err = tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO sent VALUES (%d)", id))
		if err == nil {
			_, err = box.Publish(ctx, tx, "transfers", id)
		}
		if err != nil || id%4 == 0 {
			_ = tx.Rollback()
			continue
		}
		_ = tx.Commit()
		time.Sleep(time.Duration(rand.IntN(10)) * time.Millisecond) // at no fixed pace
	}
}
