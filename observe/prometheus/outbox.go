package prometheus

import (
	"context"
	"sync"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	"github.com/watermarkchurch/toot-go/outbox"
)

// OutboxCollector tells what an outbox holds. Where several processes share one,
// each tells the same of it.
//
//	toot_outbox_waiting{table}          events whose transaction has committed, that no relay has moved yet
//	toot_outbox_oldest_seconds{table}   how long the oldest of them has been there
//	toot_outbox_set_aside{table}        events that can't be published
//	toot_outbox_up{table}               whether the database answered
type OutboxCollector struct {
	box *outbox.Outbox

	mu    sync.Mutex
	stats outbox.Stats
	ok    bool
	at    time.Time

	waiting, oldest, aside, up *prom.Desc
}

// NewOutboxCollector returns a collector to be registered. That of a
// pgxoutbox.Outbox is in it.
func NewOutboxCollector(box *outbox.Outbox) *OutboxCollector {
	desc := func(name, help string) *prom.Desc {
		return prom.NewDesc(prom.BuildFQName(namespace, "outbox", name), help, nil, prom.Labels{"table": box.Table()})
	}
	return &OutboxCollector{
		box:     box,
		waiting: desc("waiting", "Events in the outbox that no relay has moved yet."),
		oldest:  desc("oldest_seconds", "How long the oldest of them has been in the outbox."),
		aside:   desc("set_aside", "Events from the outbox that can't be published."),
		up:      desc("up", "Whether the outbox's database answered."),
	}
}

// Describe implements prometheus.Collector.
func (c *OutboxCollector) Describe(ch chan<- *prom.Desc) {
	for _, d := range []*prom.Desc{c.waiting, c.oldest, c.aside, c.up} {
		ch <- d
	}
}

// Collect implements prometheus.Collector.
func (c *OutboxCollector) Collect(ch chan<- prom.Metric) {
	gauge := func(d *prom.Desc, value float64) { ch <- prom.MustNewConstMetric(d, prom.GaugeValue, value) }
	stats, ok := c.look()
	gauge(c.up, truth(ok))
	if !ok {
		return // gaps in the graphs, rather than what was once true
	}
	gauge(c.waiting, float64(stats.Waiting))
	gauge(c.oldest, stats.Oldest.Seconds())
	gauge(c.aside, float64(stats.SetAside))
}

// look returns figures that are at most statsAge old.
func (c *OutboxCollector) look() (outbox.Stats, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if time.Since(c.at) < statsAge {
		return c.stats, c.ok
	}
	ctx, cancel := context.WithTimeout(context.Background(), statsTimeout)
	defer cancel()
	stats, err := c.box.Stats(ctx)
	c.stats, c.ok, c.at = stats, err == nil, time.Now()
	return c.stats, c.ok
}
