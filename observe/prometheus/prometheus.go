// Package prometheus measures an app for Prometheus.
//
//	metrics := prometheus.New(nil)
//	app, err := toot.New(store, &toot.Options{Observer: metrics})
//	registry.MustRegister(metrics, prometheus.NewStoreCollector(app))
//
// The number of time series is bounded: names that come from outside, such as
// those of channels and callback URLs, are not labels, and subscriptions are
// counted by name only up to Options.MaxSubscriptions.
package prometheus

import (
	"context"
	"strconv"
	"sync"
	"time"

	prom "github.com/prometheus/client_golang/prometheus"

	toot "github.com/watermarkchurch/toot-go"
)

// Options configure Metrics. The zero value of each field means its default.
type Options struct {
	// MaxSubscriptions is how many subscriptions are counted each under its
	// own name; the others are counted as "other". Default 100.
	MaxSubscriptions int
	// Buckets are those of all histograms, in seconds. Default: from 1 ms to
	// a minute.
	Buckets []float64
}

// Metrics is a toot.Observer that counts and measures, and a
// prometheus.Collector of the results. Several apps may share one.
//
//	toot_prepared_total{outcome}                     events put into an outbox
//	toot_published_total{outcome}                    events published
//	toot_published_to_nobody_total                   events published on channels without a subscriber
//	toot_publish_seconds                             how long Publish took
//	toot_deliveries_total{outcome,code}              POSTs to callback URLs
//	toot_delivery_seconds{outcome}                   how long they took
//	toot_delivery_age_seconds                        from publishing to success
//	toot_received_total{outcome}                     events that arrived
//	toot_receive_seconds                             how long storing them took
//	toot_handled_total{subscription,outcome}         runs of handlers
//	toot_handle_seconds{subscription}                how long they took
//	toot_handle_age_seconds                          from arrival to success
//
// code is the class of the answer's status, "2xx" to "5xx", "none" if there
// was no answer.
type Metrics struct {
	prepared                 *prom.CounterVec
	published, received      *prom.CounterVec
	deliveries, handled      *prom.CounterVec
	toNobody                 prom.Counter
	publishTime, receiveTime prom.Histogram
	deliveryTime, handleTime *prom.HistogramVec
	deliveryAge, handleAge   prom.Histogram
	collectors               []prom.Collector

	mu            sync.RWMutex
	subscriptions map[string]bool
	max           int
}

var (
	_ toot.Observer  = (*Metrics)(nil)
	_ prom.Collector = (*Metrics)(nil)
)

// New returns metrics to be registered and to be given to toot.Options. Nil
// options mean the defaults.
func New(opts *Options) *Metrics {
	var o Options
	if opts != nil {
		o = *opts
	}
	if o.MaxSubscriptions <= 0 {
		o.MaxSubscriptions = 100
	}
	if len(o.Buckets) == 0 {
		o.Buckets = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
	}
	m := &Metrics{subscriptions: map[string]bool{}, max: o.MaxSubscriptions}
	// Ages grow to days where a job is retried.
	ages := append(append([]float64{}, o.Buckets...), 300, 3600, 6*3600, 24*3600, 7*24*3600)
	m.prepared = m.counter("prepared_total", "Events that were prepared to be published later, such as those put into an outbox.", "outcome")
	m.published = m.counter("published_total", "Events given to Publish, by what came of it.", "outcome")
	m.toNobody = m.counter("published_to_nobody_total", "Events published on channels that had no subscriber; those that are sent later are left out.").WithLabelValues()
	m.publishTime = m.histogram("publish_seconds", "How long publishing took, until the event was durable.", o.Buckets)
	m.deliveries = m.counter("deliveries_total", "Deliveries tried, one for each event and callback URL, by outcome and class of the answer's status.", "outcome", "code")
	m.deliveryTime = m.histograms("delivery_seconds", "How long a delivery took, from the request to the end of the answer.", o.Buckets, "outcome")
	m.deliveryAge = m.histogram("delivery_age_seconds", "How old successful deliveries were: from publishing, all retries included.", ages)
	m.received = m.counter("received_total", "Events that arrived at the callback URL.", "outcome")
	m.receiveTime = m.histogram("receive_seconds", "How long taking an event in took, until it was durable.", o.Buckets)
	m.handled = m.counter("handled_total", "Runs of handlers.", "subscription", "outcome")
	m.handleTime = m.histograms("handle_seconds", "How long a handler ran.", o.Buckets, "subscription")
	m.handleAge = m.histogram("handle_age_seconds", "How old events were when a handler had succeeded: from their arrival, all retries included.", ages)
	return m
}

