//nolint:gosec // int32 for everything: this file calls C.
package sqlite

import (
	"fmt"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Stmt is a prepared statement. Parameters and columns count from 0.
// Parameters keep their value when the statement is run again, and may be
// bound only before the first Step and after the last: Step says when.
type Stmt struct {
	c    *Conn
	p    uintptr
	bufs []buffer // one for each parameter
}

func (c *Conn) prepare(sql string) (*Stmt, error) {
	z, err := libc.CString(sql)
	if err != nil {
		return nil, errNoMemory
	}
	defer libc.Xfree(c.tls, z)
	p, rc := out(c.tls, func(p uintptr) int32 {
		return sqlite3.Xsqlite3_prepare_v3(c.tls, c.db, z, -1, sqlite3.SQLITE_PREPARE_PERSISTENT, p, 0)
	})
	if rc != sqlite3.SQLITE_OK {
		return nil, c.fail(rc)
	}
	return &Stmt{c: c, p: p, bufs: make([]buffer, sqlite3.Xsqlite3_bind_parameter_count(c.tls, p))}, nil
}

func (s *Stmt) finalize() {
	sqlite3.Xsqlite3_finalize(s.c.tls, s.p)
	for i := range s.bufs {
		s.bufs[i].free(s.c.tls)
	}
	s.p, s.bufs = 0, nil
}

// Bind sets the parameters from the first on, to an int, int64, string or
// []byte each.
func (s *Stmt) Bind(args ...any) error {
	for i, a := range args {
		var err error
		switch v := a.(type) {
		case int64:
			err = s.BindInt(i, v)
		case int:
			err = s.BindInt(i, int64(v))
		case string:
			err = s.BindText(i, v)
		case []byte:
			err = s.BindBlob(i, v)
		default:
			panic(fmt.Sprintf("sqlite: no binding for %T", a))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// BindInt binds an integer.
func (s *Stmt) BindInt(i int, v int64) error {
	return s.bound(sqlite3.Xsqlite3_bind_int64(s.c.tls, s.p, int32(i+1), v))
}

// BindBlob binds bytes; nil is NULL.
func (s *Stmt) BindBlob(i int, v []byte) error {
	if v == nil {
		return s.bound(sqlite3.Xsqlite3_bind_null(s.c.tls, s.p, int32(i+1)))
	}
	p, err := s.hold(i, unsafe.SliceData(v), len(v))
	if err != nil {
		return err
	}
	return s.bound(sqlite3.Xsqlite3_bind_blob(s.c.tls, s.p, int32(i+1), p, int32(len(v)), 0))
}

// BindText binds a text.
func (s *Stmt) BindText(i int, v string) error {
	p, err := s.hold(i, unsafe.StringData(v), len(v))
	if err != nil {
		return err
	}
	return s.bound(sqlite3.Xsqlite3_bind_text(s.c.tls, s.p, int32(i+1), p, int32(len(v)), 0))
}

func (s *Stmt) bound(rc int32) error {
	if rc != sqlite3.SQLITE_OK {
		return s.c.fail(rc)
	}
	return nil
}

// maxValue is SQLite's limit for one value, which is also below what an int32
// can say.
const maxValue = 1_000_000_000

// hold copies a value to the memory of parameter i.
func (s *Stmt) hold(i int, from *byte, n int) (uintptr, error) {
	if n > maxValue {
		return 0, &Error{Code: TooBig, Message: "string or blob too big"}
	}
	p := s.bufs[i].hold(s.c.tls, from, n)
	if p == 0 {
		return 0, errNoMemory
	}
	return p, nil
}

// Run executes a statement, ignoring rows.
func (s *Stmt) Run() error {
	rc := sqlite3.Xsqlite3_step(s.c.tls, s.p)
	if rc == sqlite3.SQLITE_DONE || rc == sqlite3.SQLITE_ROW {
		s.Reset()
		return nil
	}
	err := s.c.fail(rc)
	s.Reset()
	return err
}

// Step moves to the next row and reports whether there is one. After the last
// row and after an error the statement is reset already.
func (s *Stmt) Step() (bool, error) {
	switch rc := sqlite3.Xsqlite3_step(s.c.tls, s.p); rc {
	case sqlite3.SQLITE_ROW:
		return true, nil
	case sqlite3.SQLITE_DONE:
		s.Reset()
		return false, nil
	default:
		err := s.c.fail(rc)
		s.Reset()
		return false, err
	}
}

// Reset ends a query before its last row.
func (s *Stmt) Reset() { sqlite3.Xsqlite3_reset(s.c.tls, s.p) }

// Int is a column as an integer, 0 for NULL.
func (s *Stmt) Int(col int) int64 {
	return sqlite3.Xsqlite3_column_int64(s.c.tls, s.p, int32(col))
}

// Text is a column as text, empty for NULL.
func (s *Stmt) Text(col int) string { return string(s.Peek(col)) }

// Blob is a copy of a column's bytes; nil for NULL, and only for NULL.
func (s *Stmt) Blob(col int) []byte {
	if sqlite3.Xsqlite3_column_type(s.c.tls, s.p, int32(col)) == sqlite3.SQLITE_NULL {
		return nil
	}
	return append([]byte{}, s.Peek(col)...)
}

// Peek is a column's bytes themselves, which are gone with the row; nil if
// there are none.
func (s *Stmt) Peek(col int) []byte {
	p := sqlite3.Xsqlite3_column_blob(s.c.tls, s.p, int32(col))
	n := sqlite3.Xsqlite3_column_bytes(s.c.tls, s.p, int32(col))
	if n == 0 {
		return nil
	}
	return bytesAt(p, n)
}
