package inbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/inbox/internal/once"
	"github.com/watermarkchurch/toot-go/internal/dialect"
)

// Dialect is the SQL of a database.
type Dialect = dialect.Dialect

// The databases that an Inbox may lie in.
const (
	Postgres = dialect.Postgres // PostgreSQL 12 or later
	MySQL    = dialect.MySQL    // MariaDB 10.6, MySQL 8.0 or later
	SQLite   = dialect.SQLite   // SQLite 3.24 or later
)

// DefaultTable is the table of an Inbox whose Options name none.
const DefaultTable = once.DefaultTable

// Options configure an Inbox. The zero value of each field means its default.
type Options struct {
	// Table is the table of notes, with a schema before it if need be. Default
	// DefaultTable.
	Table string
	// KeepNotes is for how long it is known that an event was handled. An event
	// whose Timestamp is older goes to the dead letters instead of being
	// handled. Retries end after 20 days on either side by default. Notes are
	// deleted a day later. Default 30 days; negative means that notes are kept
	// for good and events of any age are handled.
	KeepNotes time.Duration
	// MaxAtOnce is how many handlers run at once in this process, each in a
	// transaction on a connection of its own; others wait. A handler that uses
	// further connections of the same pool needs them to be left. Default, and
	// at most: the number of connections that the pool may open; 16 if that has
	// no bound. On SQLite it is one.
	MaxAtOnce int
	// Isolation is that of the transactions. Default: the database's.
	Isolation sql.IsolationLevel
	// Logger gets what an operator should know. Default slog.Default().
	Logger *slog.Logger
}

// Inbox makes handlers run in transactions in which it is also noted that they
// have run. Its methods may be called concurrently.
type Inbox struct {
	db      *sql.DB
	dialect Dialect
	core    *once.Inbox[*sql.Tx]
}

// New returns an inbox in a database of its owner's, which stays open. The
// table must be there before an event is handled, see Inbox.Migrate and Schema.
// Nil options mean the defaults.
func New(db *sql.DB, d Dialect, opts *Options) (*Inbox, error) {
	if db == nil {
		return nil, errors.New("inbox: New needs a database")
	}
	var o Options
	if opts != nil {
		o = *opts
	}
	core, err := once.New(database{db, &sql.TxOptions{Isolation: o.Isolation}}, once.Config{
		Dialect: d, Table: o.Table, Keep: o.KeepNotes, AtOnce: o.MaxAtOnce, MaxConns: db.Stats().MaxOpenConnections, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	return &Inbox{db: db, dialect: d, core: core}, nil
}

// Handler returns a handler that calls fn in a transaction, once for each event
// of its subscription: when the transaction has committed, fn is not called for
// that event again, however often it is delivered.
//
// An error of fn's rolls the transaction back, and means what it means of any
// handler; see toot.Handler. So does a panic. Where another transaction was in
// the way (a deadlock, a serialization failure), fn is called again in a new
// one, up to ten times, which does not count as a try of the event. So fn must
// do to others than the transaction only what may be done several times. It
// leaves Commit and Rollback to the inbox, and returns the errors of its
// statements: MySQL ends a transaction by itself in a deadlock, and what is
// done after that is outside of it.
//
// The transaction ends when ctx does: when the subscription's timeout is over,
// or the lease on the event was lost.
func (in *Inbox) Handler(fn func(ctx context.Context, tx *sql.Tx, e *toot.Event) error) toot.Handler {
	return toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
		return in.core.Handle(ctx, e, func(ctx context.Context, tx *sql.Tx) error { return fn(ctx, tx, e) })
	})
}

// HandlePayload returns a handler as Inbox.Handler does, for a function that
// gets the payload decoded into a T. A payload that does not decode goes to the
// dead letters at once, as with toot.HandlePayload.
func HandlePayload[T any](in *Inbox, fn func(ctx context.Context, tx *sql.Tx, e *toot.Event, payload T) error) toot.Handler {
	return toot.HandlePayload(func(ctx context.Context, e *toot.Event, payload T) error {
		return in.core.Handle(ctx, e, func(ctx context.Context, tx *sql.Tx) error { return fn(ctx, tx, e, payload) })
	})
}

// Schema returns the SQL that makes the table of an inbox, for those who keep
// their migrations in files; it changes nothing where the table is there
// already. An empty table means DefaultTable.
//
//	toot inbox schema --dialect postgres
//
// prints the same.
func Schema(d Dialect, table string) (string, error) {
	if table == "" {
		table = DefaultTable
	}
	if err := errors.Join(d.Check(), dialect.CheckTable(table)); err != nil {
		return "", fmt.Errorf("inbox: %w", err)
	}
	return strings.Join(once.Schema(d, table), ";\n\n") + ";\n", nil
}

// Migrate makes the table where it is missing. Any number of processes may call
// it at once.
func (in *Inbox) Migrate(ctx context.Context) error {
	if err := dialect.Migrate(ctx, in.db, in.dialect, in.core.Table(), once.Schema(in.dialect, in.core.Table())); err != nil {
		return fmt.Errorf("inbox: can't make the table: %w", err)
	}
	return nil
}

// database is a *sql.DB as package once wants it.
type database struct {
	db   *sql.DB
	opts *sql.TxOptions
}

// Begin: database/sql rolls back when the context ends.
func (d database) Begin(ctx context.Context) (*sql.Tx, error) { return d.db.BeginTx(ctx, d.opts) }

func (d database) Exec(ctx context.Context, tx *sql.Tx, query string, args ...any) (int64, error) {
	return affected(tx.ExecContext(ctx, query, args...))
}

func (d database) Commit(_ context.Context, tx *sql.Tx) error { return tx.Commit() }

func (d database) Rollback(tx *sql.Tx) { _ = tx.Rollback() }

func (d database) ExecAlone(ctx context.Context, query string, args ...any) (int64, error) {
	return affected(d.db.ExecContext(ctx, query, args...))
}

func affected(r sql.Result, err error) (int64, error) {
	if err != nil {
		return 0, err
	}
	return r.RowsAffected()
}
