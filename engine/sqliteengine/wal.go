//nolint:gosec // This file is on the border to C, as conn.go is.
package sqliteengine

import (
	"sync"
	"unsafe"

	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	sqlite3 "modernc.org/sqlite/lib"
)

// SQLite writes each page of a commit to the write-ahead log with two calls of
// the system; one call for all of them halves the processor time of a commit
// of ten pages. So connections open their files through a VFS that is the
// system's own, save that what a commit writes to the log is gathered, and
// written before the log is synced.
//
// Only a commit's own writes are gathered: what has not been written when the
// lock on the log is given up must never be, as the place is another's by then.
// See conn.commit.

// walFile lies behind the own VFS's data of an open log, in memory of C.
type walFile struct {
	own       uintptr // the methods of the own VFS
	gathering bool
	buf       uintptr // what is to be written; 0: no memory yet
	at, n     int64   // where, and how many bytes
}

// walBuffer is how much is gathered at the most. SQLite writes no 128 KiB at
// once: of a length it takes the lower 17 bits.
const walBuffer = 1<<17 - 1

// vfs is the VFS that connections use.
var vfs struct {
	once    sync.Once
	err     error
	name    uintptr
	own     uintptr // SQLite's default one
	ownSize uintptr // of its data of an open file
	methods uintptr // of logs
}

// openVFS registers the VFS and returns its name. Nothing of it is ever freed.
func openVFS() (name uintptr, err error) {
	vfs.once.Do(func() { vfs.err = registerVFS() })
	return vfs.name, vfs.err
}

func registerVFS() error {
	tls := libc.NewTLS()
	defer tls.Close()
	noMemory := &sqliteError{code: sqlite3.SQLITE_NOMEM, msg: "out of memory"}
	var err error
	if vfs.name, err = libc.CString("toot"); err != nil {
		return noMemory
	}
	ours := libc.Xmalloc(tls, types.Size_t(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{})))
	vfs.methods = libc.Xmalloc(tls, types.Size_t(unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{})))
	if vfs.own = sqlite3.Xsqlite3_vfs_find(tls, 0); vfs.own == 0 || ours == 0 || vfs.methods == 0 {
		return noMemory
	}
	*at[sqlite3.Tsqlite3_io_methods](vfs.methods) = sqlite3.Tsqlite3_io_methods{}
	v := at[sqlite3.Tsqlite3_vfs](ours)
	*v = *at[sqlite3.Tsqlite3_vfs](vfs.own)
	vfs.ownSize = (uintptr(v.FszOsFile) + 7) &^ 7
	v.FszOsFile = int32(vfs.ownSize + unsafe.Sizeof(walFile{}))
	v.FpNext, v.FzName, v.FxOpen = 0, vfs.name, callback(vfsOpen)
	if rc := sqlite3.Xsqlite3_vfs_register(tls, ours, 0); rc != sqlite3.SQLITE_OK {
		return &sqliteError{code: rc, msg: "the VFS was refused"}
	}
	return nil
}

// at is the thing of type T at an address of the library's.
func at[T any](p uintptr) *T { return (*T)(ptr(p)) }

// callback is the address under which the library calls a function of this
// package.
func callback(f any) uintptr { return (*[2]uintptr)(unsafe.Pointer(&f))[1] }

// call makes a function from an address of the library's.
func call[F any](p uintptr) F { return *(*F)(unsafe.Pointer(&struct{ uintptr }{p})) }

func walOf(file uintptr) *walFile { return at[walFile](file + vfs.ownSize) }