const namespace = "toot"

func (m *Metrics) counter(name, help string, labels ...string) *prom.CounterVec {
	c := prom.NewCounterVec(prom.CounterOpts{Namespace: namespace, Name: name, Help: help}, labels)
	m.collectors = append(m.collectors, c)
	return c
}

func (m *Metrics) histograms(name, help string, buckets []float64, labels ...string) *prom.HistogramVec {
	h := prom.NewHistogramVec(prom.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets}, labels)
	m.collectors = append(m.collectors, h)
	return h
}

func (m *Metrics) histogram(name, help string, buckets []float64) prom.Histogram {
	h := prom.NewHistogram(prom.HistogramOpts{Namespace: namespace, Name: name, Help: help, Buckets: buckets})
	m.collectors = append(m.collectors, h)
	return h
}

// Describe implements prometheus.Collector.
func (m *Metrics) Describe(ch chan<- *prom.Desc) {
	for _, c := range m.collectors {
		c.Describe(ch)
	}
}

// Collect implements prometheus.Collector.
func (m *Metrics) Collect(ch chan<- prom.Metric) {
	for _, c := range m.collectors {
		c.Collect(ch)
	}
}

// Begin implements toot.Observer.
func (m *Metrics) Begin(ctx context.Context, s *toot.Step) (context.Context, func(toot.StepResult)) {
	began, age, lane, after := time.Now(), s.Age, s.Lane, s.After
	switch s.Name {
	case toot.StepPrepare:
		return ctx, func(r toot.StepResult) { m.prepared.WithLabelValues(string(r.Outcome)).Inc() }
	case toot.StepPublish:
		return ctx, func(r toot.StepResult) {
			m.published.WithLabelValues(string(r.Outcome)).Inc()
			if r.Outcome == toot.OutcomeOK && r.Subscribers == 0 && after == 0 {
				m.toNobody.Inc()
			}
			m.publishTime.Observe(time.Since(began).Seconds())
		}
	case toot.StepDeliver:
		return ctx, func(r toot.StepResult) {
			took := time.Since(began)
			m.deliveries.WithLabelValues(string(r.Outcome), class(r.Status)).Inc()
			m.deliveryTime.WithLabelValues(string(r.Outcome)).Observe(took.Seconds())
			if r.Outcome == toot.OutcomeOK {
				m.deliveryAge.Observe((age + took).Seconds())
			}
		}
	case toot.StepReceive:
		return ctx, func(r toot.StepResult) {
			m.received.WithLabelValues(string(r.Outcome)).Inc()
			m.receiveTime.Observe(time.Since(began).Seconds())
		}
	case toot.StepHandle:
		return ctx, func(r toot.StepResult) {
			took, name := time.Since(began), m.subscription(lane)
			m.handled.WithLabelValues(name, string(r.Outcome)).Inc()
			m.handleTime.WithLabelValues(name).Observe(took.Seconds())
			if r.Outcome == toot.OutcomeOK {
				m.handleAge.Observe((age + took).Seconds())
			}
		}
	}
	return ctx, nil
}

// subscription is the label of a subscription.
func (m *Metrics) subscription(name string) string {
	m.mu.RLock()
	known := m.subscriptions[name]
	m.mu.RUnlock()
	if known {
		return name
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.subscriptions[name] {
		if len(m.subscriptions) >= m.max {
			return "other"
		}
		m.subscriptions[name] = true
	}
	return name
}

// class is the class of a status.
func class(status int) string {
	if status < 100 || status > 599 {
		return "none"
	}
	return strconv.Itoa(status/100) + "xx"
}
