package sqliteengine

import (
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine/internal/sqlite"
)

// conn is a connection to the file, and stmt one of its prepared statements,
// with what most callers do in a single call.
type (
	conn struct{ *sqlite.Conn }
	stmt sqlite.Stmt
)

func openConn(path string, flags sqlite.Flags, vfs *sqlite.VFS) (*conn, error) {
	c, err := sqlite.Open(path, flags, vfs)
	if err != nil {
		return nil, err
	}
	return &conn{c}, nil
}

func (c *conn) close() error                       { return c.Close() }
func (c *conn) busyTimeout(d time.Duration)        { c.BusyTimeout(d) }
func (c *conn) inTransaction() bool                { return c.InTransaction() }
func (c *conn) commit() error                      { return c.Commit() }
func (c *conn) lastID() int64                      { return c.LastInsertRowID() }
func (c *conn) exec(sql string) error              { return c.Exec(sql) }
func (c *conn) queryInt(sql string) (int64, error) { return c.QueryInt(sql) }

// stmt returns the prepared statement for a constant text, with args bound.
func (c *conn) stmt(sql string, args ...any) (*stmt, error) {
	s, err := c.Stmt(sql)
	if err != nil {
		return nil, err
	}
	return (*stmt)(s), s.Bind(args...)
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
	return c.Changes(), nil
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

func (s *stmt) lib() *sqlite.Stmt { return (*sqlite.Stmt)(s) }

func (s *stmt) bindInt(i int, v int64) error   { return s.lib().BindInt(i, v) }
func (s *stmt) bindText(i int, v string) error { return s.lib().BindText(i, v) }
func (s *stmt) bindBlob(i int, v []byte) error { return s.lib().BindBlob(i, v) }

func (s *stmt) run() error          { return s.lib().Run() }
func (s *stmt) step() (bool, error) { return s.lib().Step() }
func (s *stmt) reset()              { s.lib().Reset() }

func (s *stmt) int(col int) int64        { return s.lib().Int(col) }
func (s *stmt) kind(col int) engine.Kind { return engine.Kind(s.int(col)) } //nolint:gosec // was one when it was written
func (s *stmt) text(col int) string      { return s.lib().Text(col) }
func (s *stmt) bytes(col int) []byte     { return s.lib().Blob(col) }
func (s *stmt) peek(col int) []byte      { return s.lib().Peek(col) }
