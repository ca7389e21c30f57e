//nolint:gosec // This file is the border to C: addresses, and int32 for everything.
package sqliteengine

import (
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
	"unsafe"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/watermarkchurch/toot-go/engine"
)

// conn is one connection to the file, used by one goroutine at a time.
//
// It calls the SQLite library of modernc.org/sqlite without the driver for
// database/sql around it. An engine runs some ten thousand small statements a
// batch, and the driver's work for each of them (contexts, boxed values, an
// allocation for every blob) takes longer than SQLite's own.
type conn struct {
	tls    *libc.TLS
	db     uintptr
	wal    uintptr          // the open log, see wal.go; 0: not known
	cached map[string]*stmt // by SQL text
}

// openFlags are how every connection opens its file.
type openFlags int32

const (
	openExisting openFlags = sqlite3.SQLITE_OPEN_READWRITE | sqlite3.SQLITE_OPEN_NOMUTEX
	openCreate   openFlags = openExisting | sqlite3.SQLITE_OPEN_CREATE
)

// patchLibrary does what the driver does when it is linked. Linking it would
// register it with database/sql, under a name that an app may have given to
// another one.
var patchLibrary = sync.OnceFunc(sqlite3.PatchIssue199)

func openConn(path string, flags openFlags) (*conn, error) {
	patchLibrary()
	vfs, err := openVFS()
	if err != nil {
		return nil, err
	}
	c := &conn{tls: libc.NewTLS(), cached: map[string]*stmt{}}
	name, err := libc.CString(path)
	if err != nil {
		c.tls.Close()
		return nil, err
	}
	defer libc.Xfree(c.tls, name)
	out := c.tls.Alloc(int(unsafe.Sizeof(uintptr(0))))
	defer c.tls.Free(int(unsafe.Sizeof(uintptr(0))))
	rc := sqlite3.Xsqlite3_open_v2(c.tls, name, out, int32(flags), vfs)
	c.db = *(*uintptr)(ptr(out))
	if rc != sqlite3.SQLITE_OK {
		err := c.fail(rc)
		_ = c.close()
		return nil, err
	}
	sqlite3.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
	if err := c.fixPlans(); err != nil {
		_ = c.close()
		return nil, err
	}
	return c, nil
}

// fixPlans has statements keep the plan that they were prepared with. Without
// it SQLite prepares some anew whenever other values are bound.
func (c *conn) fixPlans() error {
	const args = 2 * 8 // each takes 8 bytes
	p := c.tls.Alloc(args)
	defer c.tls.Free(args)
	rc := sqlite3.Xsqlite3_db_config(c.tls, c.db, sqlite3.SQLITE_DBCONFIG_ENABLE_QPSG, libc.VaList(p, int32(1), uintptr(0)))
	if rc != sqlite3.SQLITE_OK {
		return c.fail(rc)
	}
	return nil
}

// close finalizes every statement and closes the connection.
func (c *conn) close() error {
	for _, s := range c.cached {
		s.finalize()
	}
	c.cached = nil
	var err error
	if c.db != 0 {
		if rc := sqlite3.Xsqlite3_close_v2(c.tls, c.db); rc != sqlite3.SQLITE_OK {
			err = c.fail(rc)
		}
		c.db = 0
	}
	c.tls.Close()
	return err
}

// sqliteError is what the library reports.
type sqliteError struct {
	code int32 // extended result code
	msg  string
}

func (e *sqliteError) Error() string { return e.msg }

// primary is the result code without its extension.
func (e *sqliteError) primary() int32 { return e.code & 0xff }

// isCode reports whether err is the library's with one of the primary codes.
func isCode(err error, codes ...int32) bool {
	var e *sqliteError
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.primary() == c {
			return true
		}
	}
	return false
}

func (c *conn) fail(rc int32) error {
	msg := libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))
	if c.db != 0 {
		if m := libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db)); m != msg && m != "not an error" {
			msg += ": " + m
		}
	}
	return &sqliteError{code: rc, msg: fmt.Sprintf("%s (%d)", msg, rc)}
}

// busyTimeout is how long a statement waits for a lock of another connection.
func (c *conn) busyTimeout(d time.Duration) {
	sqlite3.Xsqlite3_busy_timeout(c.tls, c.db, int32(d.Milliseconds()))
}

// readOnly reports whether the file could only be opened for reading.
func (c *conn) readOnly() bool { return sqlite3.Xsqlite3_db_readonly(c.tls, c.db, 0) == 1 }

