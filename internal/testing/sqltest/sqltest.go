//go:build linux || darwin || freebsd

// Package sqltest gives tests an empty database of each kind that database/sql is
// used with.
package sqltest

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/go-sql-driver/mysql"
	_ "github.com/jackc/pgx/v5/stdlib"
	_ "modernc.org/sqlite"

	"github.com/watermarkchurch/toot-go/internal/testing/mariadbtest"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
	"github.com/watermarkchurch/toot-go/outbox"
)

// DB is a database of one kind.
type DB struct {
	*sql.DB
	Dialect outbox.Dialect
	Driver  string
	Source  string // to open it by the driver
}

// Each runs a test on each kind of database, all at the same time.
func Each(t *testing.T, test func(t *testing.T, db *DB)) {
	t.Helper()
	for _, d := range []outbox.Dialect{outbox.SQLite, outbox.Postgres, outbox.MySQL} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			test(t, New(t, d))
		})
	}
}

// Servers is Each for the kinds that are servers.
func Servers(t *testing.T, test func(t *testing.T, db *DB)) {
	t.Helper()
	for _, d := range []outbox.Dialect{outbox.Postgres, outbox.MySQL} {
		t.Run(string(d), func(t *testing.T) {
			t.Parallel()
			test(t, New(t, d))
		})
	}
}

// New makes an empty database, which is dropped when the test is over.
func New(t testing.TB, d outbox.Dialect) *DB {
	t.Helper()
	db := &DB{Dialect: d}
	switch d {
	case outbox.Postgres:
		db.Driver, db.Source = "pgx", postgrestest.Database(t)
	case outbox.MySQL:
		db.Driver, db.Source = "mysql", mariadbtest.Database(t)
	default:
		db.Driver, db.Source = "sqlite", SQLiteSource(filepath.Join(t.TempDir(), "test.db"))
	}
	db.DB = db.Open(t, db.Source)
	return db
}

// SQLiteSource is the name of a SQLite database, with the settings that any app
// has. What is committed survives the death of the process.
func SQLiteSource(path string) string {
	return "file:" + path + "?_pragma=busy_timeout(30000)&_pragma=journal_mode(WAL)&_pragma=synchronous(OFF)"
}

// Open opens a database of the same kind, and closes it when the test is over.
func (d *DB) Open(t testing.TB, source string) *sql.DB {
	t.Helper()
	db, err := sql.Open(d.Driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

// Via is the source of the database with another address in the place of its
// server's, such as that of a proxy.
func (d *DB) Via(addr string) string {
	if d.Dialect == outbox.Postgres {
		return postgrestest.Via(addr, d.Source)
	}
	return mariadbtest.Via(addr, d.Source)
}

// Addr is the address of the database's server.
func (d *DB) Addr() string {
	_, rest, _ := strings.Cut(d.Source, "@")
	rest = strings.TrimPrefix(rest, "tcp(")
	return rest[:strings.IndexAny(rest, "/)")]
}

// Do runs statements, whose arguments are question marks on any kind.
func (d *DB) Do(t testing.TB, statement string, args ...any) {
	t.Helper()
	query, args := d.Dialect.Statement(statement, args...)
	if _, err := d.ExecContext(t.Context(), query, args...); err != nil {
		t.Fatalf("%s: %v", statement, err)
	}
}

// Int is the only value of a query.
func (d *DB) Int(t testing.TB, query string) (n int) {
	t.Helper()
	if err := d.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}
