package sqlite

import (
	"path/filepath"
	"testing"

	"github.com/watermarkchurch/toot-go/internal/testing/memdir"
)

func tempFile(t *testing.T) string { return filepath.Join(memdir.New(t), "test.db") }

// openTest opens a connection, which is closed at the end of the test.
func openTest(t *testing.T, file string, vfs *VFS) *Conn {
	t.Helper()
	c, err := Open(file, Create, vfs)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// openGathering opens a connection whose commits are gathered.
func openGathering(t *testing.T, file string, vfs *VFS) *Conn {
	t.Helper()
	c := openTest(t, file, vfs)
	exec(t, c, "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE IF NOT EXISTS t (i INTEGER PRIMARY KEY, x)")
	if err := c.GatherCommits(); err != nil {
		t.Fatal(err)
	}
	return c
}

func theVFS(t *testing.T) *VFS {
	t.Helper()
	vfs, err := Gathering()
	if err != nil {
		t.Fatal(err)
	}
	return vfs
}

func exec(t *testing.T, c *Conn, sql string) {
	t.Helper()
	if err := c.Exec(sql); err != nil {
		t.Fatal(err)
	}
}

func queryInt(t *testing.T, c *Conn, sql string) int64 {
	t.Helper()
	n, err := c.QueryInt(sql)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// prepare returns a statement with its parameters bound.
func prepare(t *testing.T, c *Conn, sql string, args ...any) *Stmt {
	t.Helper()
	s, err := c.Stmt(sql)
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Bind(args...); err != nil {
		t.Fatal(err)
	}
	return s
}

// step moves to a row that must be there.
func step(t *testing.T, s *Stmt) {
	t.Helper()
	if row, err := s.Step(); err != nil || !row {
		t.Fatalf("Step: %v, %v, want a row", row, err)
	}
}

// last expects that no further row is there.
func last(t *testing.T, s *Stmt) {
	t.Helper()
	if row, err := s.Step(); err != nil || row {
		t.Fatalf("Step: %v, %v, want no row", row, err)
	}
}
