//nolint:gosec // Structures of the library's.
package sqlite

import (
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"unsafe"

	sqlite3 "modernc.org/sqlite/lib"
)

// The VFS relies on how the library lays out SQLite's structures, how it keeps
// pointers to functions, and when SQLite writes to the log and syncs it. None
// of this is promised. So it is looked at before the VFS is used, first what
// can be compared and then, in trial, a commit.

// knownVersion is the newest version of a VFS and of the methods of its files.
// A newer one could have further ways to write to a file.
const knownVersion = 3

// maxFileData is more than any VFS says that it needs for an open file.
const maxFileData = 1 << 16

// check looks at the library, with a trial on a VFS in memory, before the VFS
// is put on top of own. An error says what is not as expected.
func check(memory, own uintptr) (err error) {
	// An address that is none must not end the process. Only this goroutine's
	// faults become panics.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("it failed the trial: %v", r)
		}
		if err != nil {
			err = fmt.Errorf("SQLite %s differs from what commits in one write rely on: %w", sqlite3.SQLITE_VERSION, err)
		}
	}()
	if err := checkSizes(unsafe.Sizeof(sqlite3.Tsqlite3_vfs{}), unsafe.Sizeof(sqlite3.Tsqlite3_io_methods{}), unsafe.Sizeof(sqlite3.Tsqlite3_file{})); err != nil {
		return err
	}
	for _, vfs := range []uintptr{memory, own} {
		if err := checkVFS(vfs); err != nil {
			return err
		}
	}
	return trial(memory)
}

// checkSizes compares the sizes of the structures with those of version 3.
func checkSizes(vfs, methods, file uintptr) error {
	const word = unsafe.Sizeof(uintptr(0))
	for _, s := range []struct {
		name      string
		got, want uintptr
	}{
		{"sqlite3_vfs", vfs, (3*4+word-1)/word*word + 19*word},
		{"sqlite3_io_methods", methods, 19 * word},
		{"sqlite3_file", file, word},
	} {
		if s.got != s.want {
			return fmt.Errorf("%s has %d bytes, not %d", s.name, s.got, s.want)
		}
	}
	return nil
}

// checkVFS looks at a VFS that there is to be one on top of.
func checkVFS(p uintptr) error {
	if p == 0 {
		return errors.New("a VFS is missing")
	}
	v := at[sqlite3.Tsqlite3_vfs](p)
	if v.FiVersion < 1 || v.FiVersion > knownVersion {
		return fmt.Errorf("the version of a VFS is %d", v.FiVersion)
	}
	if v.FszOsFile < int32(unsafe.Sizeof(sqlite3.Tsqlite3_file{})) || v.FszOsFile > maxFileData {
		return fmt.Errorf("a VFS wants %d bytes for an open file", v.FszOsFile)
	}
	return checkFunction("xOpen", v.FxOpen)
}

// checkMethods looks at the methods of a log file of the VFS below.
func checkMethods(p uintptr) error {
	if p == 0 {
		return errors.New("a file has no methods")
	}
	m := at[sqlite3.Tsqlite3_io_methods](p)
	if m.FiVersion < 1 || m.FiVersion > knownVersion {
		return fmt.Errorf("the version of a file's methods is %d", m.FiVersion)
	}
	for _, f := range []struct {
		name string
		p    uintptr
	}{
		{"xClose", m.FxClose}, {"xRead", m.FxRead}, {"xWrite", m.FxWrite},
		{"xTruncate", m.FxTruncate}, {"xSync", m.FxSync}, {"xFileSize", m.FxFileSize},
	} {
		if err := checkFunction(f.name, f.p); err != nil {
			return err
		}
	}
	return nil
}

// checkFunction looks whether p is a pointer to a function as the library keeps
// them: the address of an address at which a function begins.
func checkFunction(name string, p uintptr) error {
	if p >= 4096 { // below there is never any memory
		code := *at[uintptr](p)
		if f := runtime.FuncForPC(code); f != nil && f.Entry() == code {
			return nil
		}
	}
	return fmt.Errorf("%s is no function", name)
}
