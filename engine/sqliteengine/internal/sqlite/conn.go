//nolint:gosec // int32 for everything: this file calls C.
package sqlite

import (
	"errors"
	"sync"
	"time"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Conn is one connection to a file. It is used by one goroutine at a time,
// save for Interrupt.
type Conn struct {
	tls    *libc.TLS
	db     uintptr
	vfs    *VFS
	log    *logFile         // set by GatherCommits
	cached map[string]*Stmt // by SQL text

	interrupt sync.Mutex // so that nobody interrupts what is closed
}

// Flags are how Open opens a file.
type Flags int32

// Existing opens a file that must be there, Create also makes it.
const (
	Existing Flags = sqlite3.SQLITE_OPEN_READWRITE | sqlite3.SQLITE_OPEN_NOMUTEX
	Create   Flags = Existing | sqlite3.SQLITE_OPEN_CREATE
)

// patchLibrary does what the driver does when it is linked. Linking it would
// register it with database/sql, under a name that an app may have given to
// another one.
var patchLibrary = sync.OnceFunc(sqlite3.PatchIssue199)

// Open opens a file through a VFS; nil is the library's own.
//
// Statements keep the plan that they were prepared with. SQLite alone prepares
// some anew whenever other values are bound.
func Open(path string, flags Flags, vfs *VFS) (*Conn, error) {
	patchLibrary()
	c := &Conn{tls: libc.NewTLS(), vfs: vfs, cached: map[string]*Stmt{}}
	name, err := libc.CString(path)
	if err != nil {
		c.tls.Close()
		return nil, errNoMemory
	}
	defer libc.Xfree(c.tls, name)
	var rc int32
	c.db, rc = out(c.tls, func(p uintptr) int32 {
		return sqlite3.Xsqlite3_open_v2(c.tls, name, p, int32(flags), vfs.name())
	})
	if rc == sqlite3.SQLITE_OK {
		sqlite3.Xsqlite3_extended_result_codes(c.tls, c.db, 1)
		rc = c.configure(sqlite3.SQLITE_DBCONFIG_ENABLE_QPSG, 1)
	}
	if rc != sqlite3.SQLITE_OK {
		err := c.fail(rc)
		_ = c.Close()
		return nil, err
	}
	return c, nil
}

// configure calls the variadic sqlite3_db_config for an option that is on or
// off.
func (c *Conn) configure(option, on int32) (rc int32) {
	const args = 2 * 8 // each takes 8 bytes
	p := c.tls.Alloc(args)
	defer c.tls.Free(args)
	return sqlite3.Xsqlite3_db_config(c.tls, c.db, option, libc.VaList(p, on, uintptr(0)))
}

// Close finalizes every statement and closes the connection.
func (c *Conn) Close() error {
	for _, s := range c.cached {
		s.finalize()
	}
	c.cached, c.log = nil, nil
	c.interrupt.Lock()
	defer c.interrupt.Unlock()
	var err error
	if c.db != 0 {
		if rc := sqlite3.Xsqlite3_close_v2(c.tls, c.db); rc != sqlite3.SQLITE_OK {
			err = c.fail(rc)
		}
		c.db = 0
	}
	if c.tls != nil {
		c.tls.Close()
		c.tls = nil
	}
	return err
}

// LeaveLog has Close leave the log and its index as they are, by whoever they
// were made. Otherwise the last connection to a file that closes copies the log
// to the file, and removes both by their names.
func (c *Conn) LeaveLog() {
	_ = c.configure(sqlite3.SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1) // never fails
}

// Interrupt makes the statement that runs now end with code Interrupt. Any
// goroutine may call it, at any time.
func (c *Conn) Interrupt() {
	c.interrupt.Lock()
	defer c.interrupt.Unlock()
	if c.db == 0 {
		return
	}
	tls := libc.NewTLS() // the connection's is in use
	defer tls.Close()
	sqlite3.Xsqlite3_interrupt(tls, c.db)
}

// BusyTimeout is how long a statement waits for a lock of another connection.
func (c *Conn) BusyTimeout(d time.Duration) {
	sqlite3.Xsqlite3_busy_timeout(c.tls, c.db, int32(d.Milliseconds()))
}

// IsReadOnly reports whether the file could only be opened for reading.
func (c *Conn) IsReadOnly() bool { return sqlite3.Xsqlite3_db_readonly(c.tls, c.db, 0) == 1 }

// InTransaction reports whether BEGIN has been run and neither COMMIT nor
// ROLLBACK, SQLite's own after a severe error included.
func (c *Conn) InTransaction() bool { return sqlite3.Xsqlite3_get_autocommit(c.tls, c.db) == 0 }

// LastInsertRowID is the rowid of the last row inserted.
func (c *Conn) LastInsertRowID() int64 { return sqlite3.Xsqlite3_last_insert_rowid(c.tls, c.db) }

// Changes is how many rows the last statement inserted, changed or deleted.
func (c *Conn) Changes() int { return int(sqlite3.Xsqlite3_changes(c.tls, c.db)) }

// Exec runs statements that need no parameters, ignoring their rows.
func (c *Conn) Exec(sql string) error {
	z, err := libc.CString(sql)
	if err != nil {
		return errNoMemory
	}
	defer libc.Xfree(c.tls, z)
	if rc := sqlite3.Xsqlite3_exec(c.tls, c.db, z, 0, 0, 0); rc != sqlite3.SQLITE_OK {
		return c.fail(rc)
	}
	return nil
}

// QueryInt returns the first column of the first row, 0 without rows. It does
// not keep the statement.
func (c *Conn) QueryInt(sql string) (int64, error) {
	s, err := c.prepare(sql)
	if err != nil {
		return 0, err
	}
	defer s.finalize()
	row, err := s.Step()
	if err != nil || !row {
		return 0, err
	}
	return s.Int(0), nil
}

// Stmt returns the prepared statement for a text, which is kept until the
// connection is closed: the text should be a constant.
func (c *Conn) Stmt(sql string) (*Stmt, error) {
	if s := c.cached[sql]; s != nil {
		return s, nil
	}
	s, err := c.prepare(sql)
	if err != nil {
		return nil, err
	}
	c.cached[sql] = s
	return s, nil
}

// Commit ends a transaction; after GatherCommits its pages go into the log in
// as few writes as possible. If it fails, the caller rolls back.
func (c *Conn) Commit() error {
	s, err := c.Stmt("COMMIT")
	if err != nil {
		return err
	}
	if c.log == nil {
		return s.Run()
	}
	c.log.gathering = true
	err = s.Run()
	c.log.gathering = false
	if c.log.n > 0 {
		return c.settleLog(err)
	}
	return err
}

// settleLog decides on what a commit has left unwritten. Of one that failed it
// must never be written. After one that succeeded nothing should be left, but
// if something is, others already rely on it.
func (c *Conn) settleLog(commit error) error {
	if commit != nil {
		c.log.n = 0
		return commit
	}
	if rc := c.log.flush(c.tls, c.logAddress()); rc != sqlite3.SQLITE_OK {
		return c.fail(rc)
	}
	return nil
}

// GatherCommits has Commit write to the log at once, see VFS. The connection
// must have been opened through a VFS, its file be in WAL mode and have been
// read, and synchronous be FULL, which has to stay so: SQLite ends a commit
// with a sync then. An error says why it does not, and Commit works as ever.
func (c *Conn) GatherCommits() error {
	switch level, err := c.QueryInt("PRAGMA synchronous"); {
	case err != nil:
		return err
	case level < 2:
		return errors.New("synchronous is not FULL")
	}
	f, err := c.vfs.logOf(c.logAddress())
	if err != nil {
		return err
	}
	c.log = f
	return nil
}

// logAddress is the address of SQLite's sqlite3_file of the write-ahead log;
// without one that of the rollback journal, and 0 if there is neither.
func (c *Conn) logAddress() uintptr {
	file, rc := out(c.tls, func(p uintptr) int32 {
		return sqlite3.Xsqlite3_file_control(c.tls, c.db, 0, sqlite3.SQLITE_FCNTL_JOURNAL_POINTER, p)
	})
	if rc != sqlite3.SQLITE_OK {
		return 0
	}
	return file
}
