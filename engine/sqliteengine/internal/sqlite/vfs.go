//nolint:gosec // Structures of the library's.
package sqlite

import (
	"errors"
	"sync"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// VFS is SQLite's way to the system's files, save that what a commit writes to
// the write-ahead log is gathered and then written at once. SQLite writes each
// page with two calls of the system; one call for all of them halves the
// processor time of a commit of ten pages.
//
// Gathered is only what a commit itself writes, and it is written before the
// log is synced or read: what has not been written when the lock on the log is
// given up must never be, as the place is another's by then. See Conn.Commit.
//
// It lies on top of the VFS that SQLite would use and leaves all files but the
// log to that one.
type VFS struct {
	p uintptr // of a shim
}

// shim is a VFS as SQLite knows it, with what it does not know behind that. It
// is memory of the library's.
type shim struct {
	vfs  sqlite3.Tsqlite3_vfs
	base uintptr // the VFS below
	log  logMethods
}

// logMethods are the methods of logs, with what SQLite does not know behind
// them.
type logMethods struct {
	methods sqlite3.Tsqlite3_io_methods
	base    uintptr // those of the VFS below; 0: there was no log yet
	behind  uintptr // where in the data of an open file the logFile is
}

// Gathering returns the VFS. An error says why this build of the library is
// not one that it works with: use the library's own then. Both stay the same
// for the life of the process.
func Gathering() (*VFS, error) { return gathering() }

var gathering = sync.OnceValues(func() (*VFS, error) {
	memory, own := find("memdb"), find("")
	if err := check(memory, own); err != nil {
		return nil, err
	}
	return register("toot", own, callback(vfsOpen)) // for good
})

// find returns the address of a VFS of the library's, by name or the one that
// it uses by itself; 0: there is none.
func find(name string) uintptr {
	tls := libc.NewTLS()
	defer tls.Close()
	if name == "" {
		return sqlite3.Xsqlite3_vfs_find(tls, 0)
	}
	z, err := libc.CString(name)
	if err != nil {
		return 0
	}
	defer libc.Xfree(tls, z)
	return sqlite3.Xsqlite3_vfs_find(tls, z)
}

// register makes a VFS on top of another one known to SQLite.
func register(name string, base, xOpen uintptr) (*VFS, error) {
	tls := libc.NewTLS()
	defer tls.Close()
	p := alloc[shim](tls)
	z, err := libc.CString(name)
	if p == 0 || err != nil {
		return nil, errNoMemory
	}
	s := at[shim](p)
	s.vfs = *at[sqlite3.Tsqlite3_vfs](base)
	s.base = base
	s.log.behind = (uintptr(s.vfs.FszOsFile) + 7) &^ 7
	s.vfs.FszOsFile = int32(s.log.behind + unsafe.Sizeof(logFile{}))
	s.vfs.FpNext, s.vfs.FzName, s.vfs.FxOpen = 0, z, xOpen
	if rc := sqlite3.Xsqlite3_vfs_register(tls, p, 0); rc != sqlite3.SQLITE_OK {
		return nil, errors.New("the VFS was refused")
	}
	return &VFS{p: p}, nil
}

// unregister makes SQLite forget the VFS. No connection may use it.
func (v *VFS) unregister() {
	tls := libc.NewTLS()
	defer tls.Close()
	sqlite3.Xsqlite3_vfs_unregister(tls, v.p)
	libc.Xfree(tls, at[shim](v.p).vfs.FzName)
	libc.Xfree(tls, v.p)
}

// name is the address of the VFS's name, 0 for the library's own.
func (v *VFS) name() uintptr {
	if v == nil {
		return 0
	}
	return at[shim](v.p).vfs.FzName
}

// logOf returns what is known of a log that was opened through the VFS, given
// the address of SQLite's sqlite3_file.
func (v *VFS) logOf(file uintptr) (*logFile, error) {
	if v == nil {
		return nil, errors.New("the connection uses the library's own VFS")
	}
	if file == 0 {
		return nil, errors.New("SQLite's write-ahead log is not known")
	}
	if methods := at[sqlite3.Tsqlite3_file](file).FpMethods; methods != v.p+unsafe.Offsetof(shim{}.log) {
		if err := checkMethods(methods); err != nil {
			return nil, err
		}
		return nil, errors.New("SQLite's write-ahead log is not a file of the VFS")
	}
	return logAt(file), nil
}

type openFunc = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) (rc int32)

// vfsOpen is the xOpen of a shim.
func vfsOpen(tls *libc.TLS, vfs, name, file uintptr, flags int32, outFlags uintptr) int32 {
	s := at[shim](vfs)
	rc := call[openFunc](at[sqlite3.Tsqlite3_vfs](s.base).FxOpen)(tls, s.base, name, file, flags, outFlags)
	if rc != sqlite3.SQLITE_OK || flags&sqlite3.SQLITE_OPEN_WAL == 0 {
		return rc
	}
	f := at[sqlite3.Tsqlite3_file](file)
	if s.log.cover(f.FpMethods) {
		*at[logFile](file + s.log.behind) = logFile{base: f.FpMethods}
		f.FpMethods = vfs + unsafe.Offsetof(shim{}.log)
	}
	return rc
}

var covering sync.Mutex

// cover reports whether m can stand in for the methods of the VFS below, which
// it makes m from if this is the first log.
func (m *logMethods) cover(base uintptr) bool {
	covering.Lock()
	defer covering.Unlock()
	if m.base == 0 {
		if checkMethods(base) != nil {
			return false
		}
		m.methods = *at[sqlite3.Tsqlite3_io_methods](base)
		m.methods.FxWrite, m.methods.FxSync = callback(logWrite), callback(logSync)
		m.methods.FxRead, m.methods.FxTruncate = callback(logRead), callback(logTruncate)
		m.methods.FxFileSize, m.methods.FxClose = callback(logFileSize), callback(logClose)
		m.base = base
	}
	return m.base == base
}
