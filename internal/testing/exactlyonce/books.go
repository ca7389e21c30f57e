package exactlyonce

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/inbox"
	"github.com/watermarkchurch/toot-go/inbox/pgxinbox"
	"github.com/watermarkchurch/toot-go/outbox"
	"github.com/watermarkchurch/toot-go/outbox/pgxoutbox"
)

// PGX is the Driver of a Bank that uses pgx itself, by pgxoutbox and pgxinbox,
// rather than database/sql.
const PGX = "pgx itself"

// maxConns is how many connections a process has to its bank's database.
const maxConns = 4

// books are a bank's database as a process of the bank uses it.
type books interface {
	// transact makes a transaction, which commits if do returns nil. What is
	// published in it goes out by the outbox.
	transact(ctx context.Context, do func(exec execFunc, publish func(context.Context, Transfer) error) error) error
	// handler makes do part of the inbox's transaction.
	handler(do func(ctx context.Context, exec execFunc, e *toot.Event, t Transfer) error) toot.Handler
	// relay runs the outbox's relay until ctx ends.
	relay(ctx context.Context) error
	close() error
}

func openBooks(ctx context.Context, app *toot.App, b Bank) (books, error) {
	if b.Driver == PGX {
		return openPGX(ctx, app, b)
	}
	return openSQL(app, b)
}

var quiet = slog.New(slog.DiscardHandler)

// outboxOptions have the relay look often, so that what others have published
// does not wait.
func outboxOptions() *outbox.Options {
	return &outbox.Options{PollInterval: 100 * time.Millisecond, Logger: quiet}
}

func inboxOptions() *inbox.Options { return &inbox.Options{Logger: quiet} }

// sqlBooks are books by database/sql.
type sqlBooks struct {
	db      *sql.DB
	dialect outbox.Dialect
	box     *outbox.Outbox
	in      *inbox.Inbox
}

func openSQL(app *toot.App, b Bank) (books, error) {
	db, err := sql.Open(b.Driver, b.Source)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(maxConns)
	box, err := outbox.New(app, db, b.Dialect, outboxOptions())
	if err != nil {
		return nil, err
	}
	in, err := inbox.New(db, b.Dialect, inboxOptions())
	if err != nil {
		return nil, err
	}
	return &sqlBooks{db, b.Dialect, box, in}, nil
}

func (b *sqlBooks) transact(ctx context.Context, do func(execFunc, func(context.Context, Transfer) error) error) error {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if err := do(b.exec(tx), func(ctx context.Context, t Transfer) error {
		_, err := b.box.Publish(ctx, tx, channel, t)
		return err
	}); err != nil {
		return err
	}
	return tx.Commit()
}

func (b *sqlBooks) exec(tx *sql.Tx) execFunc {
	return func(ctx context.Context, statement string, args ...any) error {
		query, args := b.dialect.Statement(statement, args...)
		_, err := tx.ExecContext(ctx, query, args...)
		return err
	}
}

func (b *sqlBooks) handler(do func(context.Context, execFunc, *toot.Event, Transfer) error) toot.Handler {
	return inbox.HandlePayload(b.in, func(ctx context.Context, tx *sql.Tx, e *toot.Event, t Transfer) error {
		return do(ctx, b.exec(tx), e, t)
	})
}

func (b *sqlBooks) relay(ctx context.Context) error { return b.box.Run(ctx) }

func (b *sqlBooks) close() error { return b.db.Close() }

// pgxBooks are books by pgx itself.
type pgxBooks struct {
	pool *pgxpool.Pool
	box  *pgxoutbox.Outbox
	in   *pgxinbox.Inbox
}

func openPGX(ctx context.Context, app *toot.App, b Bank) (books, error) {
	config, err := pgxpool.ParseConfig(b.Source)
	if err != nil {
		return nil, err
	}
	config.MaxConns = maxConns
	pool, err := pgxpool.NewWithConfig(ctx, config)
	if err != nil {
		return nil, err
	}
	box, err := pgxoutbox.New(app, pool, outboxOptions())
	if err != nil {
		return nil, err
	}
	in, err := pgxinbox.New(pool, inboxOptions())
	if err != nil {
		return nil, err
	}
	return &pgxBooks{pool, box, in}, nil
}

func (b *pgxBooks) transact(ctx context.Context, do func(execFunc, func(context.Context, Transfer) error) error) error {
	return pgx.BeginFunc(ctx, b.pool, func(tx pgx.Tx) error {
		return do(pgxExec(tx), func(ctx context.Context, t Transfer) error {
			_, err := b.box.Publish(ctx, tx, channel, t)
			return err
		})
	})
}

func pgxExec(tx pgx.Tx) execFunc {
	return func(ctx context.Context, statement string, args ...any) error {
		query, args := outbox.Postgres.Statement(statement, args...)
		_, err := tx.Exec(ctx, query, args...)
		return err
	}
}

func (b *pgxBooks) handler(do func(context.Context, execFunc, *toot.Event, Transfer) error) toot.Handler {
	return pgxinbox.HandlePayload(b.in, func(ctx context.Context, tx pgx.Tx, e *toot.Event, t Transfer) error {
		return do(ctx, pgxExec(tx), e, t)
	})
}

func (b *pgxBooks) relay(ctx context.Context) error { return b.box.Run(ctx) }

func (b *pgxBooks) close() error {
	err := b.box.Close()
	b.pool.Close()
	return err
}
