package prometheus_test

import (
	"database/sql"
	"path/filepath"
	"strings"
	"testing"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	_ "modernc.org/sqlite"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/observe/prometheus"
	"github.com/watermarkchurch/toot-go/outbox"
)

// TestMetricsOfAnOutbox: what waits in it, and a gap where that is not known.
func TestMetricsOfAnOutbox(t *testing.T) {
	metrics := prometheus.New(nil)
	app, err := toot.New(memengine.New(), &toot.Options{Observer: metrics})
	must(t, err)
	defer func() { must(t, app.Close()) }()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "test.db"))
	must(t, err)
	box, err := outbox.New(app, db, outbox.SQLite, nil)
	must(t, err)
	must(t, box.Migrate(t.Context()))
	tx, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	_, err = box.PublishAll(t.Context(), tx, toot.Message{Channel: "a"}, toot.Message{Channel: "b"})
	must(t, err)
	must(t, tx.Commit())
	registry := prom.NewPedanticRegistry()
	registry.MustRegister(metrics, prometheus.NewOutboxCollector(box))
	must(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP toot_prepared_total Events that were prepared to be published later, such as those put into an outbox.
# TYPE toot_prepared_total counter
toot_prepared_total{outcome="ok"} 2
# HELP toot_outbox_set_aside Events from the outbox that can't be published.
# TYPE toot_outbox_set_aside gauge
toot_outbox_set_aside{table="toot_outbox"} 0
# HELP toot_outbox_up Whether the outbox's database answered.
# TYPE toot_outbox_up gauge
toot_outbox_up{table="toot_outbox"} 1
# HELP toot_outbox_waiting Events in the outbox that no relay has moved yet.
# TYPE toot_outbox_waiting gauge
toot_outbox_waiting{table="toot_outbox"} 2
`), "toot_prepared_total", "toot_outbox_set_aside", "toot_outbox_up", "toot_outbox_waiting"))
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
	must(t, db.Close())
	fresh := prom.NewPedanticRegistry()
	fresh.MustRegister(prometheus.NewOutboxCollector(box))
	if n, err := testutil.GatherAndCount(fresh); err != nil || n != 1 {
		t.Errorf("%d series of a database that is closed, %v", n, err)
	}
}
