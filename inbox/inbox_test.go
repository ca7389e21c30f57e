//go:build linux || darwin || freebsd

package inbox_test

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/inbox"
	"github.com/watermarkchurch/toot-go/internal/testing/netfault"
	"github.com/watermarkchurch/toot-go/internal/testing/sqltest"
)

func TestMain(m *testing.M) {
	playRole()
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/watermarkchurch/toot-go/internal/testing/mariadbtest.(*Server).launch.func2"),
		goleak.IgnoreAnyFunction("github.com/watermarkchurch/toot-go/internal/testing/mariadbtest.(*Server).keep.func2"))
}

// levels are what transactions may be isolated by, as far as a kind of database
// knows them.
func levels(db *sqltest.DB) []sql.IsolationLevel {
	if db.Dialect == inbox.SQLite {
		return []sql.IsolationLevel{sql.LevelDefault}
	}
	return []sql.IsolationLevel{sql.LevelReadCommitted, sql.LevelRepeatableRead, sql.LevelSerializable}
}

// newInbox makes an inbox in a database, with accounts a, b and c of nothing.
func newInbox(t *testing.T, db *sqltest.DB, opts *inbox.Options) *inbox.Inbox {
	t.Helper()
	in, err := inbox.New(db.DB, db.Dialect, opts)
	must(t, err)
	must(t, in.Migrate(t.Context()))
	key := map[inbox.Dialect]string{inbox.MySQL: "VARCHAR(10)"}[db.Dialect]
	if key == "" {
		key = "TEXT"
	}
	db.Do(t, "DROP TABLE IF EXISTS accounts")
	db.Do(t, "CREATE TABLE accounts (name "+key+" PRIMARY KEY, cents BIGINT NOT NULL)")
	db.Do(t, "INSERT INTO accounts VALUES ('a', 0), ('b', 0), ('c', 0)")
	return in
}

// credit is what a handler does: it reads an account and writes what it read and
// one cent more.
func credit(ctx context.Context, tx *sql.Tx, account string) error {
	var cents int
	if err := tx.QueryRowContext(ctx, "SELECT cents FROM accounts WHERE name = '"+account+"'").Scan(&cents); err != nil {
		return err
	}
	_, err := tx.ExecContext(ctx, fmt.Sprintf("UPDATE accounts SET cents = %d WHERE name = '%s'", cents+1, account))
	return err
}

// add is credit in one statement, which is right at each isolation level.
func add(ctx context.Context, tx *sql.Tx, account string) error {
	_, err := tx.ExecContext(ctx, "UPDATE accounts SET cents = cents + 1 WHERE name = '"+account+"'")
	return err
}

func cents(t *testing.T, db *sqltest.DB, account string) int {
	t.Helper()
	return db.Int(t, "SELECT cents FROM accounts WHERE name = '"+account+"'")
}

func event(id string) *toot.Event {
	return &toot.Event{ID: id, Channel: "transfers", Subscription: "credits", Timestamp: time.Now(), Payload: json.RawMessage(`{"to":"a"}`)}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// TestAnEventIsHandledOnce, however often it is delivered, one after the other or
// at the same time; and each subscription's handler handles it.
func TestAnEventIsHandledOnce(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		for _, level := range levels(db) {
			in := newInbox(t, db, &inbox.Options{Isolation: level, Table: fmt.Sprintf("inbox_%d", level)})
			var runs atomic.Int64
			h := in.Handler(func(ctx context.Context, tx *sql.Tx, _ *toot.Event) error {
				runs.Add(1)
				return add(ctx, tx, "a")
			})
			const events = 10
			var all sync.WaitGroup
			for range 4 {
				all.Go(func() {
					for i := range events {
						if err := h.HandleEvent(t.Context(), event(fmt.Sprint(i))); err != nil {
							t.Errorf("%v: %v", level, err)
						}
					}
				})
			}
			all.Wait()
			if got := cents(t, db, "a"); got != events {
				t.Errorf("%v: %d cents, want %d", level, got, events)
			}
			other := event("0")
			other.Subscription = "another"
			must(t, h.HandleEvent(t.Context(), other))
			elsewhere := event("0")
			elsewhere.Channel = "another"
			must(t, h.HandleEvent(t.Context(), elsewhere))
			long := event(strings.Repeat("x", 1024))
			for range 2 {
				must(t, h.HandleEvent(t.Context(), long))
			}
			must(t, h.HandleEvent(t.Context(), event(strings.Repeat("x", 1023)+"X")))
			if got := cents(t, db, "a"); got != events+4 {
				t.Errorf("%v: %d cents, want %d", level, got, events+4)
			}
		}
	})
}

