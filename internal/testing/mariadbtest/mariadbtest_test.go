//go:build linux || darwin || freebsd

package mariadbtest_test

import (
	"database/sql"
	"testing"

	"github.com/watermarkchurch/toot-go/internal/testing/mariadbtest"
)

// TestADatabaseIsOnesOwn: it is empty when a test gets it.
func TestADatabaseIsOnesOwn(t *testing.T) {
	for range 2 {
		db, err := sql.Open("mysql", mariadbtest.Database(t))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := db.ExecContext(t.Context(), "CREATE TABLE a (b INT)"); err != nil {
			t.Error(err)
		}
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestAServerIsRestartedWithItsFiles: what was committed is there again, however
// the server ended.
func TestAServerIsRestartedWithItsFiles(t *testing.T) {
	s := mariadbtest.Start(t)
	db, err := sql.Open("mysql", s.Database(t))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(t.Context(), "CREATE TABLE a (b INT)"); err != nil {
		t.Fatal(err)
	}
	for n, end := range []func(){s.Kill, s.Stop, func() {}} {
		if _, err := db.ExecContext(t.Context(), "INSERT INTO a VALUES (1)"); err != nil {
			t.Fatal(err)
		}
		end()
		s.Restart(t)
		var rows int
		if err := db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM a").Scan(&rows); err != nil || rows != n+1 {
			t.Errorf("after restart %d there are %d rows, %v", n+1, rows, err)
		}
	}
}
