package dialect

import (
	"context"
	"database/sql"
	"hash/crc32"
)

// Migrate runs the statements that make a table and what belongs to it. Those
// of MySQL and SQLite do nothing where they have been run before. PostgreSQL's
// are run in one transaction, by one process after the other, if the table is
// missing: there CREATE TABLE IF NOT EXISTS fails if somebody else makes the
// table at the same moment, and ALTER TABLE waits for every transaction that
// uses it.
func Migrate(ctx context.Context, db *sql.DB, d Dialect, table string, statements []string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if d == Postgres {
		query, args := d.Statement("SELECT pg_advisory_xact_lock(?)", int64(crc32.ChecksumIEEE([]byte("toot "+table))))
		if _, err := tx.ExecContext(ctx, query, args...); err != nil {
			return err
		}
		var there bool
		query, args = d.Statement("SELECT to_regclass(?::text) IS NOT NULL", table)
		if err := tx.QueryRowContext(ctx, query, args...).Scan(&there); err != nil || there {
			return err
		}
	}
	for _, statement := range statements {
		if _, err := tx.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return tx.Commit()
}
