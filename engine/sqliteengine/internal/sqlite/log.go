//nolint:gosec // int32 for everything: C calls this file.
package sqlite

import (
	"modernc.org/libc"
	"modernc.org/libc/sys/types"
	sqlite3 "modernc.org/sqlite/lib"
)

// logFile is what is known of an open log, in the library's memory behind the
// data of the VFS below.
type logFile struct {
	base      uintptr // the methods of the VFS below
	gathering bool
	buf       uintptr // what is to be written; 0: no memory yet
	at, n     int64   // where, and how many bytes
	flushes   int64   // how often something gathered was written
}

// logBuffer is how much is gathered at the most. SQLite writes no 128 KiB at
// once: of a length it takes the lower 17 bits.
const logBuffer = 1<<17 - 1

// logAt is the logFile of an open log, given the address of its sqlite3_file.
func logAt(file uintptr) *logFile {
	return at[logFile](file + at[logMethods](at[sqlite3.Tsqlite3_file](file).FpMethods).behind)
}

type (
	fileFunc = func(tls *libc.TLS, file uintptr) (rc int32)
	flagFunc = func(tls *libc.TLS, file uintptr, flags int32) (rc int32)
	sizeFunc = func(tls *libc.TLS, file uintptr, size int64) (rc int32)
	ptrFunc  = func(tls *libc.TLS, file, out uintptr) (rc int32)
	dataFunc = func(tls *libc.TLS, file, buf uintptr, n int32, offset int64) (rc int32)
)

func (l *logFile) below() *sqlite3.Tsqlite3_io_methods {
	return at[sqlite3.Tsqlite3_io_methods](l.base)
}

// flush writes what was gathered. What could not be written is forgotten: the
// commit has failed.
func (l *logFile) flush(tls *libc.TLS, file uintptr) (rc int32) {
	n := l.n
	if n == 0 {
		return sqlite3.SQLITE_OK
	}
	l.n = 0
	l.flushes++
	return call[dataFunc](l.below().FxWrite)(tls, file, l.buf, int32(n), l.at)
}

func logWrite(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
	l := logAt(file)
	if l.n > 0 && (offset != l.at+l.n || l.n+int64(n) > logBuffer) {
		if rc := l.flush(tls, file); rc != sqlite3.SQLITE_OK {
			return rc
		}
	}
	if l.gathering && l.buf == 0 {
		l.buf = libc.Xmalloc(tls, types.Size_t(logBuffer))
	}
	if !l.gathering || l.buf == 0 || n > logBuffer {
		return call[dataFunc](l.below().FxWrite)(tls, file, buf, n, offset)
	}
	if l.n == 0 {
		l.at = offset
	}
	copy(bytesAt(l.buf+uintptr(l.n), n), bytesAt(buf, n))
	l.n += int64(n)
	return sqlite3.SQLITE_OK
}

func logSync(tls *libc.TLS, file uintptr, flags int32) int32 {
	l := logAt(file)
	if rc := l.flush(tls, file); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return call[flagFunc](l.below().FxSync)(tls, file, flags)
}

func logRead(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
	l := logAt(file)
	if rc := l.flush(tls, file); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return call[dataFunc](l.below().FxRead)(tls, file, buf, n, offset)
}

func logTruncate(tls *libc.TLS, file uintptr, size int64) int32 {
	l := logAt(file)
	if rc := l.flush(tls, file); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return call[sizeFunc](l.below().FxTruncate)(tls, file, size)
}

func logFileSize(tls *libc.TLS, file, out uintptr) int32 {
	l := logAt(file)
	if rc := l.flush(tls, file); rc != sqlite3.SQLITE_OK {
		return rc
	}
	return call[ptrFunc](l.below().FxFileSize)(tls, file, out)
}

func logClose(tls *libc.TLS, file uintptr) int32 {
	l := logAt(file)
	if l.buf != 0 {
		libc.Xfree(tls, l.buf)
	}
	l.buf, l.n = 0, 0
	return call[fileFunc](l.below().FxClose)(tls, file)
}
