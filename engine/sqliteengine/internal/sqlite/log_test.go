package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"modernc.org/libc"
	sqlite3 "modernc.org/sqlite/lib"
)

// insert writes rows of 3,000 bytes in a transaction that is left open.
func insert(t *testing.T, c *Conn, rows int) {
	t.Helper()
	exec(t, c, "BEGIN IMMEDIATE")
	for range rows {
		if err := prepare(t, c, "INSERT INTO t (x) VALUES (?1)", make([]byte, 3000)).Run(); err != nil {
			t.Fatal(err)
		}
	}
}

func commit(t *testing.T, c *Conn) {
	t.Helper()
	if err := c.Commit(); err != nil {
		t.Fatal(err)
	}
}

// rows counts the rows that a connection of its own sees, and looks for damage.
func rows(t *testing.T, file string) int64 {
	t.Helper()
	c, err := Open(file, Existing, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	}()
	if n := queryInt(t, c, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"); n != 0 {
		t.Errorf("%d kinds of damage", n)
	}
	return queryInt(t, c, "SELECT count(*) FROM t WHERE x = zeroblob(3000)")
}

func TestACommitIsOneWrite(t *testing.T) {
	file := tempFile(t)
	c := openGathering(t, file, theVFS(t))
	want := int64(0)
	for _, test := range []struct {
		name         string
		rows, writes int64
	}{{"one row", 1, 1}, {"ten rows", 10, 1}, {"twenty rows", 20, 1}, {"a hundred, more than is gathered", 100, 4}} {
		before := c.log.flushes
		insert(t, c, int(test.rows))
		if c.log.flushes != before || c.log.n != 0 {
			t.Errorf("%s: something was gathered before the commit", test.name)
		}
		commit(t, c)
		if got := c.log.flushes - before; got != test.writes {
			t.Errorf("%s: %d writes, want %d", test.name, got, test.writes)
		}
		if c.log.n != 0 || c.log.gathering {
			t.Errorf("%s: %d bytes are not written, gathering %v", test.name, c.log.n, c.log.gathering)
		}
		want += test.rows
		if got := rows(t, file); got != want {
			t.Errorf("%s: another connection sees %d rows, want %d", test.name, got, want)
		}
	}
}