// TestWhatFailsLeavesNothing: neither what the handler did nor the note; the
// error is the handler's, and the event is handled the next time.
func TestWhatFailsLeavesNothing(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		in := newInbox(t, db, nil)
		broken := errors.New("broken")
		fail := func(how func() error) error {
			return in.Handler(func(ctx context.Context, tx *sql.Tx, _ *toot.Event) error {
				must(t, add(ctx, tx, "a"))
				return how()
			}).HandleEvent(t.Context(), event("1"))
		}
		if err := fail(func() error { return broken }); !errors.Is(err, broken) {
			t.Error(err)
		}
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is gone")
				}
			}()
			_ = fail(func() error { panic("broken") })
		}()
		if got := cents(t, db, "a"); got != 0 {
			t.Errorf("%d cents are left", got)
		}
		must(t, fail(func() error { return nil }))
		must(t, fail(func() error { return broken })) // it is not run
		if got := cents(t, db, "a"); got != 1 {
			t.Errorf("%d cents, want 1", got)
		}
	})
}

// TestTransactionsInEachOthersWayAreMadeAgain: serialization failures, where the
// level makes any, and deadlocks fail no handler.
func TestTransactionsInEachOthersWayAreMadeAgain(t *testing.T) {
	sqltest.Servers(t, func(t *testing.T, db *sqltest.DB) {
		for _, level := range levels(db)[1:] {
			in := newInbox(t, db, &inbox.Options{Isolation: level, Table: fmt.Sprintf("inbox_%d", level)})
			work := credit
			if db.Dialect == inbox.MySQL && level == sql.LevelRepeatableRead { // where what is read may be old when it is written
				work = add
			}
			var runs atomic.Int64
			h := in.Handler(func(ctx context.Context, tx *sql.Tx, e *toot.Event) error {
				runs.Add(1)
				first, second := "a", "b"
				if strings.HasPrefix(e.ID, "1") { // in the other order
					first, second = second, first
				}
				if err := work(ctx, tx, first); err != nil {
					return fmt.Errorf("the first: %w", err)
				}
				return work(ctx, tx, second)
			})
			const workers, each = 2, 15
			var all sync.WaitGroup
			for worker := range workers {
				all.Go(func() {
					for i := range each {
						if err := h.HandleEvent(t.Context(), event(fmt.Sprint(worker, i))); err != nil {
							t.Errorf("%v: %v", level, err)
						}
					}
				})
			}
			all.Wait()
			if a, b := cents(t, db, "a"), cents(t, db, "b"); a != workers*each || b != workers*each {
				t.Errorf("%v: %d and %d cents, want %d", level, a, b, workers*each)
			}
			t.Logf("%v: %d runs for %d events", level, runs.Load(), workers*each)
		}
	})
}

// TestADeadlockCostsNoTry: one that is certain.
func TestADeadlockCostsNoTry(t *testing.T) {
	sqltest.Servers(t, func(t *testing.T, db *sqltest.DB) {
		in := newInbox(t, db, nil)
		var both sync.WaitGroup
		var meet sync.WaitGroup
		meet.Add(2)
		var runs atomic.Int64
		for i, order := range [][2]string{{"a", "b"}, {"b", "a"}} {
			first := true
			h := in.Handler(func(ctx context.Context, tx *sql.Tx, _ *toot.Event) error {
				runs.Add(1)
				if err := add(ctx, tx, order[0]); err != nil {
					return err
				}
				if first {
					first = false
					meet.Done()
					meet.Wait()
				}
				return add(ctx, tx, order[1])
			})
			both.Go(func() {
				if err := h.HandleEvent(t.Context(), event(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			})
		}
		both.Wait()
		if a, b := cents(t, db, "a"), cents(t, db, "b"); a != 2 || b != 2 || runs.Load() < 3 {
			t.Errorf("%d and %d cents after %d runs", a, b, runs.Load())
		}
	})
}

// TestACommitWhoseAnswerIsLost: it has taken place, or it has not; the effect is
// there once, and the handler has succeeded.
func TestACommitWhoseAnswerIsLost(t *testing.T) {
	sqltest.Servers(t, func(t *testing.T, db *sqltest.DB) {
		proxy, err := netfault.New(db.Addr())
		must(t, err)
		defer proxy.Close()
		through := &sqltest.DB{DB: db.Open(t, db.Via(proxy.Addr())), Dialect: db.Dialect}
		in := newInbox(t, db, nil)
		far, err := inbox.New(through.DB, db.Dialect, nil)
		must(t, err)
		for i, fault := range []func(){proxy.LoseAnswers, proxy.Down} { // after the server has heard of it, and before
			runs, mended := 0, make(chan struct{})
			h := far.Handler(func(ctx context.Context, tx *sql.Tx, _ *toot.Event) error {
				runs++
				if err := add(ctx, tx, "a"); err != nil {
					return err
				}
				if runs == 1 {
					fault()
					// Nobody answers; so the connection is to be cut for Commit to
					// return, when the server has had the time to commit.
					time.AfterFunc(200*time.Millisecond, func() {
						proxy.Cut()
						proxy.Mend()
						close(mended)
					})
				}
				return nil
			})
			err := h.HandleEvent(t.Context(), event(fmt.Sprint(i)))
			<-mended
			if err != nil { // the database was out of reach for longer than it was tried: then by the schedule
				must(t, h.HandleEvent(t.Context(), event(fmt.Sprint(i))))
			}
			if got := cents(t, db, "a"); got != i+1 {
				t.Errorf("%d cents, want %d", got, i+1)
			}
		}
		must(t, in.Handler(func(context.Context, *sql.Tx, *toot.Event) error {
			t.Error("it is run again")
			return nil
		}).HandleEvent(t.Context(), event("0")))
	})
}

// TestALostLeaseEndsTheTransaction, even of a handler that does not look at its
// context: what it did is undone, and whoever has the event now can do it.
func TestALostLeaseEndsTheTransaction(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		in := newInbox(t, db, &inbox.Options{MaxAtOnce: 2})
		other, err := inbox.New(db.DB, db.Dialect, nil) // that of another process
		must(t, err)
		ctx, cancel := context.WithCancelCause(t.Context())
		defer cancel(nil)
		begun, goOn := make(chan struct{}), make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			ended <- in.Handler(func(ctx context.Context, tx *sql.Tx, _ *toot.Event) error {
				err := add(ctx, tx, "a")
				close(begun)
				<-goOn
				return err
			}).HandleEvent(ctx, event("1"))
		}()
		<-begun
		cancel(toot.ErrLeaseLost)
		must(t, other.Handler(func(ctx context.Context, tx *sql.Tx, _ *toot.Event) error { return add(ctx, tx, "a") }).HandleEvent(t.Context(), event("1")))
		close(goOn)
		if err := <-ended; !errors.Is(err, toot.ErrLeaseLost) {
			t.Error(err)
		}
		if got := cents(t, db, "a"); got != 1 {
			t.Errorf("%d cents", got)
		}
	})
}

