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
