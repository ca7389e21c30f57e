// Package dialect is what outbox and inbox know of the databases that they work
// on: how their SQL differs, and what their errors mean. It imports no driver.
package dialect

import (
	"encoding/hex"
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Dialect is the SQL of a database.
type Dialect string

// The dialects there are.
const (
	Postgres Dialect = "postgres"
	MySQL    Dialect = "mysql" // and MariaDB
	SQLite   Dialect = "sqlite"
)

// Check says what is wrong with a dialect, if anything.
func (d Dialect) Check() error {
	switch d {
	case Postgres, MySQL, SQLite:
		return nil
	}
	return fmt.Errorf("unknown dialect %q: it is one of postgres, mysql (also for MariaDB) and sqlite", string(d))
}

// maxTableBytes leaves room for what is appended to a table's name in those of
// its indexes; PostgreSQL cuts names at 63 bytes.
const maxTableBytes = 48

var tableName = regexp.MustCompile(`^([A-Za-z_][A-Za-z0-9_]*\.)?[A-Za-z_][A-Za-z0-9_]*$`)

// CheckTable says what is wrong with a table's name, if anything. It becomes part
// of statements as it stands.
func CheckTable(name string) error {
	if !tableName.MatchString(name) {
		return fmt.Errorf("%q is no table's name: letters, digits and underscores, after a schema's name and a dot if need be", name)
	}
	if last := name[strings.LastIndexByte(name, '.')+1:]; len(last) > maxTableBytes {
		return fmt.Errorf("the table's name %q is longer than %d bytes", last, maxTableBytes)
	}
	return nil
}

// Index is the name of an index of a table, or of a constraint: without the
// schema's name, as it lies where the table does.
func Index(table, what string) string {
	return table[strings.LastIndexByte(table, '.')+1:] + "_" + what
}

// NowMillis is the database's clock in milliseconds since 1970, as SQL. It does
// not depend on time zones.
func (d Dialect) NowMillis() string {
	switch d {
	case Postgres:
		return "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"
	case MySQL:
		return "(UNIX_TIMESTAMP() * 1000 + MICROSECOND(NOW(6)) DIV 1000)"
	default:
		return "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
	}
}

// Locks reports whether rows are locked one by one (FOR UPDATE SKIP LOCKED),
// rather than the whole database.
func (d Dialect) Locks() bool { return d != SQLite }

// Statement puts arguments in the place of the question marks of a statement,
// whose text must have no others. Bytes and integers are all there is.
//
// MySQL's drivers ask the server to prepare a statement that has arguments,
// each time, which is a round trip of its own; so there they become part of the
// text, in a form that means the same whatever the connection's character set
// and SQL mode are.
func (d Dialect) Statement(text string, args ...any) (string, []any) {
	if d == SQLite || len(args) == 0 {
		return text, args
	}
	var b strings.Builder
	for i := range args {
		before, after, _ := strings.Cut(text, "?")
		b.WriteString(before)
		text = after
		if d == Postgres {
			b.WriteByte('$')
			b.WriteString(strconv.Itoa(i + 1))
			continue
		}
		switch v := args[i].(type) {
		case []byte:
			b.WriteString("x'")
			_, _ = hex.NewEncoder(&b).Write(v)
			b.WriteByte('\'')
		default:
			fmt.Fprintf(&b, "%d", v)
		}
	}
	b.WriteString(text)
	if d == MySQL {
		return b.String(), nil
	}
	return b.String(), args
}

// OneOf is the condition that a column is one of several integers. On
// PostgreSQL the statement's text is the same however many there are, so that
// it is prepared once.
func (d Dialect) OneOf(column string, values []int64) (condition string, args []any) {
	var list strings.Builder
	for i, v := range values {
		if i > 0 {
			list.WriteByte(',')
		}
		list.WriteString(strconv.FormatInt(v, 10))
	}
	if d == Postgres {
		return column + " = ANY(string_to_array(?::text, ',')::bigint[])", []any{list.String()}
	}
	return column + " IN (" + list.String() + ")", nil
}