// What COMMIT said is done is in the files, whatever becomes of the process;
// and what is cut off in the middle has not happened.
func TestACommitIsWholeOrNotThere(t *testing.T) {
	const pages, header = 4096 + 24, 32
	file := tempFile(t)
	c := openGathering(t, file, theVFS(t))
	insert(t, c, 10)
	commit(t, c)
	log := file + "-wal"
	info, err := os.Stat(log)
	if err != nil {
		t.Fatal(err)
	}
	first := info.Size()
	insert(t, c, 10)
	commit(t, c)
	db, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	content, err := os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if (len(content)-header)%pages != 0 || (first-header)%pages != 0 {
		t.Fatalf("the log has %d and then %d bytes", first, len(content))
	}
	for size := first; size <= int64(len(content)); size += pages / 4 {
		copied := filepath.Join(t.TempDir(), "copy.db")
		for name, bytes := range map[string][]byte{copied: db, copied + "-wal": content[:size]} {
			if err := os.WriteFile(name, bytes, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		want := int64(10)
		if size == int64(len(content)) {
			want = 20
		}
		after := openGathering(t, copied, theVFS(t))
		if got := queryInt(t, after, "SELECT count(*) FROM t"); got != want {
			t.Errorf("cut at %d of %d bytes: %d rows, want %d", size, len(content), got, want)
		}
		insert(t, after, 5)
		commit(t, after)
		if got := rows(t, copied); got != want+5 {
			t.Errorf("cut at %d of %d bytes: %d rows after another commit, want %d", size, len(content), got, want+5)
		}
	}
}

// failing is a VFS on top of the library's own that writes half of what it
// ought to write to a log, and then says that no room is left.
var failing struct {
	vfs     *VFS
	own     uintptr
	methods uintptr // those of its logs
	write   uintptr // the own xWrite
	on      bool
}

func failingVFS(t *testing.T) *VFS {
	t.Helper()
	if failing.vfs == nil {
		tls := libc.NewTLS()
		defer tls.Close()
		failing.own = find("")
		base := alloc[sqlite3.Tsqlite3_vfs](tls)
		failing.methods = alloc[sqlite3.Tsqlite3_io_methods](tls)
		*at[sqlite3.Tsqlite3_vfs](base) = *at[sqlite3.Tsqlite3_vfs](failing.own)
		at[sqlite3.Tsqlite3_vfs](base).FxOpen = callback(failingOpen)
		var err error
		if failing.vfs, err = register("failing", base, callback(vfsOpen)); err != nil {
			t.Fatal(err)
		}
	}
	return failing.vfs
}

func failingOpen(tls *libc.TLS, _, name, file uintptr, flags int32, outFlags uintptr) int32 {
	rc := call[openFunc](at[sqlite3.Tsqlite3_vfs](failing.own).FxOpen)(tls, failing.own, name, file, flags, outFlags)
	if rc == sqlite3.SQLITE_OK && flags&sqlite3.SQLITE_OPEN_WAL != 0 {
		f, m := at[sqlite3.Tsqlite3_file](file), at[sqlite3.Tsqlite3_io_methods](failing.methods)
		if m.FxWrite == 0 {
			*m = *at[sqlite3.Tsqlite3_io_methods](f.FpMethods)
			failing.write, m.FxWrite = m.FxWrite, callback(failingWrite)
		}
		f.FpMethods = failing.methods
	}
	return rc
}

func failingWrite(tls *libc.TLS, file, buf uintptr, n int32, offset int64) int32 {
	if failing.on {
		n /= 2
	}
	rc := call[dataFunc](failing.write)(tls, file, buf, n, offset)
	if failing.on {
		return sqlite3.SQLITE_FULL
	}
	return rc
}

func TestACommitThatFailsLeavesNothing(t *testing.T) {
	file := tempFile(t)
	c := openGathering(t, file, failingVFS(t))
	want := int64(0)
	for i := range 5 {
		insert(t, c, 10+i)
		failing.on = true
		err := c.Commit()
		failing.on = false
		if !HasCode(err, Full) {
			t.Fatalf("a write that failed: %v", err)
		}
		if c.log.n != 0 || c.log.gathering {
			t.Errorf("%d bytes are not written, gathering %v", c.log.n, c.log.gathering)
		}
		if c.InTransaction() {
			exec(t, c, "ROLLBACK")
		}
		if got := rows(t, file); got != want {
			t.Errorf("%d rows after the failure, want %d", got, want)
		}
		insert(t, c, 7)
		commit(t, c)
		want += 7
		if got := rows(t, file); got != want {
			t.Errorf("%d rows after the next commit, want %d", got, want)
		}
	}
}

// What a commit had gathered when it failed is never written: the place is
// another's by then.
func TestWhatAFailedCommitGatheredIsForgotten(t *testing.T) {
	file := tempFile(t)
	c := openGathering(t, file, theVFS(t))
	insert(t, c, 3)
	commit(t, c)
	before, err := os.Stat(file + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	c.log.gathering = true
	if rc := logWrite(c.tls, c.logAddress(), c.log.buf, 100, before.Size()); rc != sqlite3.SQLITE_OK || c.log.n != 100 {
		t.Fatalf("gathering: code %d, %d bytes", rc, c.log.n)
	}
	c.log.gathering = false
	failure := errors.New("failed")
	if err := c.settleLog(failure); !errors.Is(err, failure) || c.log.n != 0 {
		t.Errorf("error %v, %d bytes not written", err, c.log.n)
	}
	exec(t, c, "PRAGMA wal_checkpoint") // reads and syncs the log
	if after, err := os.Stat(file + "-wal"); err != nil || after.Size() != before.Size() {
		t.Errorf("the log: %v, %v", after, err)
	}
}

// Several connections take turns with the log.
func TestConnectionsShareTheLog(t *testing.T) {
	file := tempFile(t)
	conns := []*Conn{openGathering(t, file, theVFS(t)), openGathering(t, file, theVFS(t)), openTest(t, file, nil), openTest(t, file, theVFS(t))}
	want := int64(0)
	for i := range 40 {
		c := conns[i%len(conns)]
		insert(t, c, i)
		if i%3 == 0 {
			exec(t, c, "ROLLBACK")
			continue
		}
		commit(t, c)
		want += int64(i)
		if i%10 == 0 {
			exec(t, c, "PRAGMA wal_checkpoint(TRUNCATE)")
		}
	}
	if got := rows(t, file); got != want {
		t.Errorf("%d rows, want %d", got, want)
	}
}

// Without a sync at its end a commit would stay in memory. GatherCommits wants
// one; if it is turned off afterwards, Commit writes all the same.
func TestCommitsWithoutASync(t *testing.T) {
	file := tempFile(t)
	c := openGathering(t, file, theVFS(t))
	for i, level := range []string{"NORMAL", "OFF"} {
		exec(t, c, "PRAGMA synchronous = "+level)
		insert(t, c, 10)
		commit(t, c)
		if got := rows(t, file); got != int64(10*(i+1)) {
			t.Errorf("synchronous %s: %d rows, want %d", level, got, 10*(i+1))
		}
		if err := c.GatherCommits(); err == nil {
			t.Errorf("synchronous %s: commits are gathered", level)
		}
	}
}

func TestWhatCanNotBeGathered(t *testing.T) {
	for name, c := range map[string]*Conn{
		"the library's own VFS": openTest(t, tempFile(t), nil),
		"no log":                openTest(t, tempFile(t), theVFS(t)),
	} {
		exec(t, c, "PRAGMA synchronous = FULL; CREATE TABLE t (i INTEGER PRIMARY KEY, x)")
		if err := c.GatherCommits(); err == nil {
			t.Errorf("%s: no error", name)
		}
		insert(t, c, 10)
		commit(t, c)
		if n := queryInt(t, c, "SELECT count(*) FROM t"); n != 10 {
			t.Errorf("%s: %d rows", name, n)
		}
	}
}

func ExampleConn_Commit() {
	dir, err := os.MkdirTemp("", "example")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	vfs, err := Gathering()
	if err != nil {
		panic(err)
	}
	c, err := Open(filepath.Join(dir, "a.db"), Create, vfs)
	if err != nil {
		panic(err)
	}
	defer func() { _ = c.Close() }()
	_ = c.Exec("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE t (x)")
	_ = c.GatherCommits()
	_ = c.Exec("BEGIN IMMEDIATE")
	insert, _ := c.Stmt("INSERT INTO t VALUES (?1)")
	_ = insert.BindText(0, "hello")
	_ = insert.Run()
	fmt.Println(c.Commit())
	// Output: <nil>
}