// TestAnOldEventIsNotHandled, as nobody knows any more whether it was; and notes
// that are older than any event that is handled are deleted.
func TestAnOldEventIsNotHandled(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		in := newInbox(t, db, nil)
		h := in.Handler(func(ctx context.Context, tx *sql.Tx, _ *toot.Event) error { return add(ctx, tx, "a") })
		old := event("old")
		old.Timestamp = time.Now().Add(-31 * 24 * time.Hour)
		if err := h.HandleEvent(t.Context(), old); err == nil || !strings.Contains(err.Error(), "old") {
			t.Error(err)
		}
		undated := event("undated")
		undated.Timestamp = time.Time{}
		must(t, h.HandleEvent(t.Context(), undated))
		if got := cents(t, db, "a"); got != 1 {
			t.Errorf("%d cents", got)
		}
		const day = 24 * 60 * 60 * 1000
		now := time.Now().UnixMilli()
		for i := range 3 {
			db.Do(t, "INSERT INTO toot_inbox (subscription, event, noted_ms) VALUES (?, ?, ?)", []byte("x"), []byte(fmt.Sprint("kept ", i)), now-30*day)
		}
		db.Do(t, "INSERT INTO toot_inbox (subscription, event, noted_ms) VALUES (?, ?, ?)", []byte("x"), []byte("old"), now-32*day)
		sweeping, err := inbox.New(db.DB, db.Dialect, nil)
		must(t, err)
		must(t, sweeping.Handler(func(context.Context, *sql.Tx, *toot.Event) error { return nil }).HandleEvent(t.Context(), event("2")))
		if n := db.Int(t, "SELECT COUNT(*) FROM toot_inbox"); n != 5 {
			t.Errorf("%d notes are left, want 5", n)
		}
	})
}

// TestNoMoreAtOnceThanThePoolHasConnections, so that none waits in the middle of
// something.
func TestNoMoreAtOnceThanThePoolHasConnections(t *testing.T) {
	sqltest.Each(t, func(t *testing.T, db *sqltest.DB) {
		db.SetMaxOpenConns(3)
		want := int64(3)
		if db.Dialect == inbox.SQLite {
			want = 1
		}
		in := newInbox(t, db, nil)
		var now, most atomic.Int64
		h := in.Handler(func(ctx context.Context, tx *sql.Tx, _ *toot.Event) error {
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			return add(ctx, tx, "a")
		})
		var all sync.WaitGroup
		for i := range 30 {
			all.Go(func() {
				if err := h.HandleEvent(t.Context(), event(fmt.Sprint(i))); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if most.Load() > want {
			t.Errorf("%d at once, want %d", most.Load(), want)
		}
	})
}

// TestPayloadsAreTyped, and one that does not decode is not tried again.
func TestPayloadsAreTyped(t *testing.T) {
	db := sqltest.New(t, inbox.SQLite)
	in := newInbox(t, db, nil)
	h := inbox.HandlePayload(in, func(ctx context.Context, tx *sql.Tx, _ *toot.Event, p struct{ To string }) error {
		return add(ctx, tx, p.To)
	})
	must(t, h.HandleEvent(t.Context(), event("1")))
	if got := cents(t, db, "a"); got != 1 {
		t.Errorf("%d cents", got)
	}
	broken := event("2")
	broken.Payload = json.RawMessage(`[]`)
	if err := h.HandleEvent(t.Context(), broken); err == nil {
		t.Error("it decodes")
	}
	if n := db.Int(t, "SELECT COUNT(*) FROM toot_inbox"); n != 1 {
		t.Errorf("%d notes", n)
	}
}
