package dialect_test

import (
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/watermarkchurch/toot-go/internal/dialect"
)

// TestWhatErrorsMean, those of drivers, wrapped by handlers or not.
func TestWhatErrorsMean(t *testing.T) {
	for _, c := range []struct {
		err              error
		conflict, answer bool
	}{
		{&pgconn.PgError{Code: "40001"}, true, true},
		{&pgconn.PgError{Code: "40P01"}, true, true},
		{&pgconn.PgError{Code: "55P03"}, true, true},
		{&pgconn.PgError{Code: "23505"}, false, true},
		{&pgconn.PgError{Code: "57P01"}, false, false}, // the server is being shut down
		{&pgconn.PgError{Code: "08006"}, false, false},
		{&mysql.MySQLError{Number: 1213, SQLState: [5]byte{'4', '0', '0', '0', '1'}, Message: "Deadlock found"}, true, true},
		{&mysql.MySQLError{Number: 1205, Message: "Lock wait timeout exceeded"}, true, true},
		{&mysql.MySQLError{Number: 1020, Message: "Record has changed"}, true, true},
		{&mysql.MySQLError{Number: 1062, Message: "Duplicate entry"}, false, true},
		{&mysql.MySQLError{Number: 1053, Message: "Server shutdown in progress"}, false, false},
		{errors.New("database is locked (5) (SQLITE_BUSY)"), true, false},
		{mysql.ErrInvalidConn, false, false},
		{driver.ErrBadConn, false, false},
		{io.ErrUnexpectedEOF, false, false},
	} {
		for _, err := range []error{c.err, fmt.Errorf("the handler: %w", c.err), errors.Join(io.EOF, c.err)} {
			if got := dialect.IsConflict(err); got != c.conflict {
				t.Errorf("%v: a conflict is %v", err, got)
			}
			if got := dialect.IsAnswer(err); got != c.answer {
				t.Errorf("%v: an answer is %v", err, got)
			}
		}
	}
	if dialect.IsConflict(nil) || dialect.IsAnswer(nil) {
		t.Error("no error is one")
	}
}

// TestStatement: arguments come where the question marks are, and are what they
// were in the text where they become part of it.
func TestStatement(t *testing.T) {
	const text = "UPDATE t SET a = ? WHERE b = ? AND c = ?"
	args := []any{[]byte("it's ?\x00\\"), int64(-5), []byte{}}
	for d, want := range map[dialect.Dialect]string{
		dialect.Postgres: "UPDATE t SET a = $1 WHERE b = $2 AND c = $3",
		dialect.SQLite:   text,
		dialect.MySQL:    "UPDATE t SET a = x'69742773203f005c' WHERE b = -5 AND c = x''",
	} {
		query, rest := d.Statement(text, args...)
		if query != want {
			t.Errorf("%s: %s", d, query)
		}
		if kept := len(rest) > 0; kept == (d == dialect.MySQL) || kept && !reflect.DeepEqual(rest, args) {
			t.Errorf("%s: %q", d, rest)
		}
	}
}

// TestNamesOfTables: nothing else becomes part of a statement.
func TestNamesOfTables(t *testing.T) {
	for name, ok := range map[string]bool{
		"toot_outbox": true, "shop.toot_outbox": true, "T1": true, "_a": true,
		"": false, "a b": false, "a;b": false, "a.b.c": false, ".a": false, "a.": false, "1a": false, `"a"`: false, "a\n": false, "ä": false,
		strings.Repeat("a", 48): true, strings.Repeat("a", 49): false,
	} {
		if err := dialect.CheckTable(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}
