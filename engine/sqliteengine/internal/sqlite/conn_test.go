package sqlite

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestErrorsHaveCodes(t *testing.T) {
	db := openTest(t, tempFile(t), nil)
	exec(t, db, "CREATE TABLE t (x UNIQUE); INSERT INTO t VALUES (1)")
	err := prepare(t, db, "INSERT INTO t VALUES (?1)", 1).Run()
	const constraint, unique = 19, 19 | 8<<8
	var e *Error
	if !errors.As(err, &e) || e.Code != constraint || e.Extended != unique || err.Error() != "constraint failed: UNIQUE constraint failed: t.x (2067)" {
		t.Errorf("a row that is there already: %v (%#v)", err, e)
	}
	if err := prepare(t, db, "INSERT INTO t VALUES (?1)", 2).Run(); err != nil {
		t.Errorf("the statement after its error: %v", err)
	}
	if !HasCode(fmt.Errorf("wrapped: %w", err), Full, constraint) || HasCode(err, Full, Busy) || HasCode(errors.New("other"), constraint) || HasCode(nil, constraint) {
		t.Error("HasCode is wrong")
	}
	const generic = 1
	if _, err := db.Stmt("SELECT nothing FROM t"); !HasCode(err, generic) {
		t.Errorf("a statement that is wrong: %v", err)
	}
	if err := db.Exec("SELECT nothing FROM t"); !HasCode(err, generic) {
		t.Errorf("Exec of a statement that is wrong: %v", err)
	}
	if _, err := db.QueryInt("SELECT nothing FROM t"); !HasCode(err, generic) {
		t.Errorf("QueryInt of a statement that is wrong: %v", err)
	}
	exec(t, db, "PRAGMA max_page_count = 1")
	if err := prepare(t, db, "INSERT INTO t VALUES (?1)", make([]byte, 1<<20)).Run(); !HasCode(err, Full) {
		t.Errorf("no room: %v", err)
	}
}

func TestOpenErrors(t *testing.T) {
	dir := t.TempDir()
	for _, vfs := range []*VFS{nil, theVFS(t)} {
		if _, err := Open(filepath.Join(dir, "missing"), Existing, vfs); !HasCode(err, CantOpen) {
			t.Errorf("a file that is missing: %v", err)
		}
		text := filepath.Join(dir, "text")
		if err := os.WriteFile(text, make([]byte, 5000), 0o600); err != nil {
			t.Fatal(err)
		}
		c := openTest(t, text, vfs)
		if err := c.Exec("CREATE TABLE t (x)"); !HasCode(err, NotADB) {
			t.Errorf("a file that is no database: %v", err)
		}
	}
}

func TestTransactionState(t *testing.T) {
	db := openTest(t, tempFile(t), theVFS(t))
	if db.InTransaction() || db.IsReadOnly() {
		t.Errorf("in a transaction: %v, read-only: %v", db.InTransaction(), db.IsReadOnly())
	}
	if err := db.Commit(); err == nil {
		t.Error("committed without a transaction")
	}
	exec(t, db, "BEGIN; CREATE TABLE t (x)")
	if !db.InTransaction() {
		t.Error("not in a transaction after BEGIN")
	}
	if err := db.Commit(); err != nil || db.InTransaction() {
		t.Errorf("committed: %v, in a transaction: %v", err, db.InTransaction())
	}
}

func TestBusyTimeout(t *testing.T) {
	file := tempFile(t)
	a, b := openTest(t, file, nil), openTest(t, file, nil)
	exec(t, a, "PRAGMA journal_mode = WAL; CREATE TABLE t (x); BEGIN IMMEDIATE")
	if err := b.Exec("BEGIN IMMEDIATE"); !HasCode(err, Busy) {
		t.Fatalf("without a timeout: %v", err)
	}
	const timeout = 50 * time.Millisecond
	b.BusyTimeout(timeout)
	began := time.Now()
	if err := b.Exec("BEGIN IMMEDIATE"); !HasCode(err, Busy) || time.Since(began) < timeout {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	b.BusyTimeout(time.Minute)
	got := make(chan error, 1)
	go func() { got <- b.Exec("BEGIN IMMEDIATE; ROLLBACK") }()
	time.Sleep(timeout)
	exec(t, a, "ROLLBACK")
	if err := <-got; err != nil {
		t.Errorf("the lock was given up: %v", err)
	}
}

func TestInterrupt(t *testing.T) {
	db := openTest(t, tempFile(t), nil)
	endless := "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i+1 FROM n) SELECT count(*) FROM n"
	got := make(chan error, 1)
	go func() { got <- db.Exec(endless) }()
	for {
		db.Interrupt() // does nothing before the statement has begun
		select {
		case err := <-got:
			if !HasCode(err, Interrupt) {
				t.Errorf("the statement ended with %v", err)
			}
			if n := queryInt(t, db, "SELECT 7"); n != 7 {
				t.Errorf("the statement after it: %d", n)
			}
			if err := db.Close(); err != nil {
				t.Error(err)
			}
			db.Interrupt()
			return
		case <-time.After(time.Millisecond):
		}
	}
}

func TestQueryIntWithoutRows(t *testing.T) {
	db := openTest(t, tempFile(t), nil)
	if n := queryInt(t, db, "SELECT 1 WHERE 0"); n != 0 {
		t.Errorf("%d", n)
	}
}

func TestCloseFinalizes(t *testing.T) {
	file := tempFile(t)
	db := openGathering(t, file, theVFS(t))
	step(t, prepare(t, db, "SELECT 1 UNION SELECT 2"))
	for range 2 {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(file + "-wal"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the log is left: %v", err)
	}
}
