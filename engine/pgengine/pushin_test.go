package pgengine

import (
	"database/sql"
	"errors"
	"strings"
	"testing"
	"time"

	_ "modernc.org/sqlite"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
)

// callers is a connection of a caller's, by database/sql.
func callers(t *testing.T, driver, source string) *sql.Conn {
	t.Helper()
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	conn, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = conn.Close(), db.Close() })
	return conn
}

func beginOn(t *testing.T, conn *sql.Conn) *sql.Tx {
	t.Helper()
	tx, err := conn.BeginTx(t.Context(), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = tx.Rollback() })
	return tx
}

// What is pushed in a transaction of the caller's is there if that commits, and never
// if not; over a connection of its own settings, and behind a pooler, too.
func TestJobsArePushedInATransactionOfTheCallers(t *testing.T) {
	t.Parallel()
	s := postgrestest.Shared(t)
	bouncer := s.Bouncer(t)
	for name, via := range map[string]func(string) string{
		"direct": func(u string) string { return u }, "without caches": func(u string) string { return u + "&statement_cache_capacity=0&description_cache_capacity=0" },
		"simple protocol": func(u string) string { return u + "&default_query_exec_mode=simple_protocol" }, "bouncer": bouncer.URL,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := s.Database(t)
			e, other := open(t, url, nil), open(t, url, nil)
			conn := callers(t, "pgx", via(url))
			jobs := []engine.Job{job("leased", "lane"), job("free", "lane"), job("buried", "lane")}
			jobs[0].Lease = time.Hour
			jobs[2].Past = &engine.Outcome{Result: engine.Bury, Reason: "reason"}
			push := func(commit bool) []engine.Ticket {
				t.Helper()
				tx := beginOn(t, conn)
				if _, err := tx.ExecContext(t.Context(), "CREATE TABLE IF NOT EXISTS beside (i int)"); err != nil {
					t.Fatal(err)
				}
				if ok, err := e.Reaches(t.Context(), conn); err != nil || !ok {
					t.Fatalf("the connection leads to the store: %v, %v", ok, err)
				}
				if _, _, err := e.PushIn(t.Context(), conn, engine.PushRequest{Jobs: []engine.Job{{}}}); !errors.Is(err, engine.ErrInvalid) {
					t.Fatalf("an invalid job: %v", err)
				}
				res, committed, err := e.PushIn(t.Context(), conn, engine.PushRequest{Jobs: jobs, Channels: []string{"channel"}, MaxSubscribers: 1})
				if err != nil || len(res.Audiences) != 1 {
					t.Fatal(res, err)
				}
				if n := count(t, other); n != 0 && !commit {
					t.Errorf("%d jobs are there before the commit", n)
				}
				if !commit {
					_ = tx.Rollback()
					return nil
				}
				if err := tx.Commit(); err != nil {
					t.Fatal(err)
				}
				committed()
				return res.Tickets
			}
			push(false)
			if n := count(t, other); n != 0 {
				t.Errorf("%d jobs are left of a transaction that was rolled back", n)
			}
			tickets := push(true)
			if n := count(t, other); n != 2 || tickets[0] == "" || tickets[1] != "" || tickets[2] != "" {
				t.Errorf("%d jobs are there, want 2; the tickets are %q", n, tickets)
			}
			if again := push(true); again[0] != "" {
				t.Error("a job that is known has a ticket")
			}
			if settled, err := e.Settle(t.Context(), []engine.Outcome{{Ticket: tickets[0], Result: engine.Done}}); err != nil || !settled[0].OK {
				t.Errorf("the ticket does not work: %v, %v", settled, err)
			}
			if dead, err := other.Dead(t.Context(), engine.DeadQuery{}); err != nil || len(dead) != 1 {
				t.Errorf("the dead letters are %v (%v)", dead, err)
			}
			if _, _, err := e.PushIn(t.Context(), conn, engine.PushRequest{Jobs: jobs}); err == nil || !strings.Contains(err.Error(), "no transaction") {
				t.Errorf("without a transaction: %v", err)
			}
		})
	}
}

// Connections that don't lead to the store are known, and transactions on them go on.
func TestAConnectionThatLeadsElsewhereIsKnown(t *testing.T) {
	t.Parallel()
	s := postgrestest.Shared(t)
	url := s.Database(t)
	e := open(t, url, nil)
	lookalike, empty := s.Database(t), s.Database(t)
	open(t, lookalike, nil)
	s.Exec(t, "postgres", "CREATE ROLE stranger LOGIN")
	t.Cleanup(func() { s.Exec(t, "postgres", "DROP ROLE stranger") })
	for name, conn := range map[string]*sql.Conn{
		"a database without the schema": callers(t, "pgx", empty),
		"another's schema of that name": callers(t, "pgx", lookalike),
		"a role without rights":         callers(t, "pgx", strings.Replace(url, "postgres@", "stranger@", 1)),
		"another driver":                callers(t, "sqlite", ":memory:"),
	} {
		tx := beginOn(t, conn)
		if ok, err := e.Reaches(t.Context(), conn); ok || err != nil {
			t.Errorf("%s: %v, %v", name, ok, err)
		}
		if _, err := tx.ExecContext(t.Context(), "SELECT 1"); err != nil {
			t.Errorf("%s: the transaction does not go on: %v", name, err)
		}
		_ = tx.Rollback()
		_ = conn.Close()
	}
}
