package sqlite

import (
	"errors"
	"fmt"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// Code is a result code of SQLite's, without its extension.
type Code int32

// The codes that the engine tells apart.
const (
	Busy      Code = sqlite3.SQLITE_BUSY
	CantOpen  Code = sqlite3.SQLITE_CANTOPEN
	Corrupt   Code = sqlite3.SQLITE_CORRUPT
	Full      Code = sqlite3.SQLITE_FULL
	Interrupt Code = sqlite3.SQLITE_INTERRUPT
	IOErr     Code = sqlite3.SQLITE_IOERR
	Locked    Code = sqlite3.SQLITE_LOCKED
	Misuse    Code = sqlite3.SQLITE_MISUSE
	NoMem     Code = sqlite3.SQLITE_NOMEM
	NotADB    Code = sqlite3.SQLITE_NOTADB
	Perm      Code = sqlite3.SQLITE_PERM
	ReadOnly  Code = sqlite3.SQLITE_READONLY
	TooBig    Code = sqlite3.SQLITE_TOOBIG
)

// Error is what SQLite reports.
type Error struct {
	Code     Code
	Extended int32 // the code with its extension; 0: there is none
	Message  string
}

func (e *Error) Error() string { return e.Message }

// HasCode reports whether err is, or wraps, an Error with one of the codes.
func HasCode(err error, codes ...Code) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	for _, c := range codes {
		if e.Code == c {
			return true
		}
	}
	return false
}

var errNoMemory = &Error{Code: NoMem, Message: "out of memory"}

// fail makes an error of the result code of a call.
func (c *Conn) fail(rc int32) error {
	msg := libc.GoString(sqlite3.Xsqlite3_errstr(c.tls, rc))
	if c.db != 0 {
		if m := libc.GoString(sqlite3.Xsqlite3_errmsg(c.tls, c.db)); m != msg && m != "not an error" {
			msg += ": " + m
		}
	}
	return &Error{Code: Code(rc & 0xff), Extended: rc, Message: fmt.Sprintf("%s (%d)", msg, rc)}
}
