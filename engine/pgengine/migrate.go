package pgengine

import (
	"context"
	"errors"
	"fmt"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

// migrate makes the schema, or brings it up to this package's version. Processes
// that do so at once wait for each other. What other versions wrote is left alone
// by programs that are older than the schema, unless it says that it needs newer
// ones.
func (e *Engine) migrate(ctx context.Context) error {
	version, err := e.version(ctx, e.pool)
	if err != nil || version >= len(e.migrations) {
		return err
	}
	tx, err := e.begin(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback(context.WithoutCancel(ctx)) }()
	if _, err := tx.Exec(ctx, "SELECT pg_advisory_xact_lock(hashtextextended($1, 746))", e.mode, "toot schema "+e.schema); err != nil {
		return err
	}
	// The lock was waited for: somebody else may have done it.
	if version, err = e.version(ctx, tx); err != nil {
		return err
	}
	if version < len(e.migrations) {
		e.log.Info("pgengine: changing the schema", "schema", e.schema, "from", version, "to", len(e.migrations))
		if _, err := tx.Exec(ctx, schemaSQL(e.schema, version, e.migrations)); err != nil {
			return fmt.Errorf("can't make the schema %q (who may, can run what pgengine.Schema returns): %w", e.schema, err)
		}
	}
	return tx.Commit(ctx)
}

// version is that of the schema, 0 if there is none.
func (e *Engine) version(ctx context.Context, q querier) (version int, err error) {
	var found bool // by a query, since what else knows names may be out of date
	if err := q.QueryRow(ctx, `SELECT EXISTS (SELECT 1 FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
		WHERE n.nspname = $1 AND c.relname = 'state')`, e.mode, e.schema).Scan(&found); err != nil || !found {
		return 0, err
	}
	var needs int
	err = q.QueryRow(ctx, e.sql("SELECT version, needs FROM toot.state"), e.mode).Scan(&version, &needs)
	var refused *pgconn.PgError
	switch {
	case errors.Is(err, pgx.ErrNoRows):
		return 0, plain("the schema %q has no state: it is another program's, or damaged", e.schema)
	case errors.As(err, &refused) && refused.Code == "42703": // undefined_column
		return 0, plain("the schema %q is another program's: name one with Options.Schema", e.schema)
	case err == nil && needs > len(e.migrations):
		return 0, e.tooOld(needs)
	}
	return version, err
}

func (e *Engine) tooOld(needs int) error {
	return plain("the schema %q needs a newer toot (one that knows its version %d; this one knows %d)", e.schema, needs, len(e.migrations))
}
