package sqlite

import (
	"strings"
	"testing"
	"unsafe"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// tampered is the library's VFS in memory, with methods of files that a test
// has changed.
var tampered struct {
	memory, own uintptr
	methods     uintptr
	change      func(*sqlite3.Tsqlite3_io_methods)
}

func tamperedOpen(tls *libc.TLS, _, name, file uintptr, flags int32, outFlags uintptr) int32 {
	rc := call[openFunc](at[sqlite3.Tsqlite3_vfs](tampered.own).FxOpen)(tls, tampered.own, name, file, flags, outFlags)
	if rc == sqlite3.SQLITE_OK && flags&sqlite3.SQLITE_OPEN_WAL != 0 {
		f, m := at[sqlite3.Tsqlite3_file](file), at[sqlite3.Tsqlite3_io_methods](tampered.methods)
		*m = *at[sqlite3.Tsqlite3_io_methods](f.FpMethods)
		tampered.change(m)
		f.FpMethods = tampered.methods
	}
	return rc
}

func tamperedVFS(t *testing.T, change func(*sqlite3.Tsqlite3_io_methods)) *sqlite3.Tsqlite3_vfs {
	t.Helper()
	tls := libc.NewTLS()
	defer tls.Close()
	tampered.own = find("memdb")
	if tampered.memory == 0 {
		tampered.memory = alloc[sqlite3.Tsqlite3_vfs](tls)
		tampered.methods = alloc[sqlite3.Tsqlite3_io_methods](tls)
	}
	tampered.change = change
	v := at[sqlite3.Tsqlite3_vfs](tampered.memory)
	*v = *at[sqlite3.Tsqlite3_vfs](tampered.own)
	v.FxOpen = callback(tamperedOpen)
	return v
}

// noCode is a word that is the address of no function.
var noCode = [2]uintptr{12345, 12345}

func losingWrite(*libc.TLS, uintptr, uintptr, int32, int64) int32 { return sqlite3.SQLITE_OK }

func failingSync(*libc.TLS, uintptr, int32) int32 { return sqlite3.SQLITE_IOERR_FSYNC }

func panickingWrite(*libc.TLS, uintptr, uintptr, int32, int64) int32 { panic("tested") }

// A library that is not as expected is told from one that is, and an error says
// in what.
func TestCheckFindsWhatIsDifferent(t *testing.T) {
	none := func(*sqlite3.Tsqlite3_io_methods) {}
	for _, c := range []struct {
		name, want string
		vfs        func(*sqlite3.Tsqlite3_vfs)
		methods    func(*sqlite3.Tsqlite3_io_methods)
	}{
		{name: "nothing", want: "", methods: none},
		{name: "a newer VFS", want: "the version of a VFS is 4", vfs: func(v *sqlite3.Tsqlite3_vfs) { v.FiVersion = 4 }},
		{name: "a size that is none", want: "for an open file", vfs: func(v *sqlite3.Tsqlite3_vfs) { v.FszOsFile = -1 }},
		{name: "no xOpen", want: "xOpen is no function", vfs: func(v *sqlite3.Tsqlite3_vfs) { v.FxOpen = 0 }},
		{name: "handles for functions", want: "xOpen is no function", vfs: func(v *sqlite3.Tsqlite3_vfs) { v.FxOpen = 17 }},
		{name: "other pointers to functions", want: "xOpen is no function", vfs: func(v *sqlite3.Tsqlite3_vfs) { v.FxOpen = uintptr(unsafe.Pointer(&noCode)) }},
		{name: "an address without memory", want: "it failed the trial", vfs: func(v *sqlite3.Tsqlite3_vfs) { v.FxOpen = 8192 }},
		{name: "newer methods", want: "the version of a file's methods is 4", methods: func(m *sqlite3.Tsqlite3_io_methods) { m.FiVersion = 4 }},
		{name: "no xTruncate", want: "xTruncate is no function", methods: func(m *sqlite3.Tsqlite3_io_methods) { m.FxTruncate = 0 }},
		{name: "writes that get lost", want: "disk I/O error", methods: func(m *sqlite3.Tsqlite3_io_methods) { m.FxWrite = callback(losingWrite) }},
		{name: "a sync that fails", want: "disk I/O error", methods: func(m *sqlite3.Tsqlite3_io_methods) { m.FxSync = callback(failingSync) }},
		{name: "a write that panics", want: "it failed the trial: tested", methods: func(m *sqlite3.Tsqlite3_io_methods) { m.FxWrite = callback(panickingWrite) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.methods == nil {
				c.methods = none
			}
			v := tamperedVFS(t, c.methods)
			if c.vfs != nil {
				c.vfs(v)
			}
			err := check(tampered.memory, find(""))
			if c.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), sqlite3.SQLITE_VERSION) {
				t.Errorf("error %v, want %q", err, c.want)
				return
			}
			if testing.Verbose() {
				t.Log(err)
			}
		})
	}
	if err := check(0, find("")); err == nil {
		t.Error("no VFS in memory: no error")
	}
	if err := check(find("memdb"), 0); err == nil {
		t.Error("no own VFS: no error")
	}
	if err := check(find("memdb"), find("")); err != nil {
		t.Errorf("the library as it is, after all that: %v", err)
	}
}

func TestCheckSizes(t *testing.T) {
	const word = unsafe.Sizeof(uintptr(0))
	vfs, methods, file := 16+19*word, 19*word, word
	if word == 4 {
		vfs = 12 + 19*word
	}
	if err := checkSizes(vfs, methods, file); err != nil {
		t.Error(err)
	}
	for name, err := range map[string]error{
		"sqlite3_vfs":        checkSizes(vfs+word, methods, file),
		"sqlite3_io_methods": checkSizes(vfs, methods+word, file),
		"sqlite3_file":       checkSizes(vfs, methods, file+word),
	} {
		if err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s with a word more: %v", name, err)
		}
	}
}

// A library that ends commits without a sync of the log would lose them.
func TestTheTrialSeesAMissingSync(t *testing.T) {
	file := tempFile(t)
	c := openGathering(t, file, theVFS(t))
	if err := c.trialWrite(); err != nil {
		t.Error(err)
	}
	exec(t, c, "DELETE FROM t; PRAGMA synchronous = OFF")
	if err := c.trialWrite(); err == nil || !strings.Contains(err.Error(), "without a sync") {
		t.Errorf("error %v", err)
	}
	if err := c.settleLog(nil); err != nil {
		t.Error(err)
	}
}
