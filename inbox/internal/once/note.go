package once

import (
	"crypto/sha256"
	"encoding/hex"
	"strings"

	"github.com/watermarkchurch/toot-go/internal/dialect"
)

// maxKey bounds each half of a note's key, in bytes: indexes do not take longer
// ones everywhere.
const maxKey = 255

// key is a half of a note's key: its parts as they are, each on a line of its
// own, which none of them has in it; or what stands for them, if that would be
// too long. That the IDs of most events ascend is kept, so that notes are
// written side by side.
func key(parts ...string) []byte {
	k := strings.Join(parts, "\n")
	if len(k) > maxKey {
		sum := sha256.Sum256([]byte(k))
		k = "sha256\n" + hex.EncodeToString(sum[:])
	}
	return []byte(k)
}

// note is the statement that notes an event. It affects no row if it has been
// noted, rather than fail, which would end the transaction on PostgreSQL. While
// another transaction has it noted and not committed, it waits for that.
func note(d dialect.Dialect, table string) string {
	insert, rest := "INSERT INTO ", " ON CONFLICT DO NOTHING"
	if d == dialect.MySQL {
		insert, rest = "INSERT IGNORE INTO ", ""
	}
	return insert + table + " (subscription, event, noted_ms) VALUES (?, ?, " + d.NowMillis() + ")" + rest
}

// Schema is a statement for each table and index.
func Schema(d dialect.Dialect, table string) []string {
	index := dialect.Index(table, "noted")
	switch d {
	case dialect.Postgres:
		return []string{
			`CREATE TABLE IF NOT EXISTS ` + table + ` (
    subscription bytea NOT NULL,
    event        bytea NOT NULL,
    noted_ms     bigint NOT NULL,
    PRIMARY KEY (subscription, event)
)`,
			`CREATE INDEX IF NOT EXISTS ` + index + ` ON ` + table + ` (noted_ms)`,
		}
	case dialect.MySQL:
		return []string{
			`CREATE TABLE IF NOT EXISTS ` + table + ` (
    subscription VARBINARY(255) NOT NULL,
    event        VARBINARY(255) NOT NULL,
    noted_ms     BIGINT NOT NULL,
    PRIMARY KEY (subscription, event),
    INDEX ` + index + ` (noted_ms)
) ENGINE = InnoDB`}
	default:
		if dot := strings.LastIndexByte(table, '.'); dot >= 0 { // the index is in the table's database
			return sqliteSchema(table, table[:dot+1]+index, table[dot+1:])
		}
		return sqliteSchema(table, index, table)
	}
}

func sqliteSchema(table, index, on string) []string {
	return []string{
		`CREATE TABLE IF NOT EXISTS ` + table + ` (
    subscription BLOB NOT NULL,
    event        BLOB NOT NULL,
    noted_ms     INTEGER NOT NULL,
    PRIMARY KEY (subscription, event)
) WITHOUT ROWID`,
		`CREATE INDEX IF NOT EXISTS ` + index + ` ON ` + on + ` (noted_ms)`,
	}
}
