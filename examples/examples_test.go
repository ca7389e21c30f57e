package examples

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/gin-gonic/gin"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/signing"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func newApp(t *testing.T, opts toot.Options) *toot.App {
	t.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	app, err := toot.New(memengine.New(), &opts)
	must(t, err)
	t.Cleanup(func() { must(t, app.Close()) })
	return app
}

// run runs the app until the test is over.
func run(t *testing.T, app *toot.App) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
	})
}

// TestRouters: whatever the router, both services get every method that they
// need: an app that asks for consent (OPTIONS) registers with itself and hears
// from itself, and its subscriptions are listed and removed.
func TestRouters(t *testing.T) {
	gin.SetMode(gin.ReleaseMode)
	for name, router := range map[string]func(*toot.App) http.Handler{"net/http": withServeMux, "chi": withChi, "gin": withGin, "echo": withEcho} {
		t.Run(name, func(t *testing.T) {
			var services http.Handler
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { services.ServeHTTP(w, r) }))
			t.Cleanup(server.Close)
			app := newApp(t, toot.Options{ChannelPrefix: "org.example.", CallbackURL: server.URL + "/callbacks", RequireConsent: true})
			services = router(app)
			handled := make(chan string, 1)
			must(t, app.AddSource("self", toot.Source{SubscriptionURL: server.URL + "/subscriptions", ChannelPrefix: "org.example."}))
			must(t, app.Subscribe("self", "a.v1", toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
				handled <- e.ID
				return nil
			})))
			run(t, app)
			must(t, app.RegisterSubscriptions(t.Context()))
			e, err := app.Publish(t.Context(), "a.v1", nil)
			must(t, err)
			if got := <-handled; got != e.ID {
				t.Errorf("%s was handled, not %s", got, e.ID)
			}
			for method, want := range map[string]int{http.MethodGet: http.StatusOK, http.MethodDelete: http.StatusBadRequest} {
				req, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/subscriptions", nil)
				must(t, err)
				res, err := server.Client().Do(req)
				must(t, err)
				_ = res.Body.Close()
				if res.StatusCode != want {
					t.Errorf("%s was answered with %d, want %d", method, res.StatusCode, want)
				}
			}
		})
	}
}

// TestHandlerErrors: what becomes of an event by what its handler returns.
func TestHandlerErrors(t *testing.T) {
	app := newApp(t, toot.Options{})
	must(t, app.AddSource("shop", toot.Source{SubscriptionURL: "http://shop.example.org/subscriptions"}))
	charged := make(chan int, 3)
	must(t, oneAtATime(app, charging(func(_ context.Context, number int) error {
		charged <- number
		switch number {
		case 1:
			return errBusy
		case 2:
			return errNoSuchOrder
		}
		return nil
	})))
	for _, number := range []string{"1", "2", "3", `"four"`} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/callbacks", strings.NewReader(`{"channel":"orders.placed.v1","payload":{"number":`+number+`}}`))
		w := httptest.NewRecorder()
		app.HandlerService().ServeHTTP(w, r)
		if w.Code != http.StatusOK {
			t.Fatalf("answered with %d: %s", w.Code, w.Body)
		}
	}
	run(t, app)
	for range 3 {
		<-charged
	}
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		stats, err := app.Stats(t.Context())
		must(t, err)
		if stats.Dead == 2 && stats.Retrying == 1 && stats.Waiting == 1 {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%+v", stats)
		}
	}
}

// TestMiddleware wraps a handler in what the cookbook has.
func TestMiddleware(t *testing.T) {
	var log bytes.Buffer
	var handled []string
	var h toot.Handler = toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
		handled = append(handled, e.ID)
		return errors.New("out of order")
	})
	h = notOlderThan(time.Hour)(h)
	h = logged(slog.New(slog.NewJSONHandler(&log, nil)))(h)
	_ = h.HandleEvent(t.Context(), &toot.Event{ID: "new", Timestamp: time.Now()})
	must(t, h.HandleEvent(t.Context(), &toot.Event{ID: "old", Timestamp: time.Now().Add(-2 * time.Hour)}))
	if len(handled) != 1 || handled[0] != "new" {
		t.Errorf("handled: %q", handled)
	}
	var line struct{ Event, Error string }
	must(t, json.NewDecoder(&log).Decode(&line))
	if line.Event != "new" || line.Error != "out of order" {
		t.Errorf("logged: %+v", line)
	}
}

// lossy is a store that loses its answer to the first push.
type lossy struct {
	engine.Engine
	lost bool
}

func (l *lossy) Push(ctx context.Context, p engine.PushRequest) (engine.PushResult, error) {
	done, err := l.Engine.Push(ctx, p)
	if !l.lost {
		l.lost = true
		return engine.PushResult{}, engine.ErrUncertain
	}
	return done, err
}

// TestPublishOnce publishes again under the same ID if the store's answer was
// lost, and the event is there once.
func TestPublishOnce(t *testing.T) {
	store := memengine.New()
	_, err := store.AddSubscriber(t.Context(), "orders.placed.v1", "http://mailer.example.org/", 0)
	must(t, err)
	app, err := toot.New(&lossy{Engine: store}, &toot.Options{Logger: slog.New(slog.DiscardHandler)})
	must(t, err)
	defer func() { must(t, app.Close()) }()
	must(t, publishOnce(t.Context(), app, order{Number: 7}, "order-7"))
	must(t, publishBothVersions(t.Context(), app, 1, 2))
	lanes, err := store.Lanes(t.Context())
	must(t, err)
	if len(lanes) != 1 || lanes[0].Waiting != 2 { // one of them of order 7, one of the first version
		t.Errorf("waiting: %+v", lanes)
	}
}

func TestMetricsAndTraces(t *testing.T) {
	mux := http.NewServeMux()
	app, err := withMetrics(memengine.New(), mux)
	must(t, err)
	defer func() { must(t, app.Close()) }()
	_, err = app.Publish(t.Context(), "a.v1", nil)
	must(t, err)
	w := httptest.NewRecorder()
	mux.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/metrics", nil))
	body, err := io.ReadAll(w.Body)
	must(t, err)
	if !strings.Contains(string(body), `toot_published_total{outcome="ok"} 1`) {
		t.Errorf("metrics: %s", body)
	}

	spans := &kept{InMemoryExporter: tracetest.NewInMemoryExporter()}
	traced, flush, err := withTraces(memengine.New(), spans)
	must(t, err)
	defer func() { must(t, traced.Close()) }()
	_, err = traced.Publish(t.Context(), "a.v1", nil)
	must(t, err)
	must(t, flush(t.Context()))
	if got := spans.GetSpans(); len(got) != 1 || got[0].Name != "publish a.v1" {
		t.Errorf("spans: %v", got)
	}
	if opts := withBoth(nil, nil); opts.Observer == nil {
		t.Error("no observer")
	}
}

// kept keeps the spans when it is shut down.
type kept struct{ *tracetest.InMemoryExporter }

func (k *kept) Shutdown(context.Context) error { return nil }

// TestOnTheInternet: both services ask for credentials.
func TestOnTheInternet(t *testing.T) {
	t.Setenv("SHOP_SECRET", signing.NewSecret())
	mux := http.NewServeMux()
	app, err := onTheInternet(memengine.New(), mux, "password")
	must(t, err)
	defer func() { must(t, app.Close()) }()
	server := withLimits(mux)
	for _, path := range []string{"/subscriptions", "/callbacks"} {
		w := httptest.NewRecorder()
		server.Handler.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, path, nil))
		if w.Code != http.StatusUnauthorized {
			t.Errorf("POST %s was answered with %d", path, w.Code)
		}
	}
}
