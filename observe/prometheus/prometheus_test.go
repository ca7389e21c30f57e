package prometheus_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
	"github.com/watermarkchurch/toot-go/observe/prometheus"
)

// TestMetricsOfAnEventsWay: one app that publishes to itself, whose endpoint
// and handler fail once.
func TestMetricsOfAnEventsWay(t *testing.T) {
	store, err := sqliteengine.Open(filepath.Join(t.TempDir(), "toot.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	metrics := prometheus.New(nil)
	var app *toot.App
	var requests, runs atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/subscriptions" {
			app.SubscriptionsService().ServeHTTP(w, r)
			return
		}
		if requests.Add(1) == 1 {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		app.HandlerService().ServeHTTP(w, r)
	}))
	defer server.Close()
	app, err = toot.New(store, &toot.Options{
		Observer: metrics, CallbackURL: server.URL + "/callbacks",
		RetryDelay: func(int) time.Duration { return time.Millisecond },
	})
	if err != nil {
		t.Fatal(err)
	}
	registry := prom.NewPedanticRegistry()
	registry.MustRegister(metrics, prometheus.NewStoreCollector(app))

	must(t, app.AddSource("self", toot.Source{SubscriptionURL: server.URL + "/subscriptions"}))
	handled := make(chan struct{})
	must(t, app.Subscribe("self", "users", toot.HandlerFunc(func(context.Context, *toot.Event) error {
		if runs.Add(1) == 1 {
			return errors.New("not today")
		}
		close(handled)
		return nil
	})))
	must(t, app.RegisterSubscriptions(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	if _, err := app.Publish(t.Context(), "users", nil); err != nil {
		t.Fatal(err)
	}
	<-handled
	for _, m := range []toot.Message{{Channel: "nobody"}, {Channel: "nobody", After: time.Hour}} {
		if _, err := app.PublishAll(t.Context(), m); err != nil {
			t.Fatal(err)
		}
	}
	cancel()
	must(t, <-ended)

	must(t, testutil.GatherAndCompare(registry, strings.NewReader(`
# HELP toot_deliveries_total Deliveries tried, one for each event and callback URL, by outcome and class of the answer's status.
# TYPE toot_deliveries_total counter
toot_deliveries_total{code="2xx",outcome="ok"} 1
toot_deliveries_total{code="5xx",outcome="retry"} 1
# HELP toot_handled_total Runs of handlers.
# TYPE toot_handled_total counter
toot_handled_total{outcome="ok",subscription="users"} 1
toot_handled_total{outcome="retry",subscription="users"} 1
# HELP toot_published_total Events given to Publish, by what came of it.
# TYPE toot_published_total counter
toot_published_total{outcome="ok"} 3
# HELP toot_published_to_nobody_total Events published on channels that had no subscriber; those that are sent later are left out.
# TYPE toot_published_to_nobody_total counter
toot_published_to_nobody_total 1
# HELP toot_jobs Jobs in the store; retrying ones are among the waiting, scheduled ones (to be sent later) are not.
# TYPE toot_jobs gauge
toot_jobs{kind="deliver",state="dead"} 0
toot_jobs{kind="deliver",state="in_flight"} 0
toot_jobs{kind="deliver",state="retrying"} 0
toot_jobs{kind="deliver",state="waiting"} 0
toot_jobs{kind="fanout",state="dead"} 0
toot_jobs{kind="fanout",state="in_flight"} 0
toot_jobs{kind="fanout",state="retrying"} 0
toot_jobs{kind="fanout",state="scheduled"} 1
toot_jobs{kind="fanout",state="waiting"} 0
toot_jobs{kind="handle",state="dead"} 0
toot_jobs{kind="handle",state="in_flight"} 0
toot_jobs{kind="handle",state="retrying"} 0
toot_jobs{kind="handle",state="waiting"} 0
# HELP toot_oldest_job_seconds Age of the oldest job that is not dead; scheduled ones count from when they are due.
# TYPE toot_oldest_job_seconds gauge
toot_oldest_job_seconds{kind="deliver"} 0
toot_oldest_job_seconds{kind="fanout"} 0
toot_oldest_job_seconds{kind="handle"} 0
# HELP toot_received_total Events that arrived at the callback URL.
# TYPE toot_received_total counter
toot_received_total{outcome="ok"} 1
# HELP toot_store_up Whether the store answered.
# TYPE toot_store_up gauge
toot_store_up 1
# HELP toot_ready Whether the app runs, its store answers and its workers make progress.
# TYPE toot_ready gauge
toot_ready 0
`), "toot_deliveries_total", "toot_handled_total", "toot_published_total", "toot_published_to_nobody_total", "toot_jobs", "toot_oldest_job_seconds", "toot_received_total", "toot_store_up", "toot_ready"))
	if problems, err := testutil.GatherAndLint(registry); err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}

	// A store that is away makes a gap, and says so.
	must(t, app.Close())
	must(t, store.Close())
	fresh := prom.NewPedanticRegistry()
	fresh.MustRegister(prometheus.NewStoreCollector(app))
	if n, err := testutil.GatherAndCount(fresh, "toot_jobs"); err != nil || n != 0 {
		t.Errorf("%d series of toot_jobs of a closed store (%v)", n, err)
	}
}

// TestLabelsAreBounded: no number of subscriptions, URLs and channels makes
// more than a bounded number of series.
func TestLabelsAreBounded(t *testing.T) {
	metrics := prometheus.New(&prometheus.Options{MaxSubscriptions: 10})
	for i := range 1000 {
		for _, name := range []toot.StepName{toot.StepPublish, toot.StepDeliver, toot.StepReceive, toot.StepHandle} {
			_, end := metrics.Begin(t.Context(), &toot.Step{Name: name, Lane: fmt.Sprint("lane", i), Channel: fmt.Sprint("channel", i)})
			end(toot.StepResult{Outcome: toot.OutcomeOK, Status: i})
		}
	}
	if n := testutil.CollectAndCount(metrics); n > 50 {
		t.Errorf("%d series", n)
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
