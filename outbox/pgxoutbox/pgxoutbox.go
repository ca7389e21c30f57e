// Package pgxoutbox is package outbox for those who use pgx itself rather than
// database/sql: events are published in a pgx.Tx, and the relay uses a pool of
// pgx's.
//
//	box, err := pgxoutbox.New(app, pool, nil)
//	go box.Run(ctx)
//
//	err = pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
//		// … what the event tells of …
//		_, err := box.Publish(ctx, tx, "orders.placed.v1", order)
//		return err
//	})
package pgxoutbox

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/jackc/pgx/v5/stdlib"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/outbox"
)

// Outbox is an outbox.Outbox whose events are published in transactions of
// pgx's. Everything else is as there.
type Outbox struct {
	*outbox.Outbox
	db *sql.DB
}

// New returns the outbox of an app in a PostgreSQL database. The pool stays the
// caller's, who closes the Outbox before it. Nil options mean the defaults.
func New(app *toot.App, pool *pgxpool.Pool, opts *outbox.Options) (*Outbox, error) {
	if pool == nil {
		return nil, errors.New("pgxoutbox: New needs a pool")
	}
	db := stdlib.OpenDBFromPool(pool)
	box, err := outbox.New(app, db, outbox.Postgres, opts)
	if err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return &Outbox{Outbox: box, db: db}, nil
}

// Close ends what New has begun, once Run has ended. It leaves the pool open.
func (o *Outbox) Close() error { return o.db.Close() }

// Tx is a transaction: a pgx.Tx, or what is built on one. A pool is none: what is
// done with it commits at once.
type Tx interface {
	Exec(ctx context.Context, query string, args ...any) (pgconn.CommandTag, error)
}

// Publish is outbox.Outbox.Publish.
func (o *Outbox) Publish(ctx context.Context, tx Tx, channel string, payload any) (*toot.Event, error) {
	if err := check(tx); err != nil {
		return nil, err
	}
	return o.Outbox.Publish(ctx, execer{tx}, channel, payload)
}

// PublishAll is outbox.Outbox.PublishAll.
func (o *Outbox) PublishAll(ctx context.Context, tx Tx, messages ...toot.Message) ([]*toot.Event, error) {
	if err := check(tx); err != nil {
		return nil, err
	}
	return o.Outbox.PublishAll(ctx, execer{tx}, messages...)
}

func check(tx Tx) error {
	if _, ok := tx.(*pgxpool.Pool); ok {
		return errors.New("pgxoutbox: a pool is no transaction; begin one and publish in that")
	}
	return nil
}

// execer is a Tx as package outbox wants one.
type execer struct{ Tx }

func (e execer) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	tag, err := e.Exec(ctx, query, args...)
	return driver.RowsAffected(tag.RowsAffected()), err
}