type (
	openFunc = func(tls *libc.TLS, vfs, name, file uintptr, flags int32, out uintptr) int32
	fileFunc = func(tls *libc.TLS, file uintptr) int32
	flagFunc = func(tls *libc.TLS, file uintptr, flags int32) int32
	sizeFunc = func(tls *libc.TLS, file uintptr, size int64) int32
	ptrFunc  = func(tls *libc.TLS, file, out uintptr) int32
	dataFunc = func(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32
)

func vfsOpen(tls *libc.TLS, _, name, file uintptr, flags int32, out uintptr) int32 {
	*walOf(file) = walFile{}
	rc := call[openFunc](at[sqlite3.Tsqlite3_vfs](vfs.own).FxOpen)(tls, vfs.own, name, file, flags, out)
	if rc != sqlite3.SQLITE_OK || flags&sqlite3.SQLITE_OPEN_WAL == 0 {
		return rc
	}
	f := at[sqlite3.Tsqlite3_file](file)
	walOf(file).own = f.FpMethods
	f.FpMethods = walMethods(f.FpMethods)
	return sqlite3.SQLITE_OK
}

var walMethodsOnce sync.Once

// walMethods makes the methods of logs from the own VFS's, which are the same
// for all logs.
func walMethods(own uintptr) uintptr {
	walMethodsOnce.Do(func() {
		m := at[sqlite3.Tsqlite3_io_methods](vfs.methods)
		*m = *at[sqlite3.Tsqlite3_io_methods](own)
		m.FxWrite, m.FxSync = callback(walWrite), callback(walSync)
		m.FxRead, m.FxTruncate, m.FxFileSize, m.FxClose = callback(walRead), callback(walTruncate), callback(walFileSize), callback(walClose)
	})
	return vfs.methods
}

func (w *walFile) methods() *sqlite3.Tsqlite3_io_methods {
	return at[sqlite3.Tsqlite3_io_methods](w.own)
}

func walWrite(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
	w := walOf(file)
	if w.n > 0 && (offset != w.at+w.n || w.n+int64(n) > walBuffer) {
		if rc := w.flush(tls, file); rc != sqlite3.SQLITE_OK {
			return rc
		}
	}
	if w.gathering && w.buf == 0 {
		w.buf = libc.Xmalloc(tls, walBuffer)
	}
	if !w.gathering || w.buf == 0 || n > walBuffer {
		return call[dataFunc](w.methods().FxWrite)(tls, file, buf, n, offset)
	}
	if w.n == 0 {
		w.at = offset
	}
	copy(unsafe.Slice(at[byte](w.buf+uintptr(w.n)), n), unsafe.Slice(at[byte](buf), n))
	w.n += int64(n)
	return sqlite3.SQLITE_OK
}

// flush writes what was gathered. What could not be written is forgotten: the
// commit has failed.
func (w *walFile) flush(tls *libc.TLS, file uintptr) int32 {
	n := w.n
	if n == 0 {
		return sqlite3.SQLITE_OK
	}
	w.n = 0
	return call[dataFunc](w.methods().FxWrite)(tls, file, w.buf, int32(n), w.at)
}

func walSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	w := walOf(file)
	if rc := w.flush(tls, file); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return call[flagFunc](w.methods().FxSync)(tls, file, flags)
}

func walRead(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
	w := walOf(file)
	if rc := w.flush(tls, file); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return call[dataFunc](w.methods().FxRead)(tls, file, buf, n, offset)
}

func walTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	w := walOf(file)
	if rc := w.flush(tls, file); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return call[sizeFunc](w.methods().FxTruncate)(tls, file, size)
}

func walFileSize(tls *libc.TLS, file, out uintptr) int32 {
	w := walOf(file)
	if rc := w.flush(tls, file); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return call[ptrFunc](w.methods().FxFileSize)(tls, file, out)
}

func walClose(tls *libc.TLS, file uintptr) int32 {
	w := walOf(file)
	if w.buf != 0 {
		libc.Xfree(tls, w.buf)
	}
	w.buf, w.n = 0, 0
	return call[fileFunc](w.methods().FxClose)(tls, file)
}

// commit ends a transaction. If it fails, the caller rolls back.
func (c *conn) commit() error {
	if c.wal != 0 {
		w := walOf(c.wal)
		w.gathering = true
		defer func() { w.gathering, w.n = false, 0 }() // n is 0, unless it failed
	}
	_, err := c.run("COMMIT")
	return err
}

// findWAL finds the connection's log. The file must be in WAL mode, and have
// been read.
func (c *conn) findWAL() error {
	out := c.tls.Alloc(int(unsafe.Sizeof(uintptr(0))))
	defer c.tls.Free(int(unsafe.Sizeof(uintptr(0))))
	if rc := sqlite3.Xsqlite3_file_control(c.tls, c.db, 0, sqlite3.SQLITE_FCNTL_JOURNAL_POINTER, out); rc != sqlite3.SQLITE_OK {
		return c.fail(rc)
	}
	file := *at[uintptr](out)
	if at[sqlite3.Tsqlite3_file](file).FpMethods == vfs.methods {
		c.wal = file
	}
	return nil
}
