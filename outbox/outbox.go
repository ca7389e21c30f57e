package outbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/internal/dialect"
)

// Dialect is the SQL of a database.
type Dialect = dialect.Dialect

// The databases that an Outbox may lie in.
const (
	Postgres = dialect.Postgres // PostgreSQL 12 or later
	MySQL    = dialect.MySQL    // MariaDB 10.6, MySQL 8.0 or later
	SQLite   = dialect.SQLite   // SQLite 3.24 or later
)

// DefaultTable is the table of an Outbox whose Options name none.
const DefaultTable = "toot_outbox"

// Options configure an Outbox. The zero value of each field means its default.
type Options struct {
	// Table is the table, with a schema before it if need be. What is set aside
	// lies in another one, whose name has "_aside" appended. Default
	// DefaultTable.
	Table string
	// PollInterval is how often Run looks whether there is something to be
	// moved, while nothing was put into the outbox by this process for ten
	// seconds. Until then it looks every 50 ms at least. Default 1 s.
	PollInterval time.Duration
	// MaxRows is how many events Run moves in one transaction at most. Default
	// 500.
	MaxRows int
	// Logger gets what an operator should know. Default slog.Default().
	Logger *slog.Logger
}

// Outbox is a table of events that are published once the transactions in which
// they were written have committed. Its methods may be called concurrently.
type Outbox struct {
	app        *toot.App
	db         *sql.DB
	dialect    Dialect
	opts       Options
	apartUntil atomic.Int64  // until when the engine is taken to be in another database, in nanoseconds since 1970
	published  chan struct{} // has something in it since this process has put events into the outbox
}

// New returns the outbox of an app in a database of its owner's, which stays
// open. The tables must be there before it is used, see Outbox.Migrate and
// Schema. Nil options mean the defaults.
func New(app *toot.App, db *sql.DB, d Dialect, opts *Options) (*Outbox, error) {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.Table == "" {
		o.Table = DefaultTable
	}
	if o.PollInterval <= 0 {
		o.PollInterval = time.Second
	}
	if o.MaxRows <= 0 {
		o.MaxRows = 500
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	switch err := errors.Join(d.Check(), dialect.CheckTable(o.Table)); {
	case err != nil:
		return nil, fmt.Errorf("outbox: %w", err)
	case app == nil || db == nil:
		return nil, errors.New("outbox: New needs an app and a database")
	}
	return &Outbox{app: app, db: db, dialect: d, opts: o, published: make(chan struct{}, 1)}, nil
}

// Table is the outbox's table.
func (o *Outbox) Table() string { return o.opts.Table }

// Tx is a transaction, such as *sql.Tx or what is built on that. A *sql.DB is
// none: what is done with it commits at once.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Publish writes an event into the outbox, in the caller's transaction: it is
// published once that has committed, and never if it is rolled back. The channel
// is named without the app's prefix; see toot.Message for what a payload may be.
//
// If a statement of the transaction has failed, end it: in a deadlock MySQL and
// MariaDB roll back by themselves, and what is published in tx after that is
// committed at once.
//
// It takes one INSERT. Its errors are those of toot.App.Prepare, with which
// nothing has been sent to the database, and the database's, after which the
// transaction had better be rolled back.
func (o *Outbox) Publish(ctx context.Context, tx Tx, channel string, payload any) (*toot.Event, error) {
	events, err := o.PublishAll(ctx, tx, toot.Message{Channel: channel, Payload: payload})
	if err != nil {
		return nil, err
	}
	return events[0], nil
}

// PublishAll writes events into the outbox, as Publish does. They are returned
// in the order of the messages, in which they are also published, though not
// always delivered. It takes one INSERT for each hundred events, or MiB of them.
func (o *Outbox) PublishAll(ctx context.Context, tx Tx, messages ...toot.Message) ([]*toot.Event, error) {
	if _, ok := tx.(*sql.DB); ok {
		return nil, errors.New("outbox: a *sql.DB is no transaction; begin one and publish in that")
	}
	events, prepared, err := o.app.Prepare(ctx, messages...)
	if err != nil {
		return nil, err
	}
	for from := 0; from < len(events); {
		to := chunk(prepared, from)
		query, args := o.insert(events[from:to], prepared[from:to])
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return nil, fmt.Errorf("outbox: can't write an event on %q into %s: %w", events[from].Channel, o.opts.Table, err)
		}
		from = to
	}
	select {
	case o.published <- struct{}{}:
	default:
	}
	return events, nil
}

const (
	// chunkRows and chunkBytes bound an INSERT: servers have a limit on
	// arguments, and on the size of a statement.
	chunkRows  = 100
	chunkBytes = 1 << 20
)

// chunk returns where the INSERT ends that begins with an event.
func chunk(prepared []toot.Prepared, from int) (to int) {
	bytes := 0
	for to = from; to < len(prepared) && to-from < chunkRows; to++ {
		bytes += len(prepared[to].Body)
		if bytes > chunkBytes && to > from {
			break
		}
	}
	return to
}

// columns are what is kept of an event. delay_ms is how long after created_ms it
// is to be sent.
const columns = "id, channel, body, meta, delay_ms, created_ms"

// insert is the statement that writes events.
func (o *Outbox) insert(events []*toot.Event, prepared []toot.Prepared) (query string, args []any) {
	text := "INSERT INTO " + o.opts.Table + " (" + columns + ") VALUES "
	row := "(?, ?, ?, ?, ?, " + o.dialect.NowMillis() + ")"
	args = make([]any, 0, 5*len(events))
	for i, e := range events {
		if i > 0 {
			text += ", "
		}
		text += row
		args = append(args, []byte(e.ID), []byte(e.Channel), prepared[i].Body,
			append([]byte{}, prepared[i].Meta...), // not nil, which would be NULL
			prepared[i].After.Milliseconds())
	}
	return o.dialect.Statement(text, args...)
}
