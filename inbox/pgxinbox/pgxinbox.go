// Package pgxinbox is package inbox for those who use pgx itself rather than
// database/sql: handlers get a pgx.Tx.
//
//	in, err := pgxinbox.New(pool, nil)
//	err = app.Subscribe("bank", "transfers.made.v1", pgxinbox.HandlePayload(in,
//		func(ctx context.Context, tx pgx.Tx, e *toot.Event, t Transfer) error {
//			_, err := tx.Exec(ctx, "UPDATE accounts SET cents = cents + $1 WHERE id = $2", t.Cents, t.To)
//			return err
//		}))
package pgxinbox

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/inbox"
	"github.com/watermarkchurch/toot-go/inbox/internal/once"
	"github.com/watermarkchurch/toot-go/internal/dialect"
)

// Inbox is an inbox.Inbox whose transactions are pgx's. Everything else is as
// there.
type Inbox struct {
	pool *pgxpool.Pool
	core *once.Inbox[*transaction]
}

// New returns an inbox in a PostgreSQL database. The pool stays the caller's. Nil
// options mean the defaults.
func New(pool *pgxpool.Pool, opts *inbox.Options) (*Inbox, error) {
	if pool == nil {
		return nil, errors.New("pgxinbox: New needs a pool")
	}
	var o inbox.Options
	if opts != nil {
		o = *opts
	}
	level, err := isolation(o.Isolation)
	if err != nil {
		return nil, err
	}
	core, err := once.New(database{pool, pgx.TxOptions{IsoLevel: level}}, once.Config{
		Dialect: inbox.Postgres, Table: o.Table, Keep: o.KeepNotes, AtOnce: o.MaxAtOnce, MaxConns: int(pool.Config().MaxConns), Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	return &Inbox{pool: pool, core: core}, nil
}

func isolation(level sql.IsolationLevel) (pgx.TxIsoLevel, error) {
	switch level {
	case sql.LevelDefault:
		return "", nil
	case sql.LevelReadUncommitted:
		return pgx.ReadUncommitted, nil
	case sql.LevelReadCommitted:
		return pgx.ReadCommitted, nil
	case sql.LevelRepeatableRead, sql.LevelSnapshot:
		return pgx.RepeatableRead, nil
	case sql.LevelSerializable:
		return pgx.Serializable, nil
	}
	return "", fmt.Errorf("pgxinbox: PostgreSQL has no isolation level %v", level)
}

// Handler is inbox.Inbox.Handler.
func (in *Inbox) Handler(fn func(ctx context.Context, tx pgx.Tx, e *toot.Event) error) toot.Handler {
	return toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
		return in.core.Handle(ctx, e, func(ctx context.Context, t *transaction) error { return fn(ctx, t.tx, e) })
	})
}

// HandlePayload is inbox.HandlePayload.
func HandlePayload[T any](in *Inbox, fn func(ctx context.Context, tx pgx.Tx, e *toot.Event, payload T) error) toot.Handler {
	return toot.HandlePayload(func(ctx context.Context, e *toot.Event, payload T) error {
		return in.core.Handle(ctx, e, func(ctx context.Context, t *transaction) error { return fn(ctx, t.tx, e, payload) })
	})
}

// Migrate makes the table where it is missing. Any number of processes may call
// it at once.
func (in *Inbox) Migrate(ctx context.Context) error {
	db := stdlib.OpenDBFromPool(in.pool)
	defer func() { _ = db.Close() }()
	if err := dialect.Migrate(ctx, db, inbox.Postgres, in.core.Table(), once.Schema(inbox.Postgres, in.core.Table())); err != nil {
		return fmt.Errorf("pgxinbox: can't make the table: %w", err)
	}
	return nil
}

// transaction is one that ends with its context. release makes that end: it
// belongs before the connection goes back to the pool, and reports whether the
// connection is still there.
type transaction struct {
	tx      pgx.Tx
	release func() bool
}

// database is a pool as package once wants it.
type database struct {
	pool *pgxpool.Pool
	opts pgx.TxOptions
}

// Begin begins a transaction that ends with the context, though its handler
// does not look at that: the server rolls back what belongs to a connection
// that is closed.
func (d database) Begin(ctx context.Context) (*transaction, error) {
	tx, err := d.pool.BeginTx(ctx, d.opts)
	if err != nil {
		return nil, err
	}
	conn, closed := tx.Conn().PgConn().Conn(), make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		_ = conn.Close()
		close(closed)
	})
	return &transaction{tx, sync.OnceValue(func() bool {
		if stop() {
			return true
		}
		<-closed
		return false
	})}, nil
}

func (d database) Exec(ctx context.Context, t *transaction, query string, args ...any) (int64, error) {
	tag, err := t.tx.Exec(ctx, query, args...)
	return tag.RowsAffected(), err
}

func (d database) Commit(ctx context.Context, t *transaction) error {
	if !t.release() {
		return context.Cause(ctx)
	}
	return t.tx.Commit(ctx)
}

func (d database) Rollback(t *transaction) {
	t.release()
	ctx, cancel := context.WithTimeout(context.Background(), rollbackTimeout)
	defer cancel()
	_ = t.tx.Rollback(ctx)
}

// rollbackTimeout bounds a rollback; a connection that is not done by then is
// closed.
const rollbackTimeout = 5 * time.Second

func (d database) ExecAlone(ctx context.Context, query string, args ...any) (int64, error) {
	tag, err := d.pool.Exec(ctx, query, args...)
	return tag.RowsAffected(), err
}