// inTransaction reports whether BEGIN has been run and neither COMMIT nor
// ROLLBACK, SQLite's own after a severe error included.
func (c *conn) inTransaction() bool { return sqlite3.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

// lastID is the rowid of the last row inserted.
func (c *conn) lastID() int64 { return sqlite3.Xsqlite3_last_insert_rowid(c.tls, c.db) }

// exec runs statements that need no parameters, ignoring their rows.
func (c *conn) exec(sql string) error {
	z, err := libc.CString(sql)
	if err != nil {
		return err
	}
	defer libc.Xfree(c.tls, z)
	if rc := sqlite3.Xsqlite3_exec(c.tls, c.db, z, 0, 0, 0); rc != sqlite3.SQLITE_OK {
		return c.fail(rc)
	}
	return nil
}

// queryInt returns the first column of the first row, 0 without rows. It does
// not keep the statement.
func (c *conn) queryInt(sql string) (int64, error) {
	s, err := c.prepare(sql)
	if err != nil {
		return 0, err
	}
	defer s.finalize()
	row, err := s.step()
	if err != nil || !row {
		return 0, err
	}
	return s.int(0), nil
}

// stmt returns the prepared statement for a constant text, with args bound.
func (c *conn) stmt(sql string, args ...any) (*stmt, error) {
	s := c.cached[sql]
	if s == nil {
		var err error
		if s, err = c.prepare(sql); err != nil {
			return nil, err
		}
		c.cached[sql] = s
	}
	return s, s.bind(args...)
}

// run executes a statement and returns how many rows it changed.
func (c *conn) run(sql string, args ...any) (int, error) {
	s, err := c.stmt(sql, args...)
	if err != nil {
		return 0, err
	}
	if err := s.run(); err != nil {
		return 0, err
	}
	return c.changes(), nil
}

// query runs a statement to its first row and reports whether there is one.
// If so, the caller steps to the end or resets it.
func (c *conn) query(sql string, args ...any) (*stmt, bool, error) {
	s, err := c.stmt(sql, args...)
	if err != nil {
		return nil, false, err
	}
	row, err := s.step()
	return s, row, err
}

// changes is how many rows the last statement inserted, changed or deleted.
func (c *conn) changes() int {
	return int(sqlite3.Xsqlite3_changes(c.tls, c.db))
}

// stmt is a prepared statement. Its parameters are bound anew before each
// run: bindInt and the others count from 0 and keep their value over a reset.
type stmt struct {
	c    *conn
	p    uintptr
	bufs []buffer // C memory for the bytes of each parameter, reused
}

// buffer is C memory: SQLite must not be pointed at memory of Go's.
type buffer struct {
	p   uintptr
	cap int
}

// keepBuffer is how much memory a parameter keeps between two runs.
const keepBuffer = 64 << 10

func (c *conn) prepare(sql string) (*stmt, error) {
	z, err := libc.CString(sql)
	if err != nil {
		return nil, err
	}
	defer libc.Xfree(c.tls, z)
	out := c.tls.Alloc(int(unsafe.Sizeof(uintptr(0))))
	defer c.tls.Free(int(unsafe.Sizeof(uintptr(0))))
	if rc := sqlite3.Xsqlite3_prepare_v3(c.tls, c.db, z, -1, sqlite3.SQLITE_PREPARE_PERSISTENT, out, 0); rc != sqlite3.SQLITE_OK {
		return nil, c.fail(rc)
	}
	s := &stmt{c: c, p: *(*uintptr)(ptr(out))}
	s.bufs = make([]buffer, sqlite3.Xsqlite3_bind_parameter_count(c.tls, s.p))
	return s, nil
}

func (s *stmt) finalize() {
	sqlite3.Xsqlite3_finalize(s.c.tls, s.p)
	for _, b := range s.bufs {
		if b.p != 0 {
			libc.Xfree(s.c.tls, b.p)
		}
	}
	s.p, s.bufs = 0, nil
}

// bind sets the parameters from the first on.
func (s *stmt) bind(args ...any) error {
	for i, a := range args {
		var err error
		switch v := a.(type) {
		case int64:
			s.bindInt(i, v)
		case int:
			s.bindInt(i, int64(v))
		case string:
			err = s.bindText(i, v)
		case []byte:
			err = s.bindBlob(i, v)
		default:
			panic(fmt.Sprintf("sqliteengine: no binding for %T", a))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (s *stmt) bindInt(i int, v int64) {
	sqlite3.Xsqlite3_bind_int64(s.c.tls, s.p, int32(i+1), v)
}

// bindBlob binds bytes; nil is NULL.
func (s *stmt) bindBlob(i int, v []byte) error {
	if v == nil {
		sqlite3.Xsqlite3_bind_null(s.c.tls, s.p, int32(i+1))
		return nil
	}
	p, err := s.hold(i, unsafe.Pointer(unsafe.SliceData(v)), len(v))
	if err != nil {
		return err
	}
	if rc := sqlite3.Xsqlite3_bind_blob(s.c.tls, s.p, int32(i+1), p, int32(len(v)), 0); rc != sqlite3.SQLITE_OK {
		return s.c.fail(rc)
	}
	return nil
}

func (s *stmt) bindText(i int, v string) error {
	p, err := s.hold(i, unsafe.Pointer(unsafe.StringData(v)), len(v))
	if err != nil {
		return err
	}
	if rc := sqlite3.Xsqlite3_bind_text(s.c.tls, s.p, int32(i+1), p, int32(len(v)), 0); rc != sqlite3.SQLITE_OK {
		return s.c.fail(rc)
	}
	return nil
}

// hold copies n bytes to the memory of parameter i.
func (s *stmt) hold(i int, from unsafe.Pointer, n int) (uintptr, error) {
	if n > maxValue {
		return 0, &sqliteError{code: sqlite3.SQLITE_TOOBIG, msg: "string or blob too big"}
	}
	b := &s.bufs[i]
	if b.cap < n || b.p == 0 || b.cap > keepBuffer && n < keepBuffer {
		if b.p != 0 {
			libc.Xfree(s.c.tls, b.p)
		}
		b.cap = max(n, 64)
		if b.p = libc.Xmalloc(s.c.tls, types.Size_t(b.cap)); b.p == 0 {
			b.cap = 0
			return 0, &sqliteError{code: sqlite3.SQLITE_NOMEM, msg: "out of memory"}
		}
	}
	if n > 0 {
		copy(unsafe.Slice((*byte)(ptr(b.p)), n), unsafe.Slice((*byte)(from), n))
	}
	runtime.KeepAlive(from)
	return b.p, nil
}

// maxValue is SQLite's limit for one value, which is also below what an int32
// can say.
const maxValue = 1_000_000_000

// run executes a statement that returns no rows.
func (s *stmt) run() error {
	rc := sqlite3.Xsqlite3_step(s.c.tls, s.p)
	if rc == sqlite3.SQLITE_DONE || rc == sqlite3.SQLITE_ROW {
		sqlite3.Xsqlite3_reset(s.c.tls, s.p)
		return nil
	}
	err := s.c.fail(rc)
	sqlite3.Xsqlite3_reset(s.c.tls, s.p)
	return err
}

// step moves to the next row and reports whether there is one. After the last
// row and after an error the statement is reset already.
func (s *stmt) step() (bool, error) {
	switch rc := sqlite3.Xsqlite3_step(s.c.tls, s.p); rc {
	case sqlite3.SQLITE_ROW:
		return true, nil
	case sqlite3.SQLITE_DONE:
		sqlite3.Xsqlite3_reset(s.c.tls, s.p)
		return false, nil
	default:
		err := s.c.fail(rc)
		sqlite3.Xsqlite3_reset(s.c.tls, s.p)
		return false, err
	}
}

// reset ends a query before its last row.
func (s *stmt) reset() { sqlite3.Xsqlite3_reset(s.c.tls, s.p) }

func (s *stmt) int(col int) int64 {
	return sqlite3.Xsqlite3_column_int64(s.c.tls, s.p, int32(col))
}

func (s *stmt) kind(col int) engine.Kind { return engine.Kind(s.int(col)) }

// bytes returns a copy of a column; nil for NULL.
func (s *stmt) bytes(col int) []byte {
	if sqlite3.Xsqlite3_column_type(s.c.tls, s.p, int32(col)) == sqlite3.SQLITE_NULL {
		return nil
	}
	return append([]byte{}, s.peek(col)...)
}

func (s *stmt) text(col int) string { return string(s.peek(col)) }

// peek returns a column's bytes, which are gone with the row.
func (s *stmt) peek(col int) []byte {
	p := sqlite3.Xsqlite3_column_blob(s.c.tls, s.p, int32(col))
	n := int(sqlite3.Xsqlite3_column_bytes(s.c.tls, s.p, int32(col)))
	if n == 0 {
		return nil
	}
	return unsafe.Slice((*byte)(ptr(p)), n)
}

// ptr turns an address of the library's into a pointer. The memory is not
// Go's, so it does not move and the collector does not know it; going through
// the variable's address tells vet that this is meant.
func ptr(p uintptr) unsafe.Pointer {
	return *(*unsafe.Pointer)(unsafe.Pointer(&p))
}
