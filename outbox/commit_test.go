//go:build linux || darwin || freebsd

package outbox_test

import (
	"database/sql"
	"fmt"
	"log/slog"
	"testing"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/internal/testing/netfault"
	"github.com/watermarkchurch/toot-go/internal/testing/sqltest"
	"github.com/watermarkchurch/toot-go/outbox"
)

// TestACommitWhoseAnswerIsLost: of the caller's, and of the relay's. Whether it
// has taken place or not, the event goes out exactly if what was written beside
// it is there, and arrives once.
func TestACommitWhoseAnswerIsLost(t *testing.T) {
	sqltest.Servers(t, func(t *testing.T, db *sqltest.DB) {
		s := newSite(t, db, nil)
		db.Do(t, "CREATE TABLE ledger (id INT PRIMARY KEY)")
		proxy, err := netfault.New(db.Addr())
		must(t, err)
		defer proxy.Close()
		far := db.Open(t, db.Via(proxy.Addr()))
		box, err := outbox.New(s.App, far, db.Dialect, &outbox.Options{Logger: slog.New(slog.DiscardHandler)})
		must(t, err)
		stop := inBackground(t, box.Run)
		for i := range 12 {
			var tx *sql.Tx
			eventually(t, "a transaction is begun after connections were cut", func() bool {
				if tx, err = far.BeginTx(t.Context(), nil); err != nil {
					return false
				}
				if _, err = tx.ExecContext(t.Context(), fmt.Sprintf("INSERT INTO ledger VALUES (%d)", i)); err == nil {
					_, err = box.PublishAll(t.Context(), tx, toot.Message{Channel: "a", ID: fmt.Sprint(i)})
				}
				if err != nil {
					_ = tx.Rollback()
				}
				return err == nil
			})
			switch i % 3 {
			case 0: // the server hears of it
				proxy.LoseAnswers()
			case 1: // it does not
				proxy.Down()
			}
			mended := make(chan struct{})
			time.AfterFunc(50*time.Millisecond, func() {
				proxy.Cut()
				proxy.Mend()
				close(mended)
			})
			if err := tx.Commit(); err == nil && i%3 != 2 {
				t.Errorf("commit %d was answered", i)
			}
			<-mended
		}
		eventually(t, "the proxy passes everything on", func() bool { return far.PingContext(t.Context()) == nil })
		eventually(t, "all is moved", func() bool { return s.isEmpty(t) })
		rows, err := db.QueryContext(t.Context(), "SELECT id FROM ledger")
		must(t, err)
		defer func() { _ = rows.Close() }()
		var ids []string
		for rows.Next() {
			var id string
			must(t, rows.Scan(&id))
			ids = append(ids, id)
		}
		must(t, rows.Err())
		if len(ids) < 4 || len(ids) == 12 {
			t.Errorf("%d transactions have committed: that is no test", len(ids))
		}
		s.await(t, ids...)
		stop()
	})
}
