package prometheus

import (
	"context"
	"sync"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
)

const (
	// statsTimeout bounds a look into the store.
	statsTimeout = 5 * time.Second
	// statsAge is how old the figures may be: a look may take time in
	// proportion to the number of jobs, and scrapes may come from several
	// sides.
	statsAge = 5 * time.Second
)

// StoreCollector measures what an app's store holds. Processes that share a
// store report the same, except for the state of circuits, so take the maximum
// rather than the sum.
//
//	toot_jobs{kind,state}             state: waiting, scheduled, in_flight, retrying (of waiting), dead
//	toot_oldest_job_seconds{kind}     the age of the oldest that is not dead
//	toot_lanes{kind,state}            state: all, resting, and of deliveries: open (the circuit)
//	toot_store_up                     whether the store answered
//	toot_ready                        whether the app runs and works, see App.Health
type StoreCollector struct {
	app *toot.App

	mu    sync.Mutex
	stats toot.Stats
	ok    bool
	at    time.Time

	jobs, oldest, lanes, up, ready *prom.Desc
}

// NewStoreCollector returns a collector to be registered.
func NewStoreCollector(app *toot.App) *StoreCollector {
	desc := func(name, help string, labels ...string) *prom.Desc {
		return prom.NewDesc(prom.BuildFQName(namespace, "", name), help, labels, nil)
	}
	return &StoreCollector{
		app:    app,
		jobs:   desc("jobs", "Jobs in the store; retrying ones are among the waiting, scheduled ones (to be sent later) are not.", "kind", "state"),
		oldest: desc("oldest_job_seconds", "Age of the oldest job that is not dead; scheduled ones count from when they are due.", "kind"),
		lanes:  desc("lanes", "Lanes: callback URLs, subscriptions, channels being fanned out.", "kind", "state"),
		up:     desc("store_up", "Whether the store answered."),
		ready:  desc("ready", "Whether the app runs, its store answers and its workers make progress."),
	}
}

// Describe implements prometheus.Collector.
func (c *StoreCollector) Describe(ch chan<- *prom.Desc) {
	for _, d := range []*prom.Desc{c.jobs, c.oldest, c.lanes, c.up, c.ready} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *StoreCollector) Collect(ch chan<- prom.Metric) {
	gauge := func(d *prom.Desc, value float64, labels ...string) {
		ch <- prom.MustNewConstMetric(d, prom.GaugeValue, value, labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), statsTimeout)
	defer cancel()
	gauge(c.ready, truth(c.app.Health(ctx).OK))
	stats, ok := c.look(ctx)
	gauge(c.up, truth(ok))
	if !ok {
		return // gaps in the graphs, rather than what was once true
	}
	for _, kind := range []engine.Kind{engine.FanOut, engine.Deliver, engine.Handle} {
		var jobs struct{ waiting, scheduled, inFlight, retrying, dead int }
		var lanes struct{ all, resting, open int }
		var oldest time.Duration
		for _, l := range stats.Lanes {
			if l.Kind != kind {
				continue
			}
			jobs.waiting += l.Waiting
			jobs.scheduled += l.Scheduled
			jobs.inFlight += l.InFlight
			jobs.retrying += l.Retrying
			jobs.dead += l.Dead
			oldest = max(oldest, l.Oldest)
			lanes.all++
			if l.Deferred > 0 {
				lanes.resting++
			}
			if l.Circuit == "open" {
				lanes.open++
			}
		}
		name := kind.String()
		gauge(c.jobs, float64(jobs.waiting), name, "waiting")
		if kind == engine.FanOut {
			gauge(c.jobs, float64(jobs.scheduled), name, "scheduled")
		}
		gauge(c.jobs, float64(jobs.inFlight), name, "in_flight")
		gauge(c.jobs, float64(jobs.retrying), name, "retrying")
		gauge(c.jobs, float64(jobs.dead), name, "dead")
		gauge(c.oldest, oldest.Seconds(), name)
		gauge(c.lanes, float64(lanes.all), name, "all")
		gauge(c.lanes, float64(lanes.resting), name, "resting")
		if kind == engine.Deliver {
			gauge(c.lanes, float64(lanes.open), name, "open")
		}
	}
}

// look returns figures that are not too old.
func (c *StoreCollector) look(ctx context.Context) (toot.Stats, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.ok && time.Since(c.at) < statsAge {
		return c.stats, true
	}
	stats, err := c.app.Stats(ctx)
	c.stats, c.ok, c.at = stats, err == nil, time.Now()
	return stats, c.ok
}

func truth(ok bool) float64 {
	if ok {
		return 1
	}
	return 0
}
