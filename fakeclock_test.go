package toot_test

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/internal/testing/faultengine"
	"github.com/watermarkchurch/toot-go/internal/testing/memnet"
)

// In the tests of these files, time is that of a bubble (testing/synctest): an
// hour passes at once, and nothing else happens meanwhile. Apps live on
// engines in memory that can be made to fail, and reach each other over a
// network in memory. A goroutine that an app leaves behind fails the test.

// bubble is what is inside.
type bubble struct {
	*testing.T
	net  *network
	apps []*process
	mu   sync.Mutex // guards what handlers of a test count
}

// inBubble runs a test under a clock of its own.
func inBubble(t *testing.T, run func(b *bubble)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &bubble{T: t, net: &network{}}
		defer func() { // also of a test that fails, whose message would be lost otherwise
			for _, p := range b.apps {
				p.stop()
			}
		}()
		run(b)
	})
}

// network is that of a bubble, in memory.
type network struct{ memnet.Network }

// serve puts a handler on a host, nil takes the host away.
func (n *network) serve(host string, h http.Handler) { n.Serve(host, h) }

// process is an app as it would run in a process of its own.
type process struct {
	*toot.App
	b      *bubble
	host   string
	engine *faultengine.Engine
	stop   func() // ends Run, fails if that was not clean, and closes the app
}

// launch starts an app on a store and serves it. With a host of "" it only
// works.
func (b *bubble) launch(host string, store *memengine.Store, opts toot.Options, subscribe func(*toot.App)) *process {
	b.Helper()
	p := b.prepare(host, store, opts, subscribe)
	p.run()
	return p
}

// prepare is launch without running the app.
func (b *bubble) prepare(host string, store *memengine.Store, opts toot.Options, subscribe func(*toot.App)) *process {
	b.Helper()
	p := &process{b: b, host: host, engine: faultengine.Wrap(store.Open(engine.Retention{}))}
	opts.Client = &http.Client{Transport: b.net}
	opts.CallbackURL = "http://" + cmp.Or(host, "nowhere") + "/callbacks"
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	app, err := toot.New(p.engine, &opts)
	must(b, err)
	p.App = app
	if subscribe != nil {
		subscribe(app)
	}
	if host != "" {
		mux := http.NewServeMux()
		mux.Handle("/subscriptions", app.SubscriptionsService())
		mux.Handle("/callbacks", app.HandlerService())
		b.net.serve(host, mux)
	}
	p.stop = func() { must(b, app.Close()) }
	b.apps = append(b.apps, p)
	return p
}

func (p *process) run() {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	p.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			p.b.Errorf("Run of %s: %v", p.host, err)
		}
		must(p.b, p.Close())
	})
}

// die ends a process as a SIGKILL would, as far as its store and its peers can
// tell: nothing of what it does from now on reaches them.
func (p *process) die() {
	p.engine.Crash()
	if p.host != "" {
		p.b.net.serve(p.host, nil)
	}
	p.stop()
}

// subscribes returns what declares handlers of channel "a".
func subscribes(b *bubble, handlers ...toot.Handler) func(*toot.App) {
	return func(app *toot.App) {
		must(b, app.AddSource("publisher", toot.Source{SubscriptionURL: "http://publisher/subscriptions"}))
		for _, h := range handlers {
			must(b, app.Subscribe("publisher", "a", h))
		}
	}
}

// within waits up to d for a condition and returns how long that took.
func (b *bubble) within(d time.Duration, what string, condition func() bool) time.Duration {
	b.Helper()
	began := time.Now()
	for {
		synctest.Wait()
		took := time.Since(began)
		switch {
		case condition():
			return took
		case took > d:
			b.Fatalf("not within %v: %s", d, what)
		}
		time.Sleep(d / 100)
	}
}

// left is how many jobs wait or are leased in a store.
func left(b *bubble, store *memengine.Store) int {
	b.Helper()
	stats, err := store.Open(engine.Retention{}).Lanes(context.Background())
	must(b, err)
	n := 0
	for _, l := range stats {
		n += l.Waiting + l.Leased
	}
	return n
}

// empty waits until stores have no jobs left.
func (b *bubble) empty(d time.Duration, stores ...*memengine.Store) {
	b.Helper()
	for _, s := range stores {
		b.within(d, "every job settled", func() bool { return left(b, s) == 0 })
	}
}

// runs counts the runs of a handler by event ID.
type runs struct {
	mu    sync.Mutex
	count map[string]int
	total int
}

func (r *runs) HandleEvent(_ context.Context, e *toot.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.count == nil {
		r.count = map[string]int{}
	}
	r.count[e.ID]++
	r.total++
	return nil
}

func (r *runs) of(id string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.count[id]
}

func (r *runs) all() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.total
}

// once checks that each of some events was handled, and once.
func (r *runs) once(b *bubble, ids []string) {
	b.Helper()
	lost, twice := 0, 0
	for _, id := range ids {
		switch n := r.of(id); {
		case n == 0:
			lost++
		case n > 1:
			twice++
		}
	}
	if lost > 0 || twice > 0 {
		b.Errorf("of %d events that were acknowledged, %d were lost and %d handled more than once", len(ids), lost, twice)
	}
}
