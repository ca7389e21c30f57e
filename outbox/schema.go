package outbox

import (
	"context"
	"fmt"
	"strings"

	"github.com/watermarkchurch/toot-go/internal/dialect"
)

// Schema returns the SQL that makes the tables of an outbox, for those who keep
// their migrations in files; it changes nothing where they are there already. An
// empty table means DefaultTable.
//
//	toot outbox schema --dialect postgres
//
// prints the same.
func Schema(d Dialect, table string) (string, error) {
	if table == "" {
		table = DefaultTable
	}
	if err := d.Check(); err != nil {
		return "", fmt.Errorf("outbox: %w", err)
	}
	if err := dialect.CheckTable(table); err != nil {
		return "", fmt.Errorf("outbox: %w", err)
	}
	return strings.Join(schema(d, table), ";\n\n") + ";\n", nil
}

// Migrate makes the tables where they are missing. Any number of processes may
// call it at once.
func (o *Outbox) Migrate(ctx context.Context) error {
	if err := dialect.Migrate(ctx, o.db, o.dialect, o.opts.Table, schema(o.dialect, o.opts.Table)); err != nil {
		return fmt.Errorf("outbox: can't make the tables: %w", err)
	}
	return nil
}

// schema is a statement for each table, and what there is to say beside it.
//
// n only tells rows apart and puts them in order: it must never be given twice,
// or what one relay has moved is deleted when it is another event by then. Names
// and bytes are binary, so that neither a character set nor a collation makes
// two of them one, or changes any.
func schema(d Dialect, table string) []string {
	aside := table + asideSuffix
	switch d {
	case Postgres:
		// Rows live for milliseconds: they are to be cleaned up by their
		// number, not by a share of a table that is empty, and not to be
		// compressed.
		return []string{
			`CREATE TABLE IF NOT EXISTS ` + table + ` (
    n          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         bytea NOT NULL,
    channel    bytea NOT NULL,
    body       bytea NOT NULL,
    meta       bytea NOT NULL,
    delay_ms   bigint NOT NULL,
    created_ms bigint NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_cost_delay = 0)`,
			`ALTER TABLE ` + table + ` ALTER COLUMN body SET STORAGE EXTERNAL`,
			`CREATE TABLE IF NOT EXISTS ` + aside + ` (
    n          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    id         bytea NOT NULL,
    channel    bytea NOT NULL,
    body       bytea NOT NULL,
    meta       bytea NOT NULL,
    delay_ms   bigint NOT NULL,
    created_ms bigint NOT NULL,
    aside_ms   bigint NOT NULL,
    reason     bytea NOT NULL
)`}
	case MySQL:
		const event = ` (
    n          BIGINT NOT NULL AUTO_INCREMENT PRIMARY KEY,
    id         VARBINARY(1024) NOT NULL,
    channel    VARBINARY(1024) NOT NULL,
    body       LONGBLOB NOT NULL,
    meta       BLOB NOT NULL,
    delay_ms   BIGINT NOT NULL,
    created_ms BIGINT NOT NULL`
		return []string{
			`CREATE TABLE IF NOT EXISTS ` + table + event + "\n) ENGINE = InnoDB",
			`CREATE TABLE IF NOT EXISTS ` + aside + event + `,
    aside_ms   BIGINT NOT NULL,
    reason     BLOB NOT NULL
) ENGINE = InnoDB`}
	default:
		const event = ` (
    n          INTEGER PRIMARY KEY AUTOINCREMENT,
    id         BLOB NOT NULL,
    channel    BLOB NOT NULL,
    body       BLOB NOT NULL,
    meta       BLOB NOT NULL,
    delay_ms   INTEGER NOT NULL,
    created_ms INTEGER NOT NULL`
		return []string{
			`CREATE TABLE IF NOT EXISTS ` + table + event + "\n)",
			`CREATE TABLE IF NOT EXISTS ` + aside + event + `,
    aside_ms   INTEGER NOT NULL,
    reason     BLOB NOT NULL
)`}
	}
}
