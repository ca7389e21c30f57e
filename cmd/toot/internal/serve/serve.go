// Package serve is the HTTP API of `toot serve`: publishing, subscribing and
// being watched over, for apps in any language.
//
//	serve.go      the server: what is where, starting and stopping
//	publish.go    POST /publish/{channel}
//	health.go     GET /healthz, /readyz
//	auth.go       who may do what
//	browsers.go   what web pages may not do
//	callbacks.go  to which URLs events may be sent
package serve

import (
	"cmp"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/propagation"
	"golang.org/x/net/netutil"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// Options configure a Server.
type Options struct {
	// Guards stand before what they are named after; nil lets everybody pass.
	Publish, Subscriptions, Metrics *Guard
	// MetricsHandler serves /metrics; nil: there is none.
	MetricsHandler http.Handler
	// Propagator reads the context of a trace from what is published; nil
	// leaves it there.
	Propagator propagation.TextMapPropagator
	// Memory keeps the answers to requests with an Idempotency-Key.
	Memory engine.Memory
	// Dedupe is the store's Retention.Dedupe.
	Dedupe time.Duration
	// ChannelPrefix and MaxEventBytes are the app's.
	ChannelPrefix string
	MaxEventBytes int
	// MaxIntakeBytes bounds the memory of all that is being published at a
	// time. 0 means 64 MiB; less than four of the largest events counts as
	// that.
	MaxIntakeBytes int
	// PublicURL is where others reach the server; nil if that is not known.
	PublicURL *url.URL
	// CheckHost refuses requests for hosts that are neither addresses, nor
	// names of this machine, nor PublicURL's, nor one of AllowHosts.
	CheckHost  bool
	AllowHosts []string
	// ReadTimeout bounds how long a request may take to arrive, WriteTimeout
	// how long after that its answer may take to be worked out and to be taken.
	// Zero: no bound.
	ReadTimeout, WriteTimeout time.Duration
	// MaxConnections bounds the open connections; more wait to be accepted.
	// Zero: no bound.
	MaxConnections int
	// StopTimeout bounds how long requests under way are waited for.
	StopTimeout time.Duration
	Logger      *slog.Logger
}

// Server serves an app.
type Server struct {
	app      *toot.App
	opts     Options
	log      *slog.Logger
	intake   *wire.Intake
	stopping atomic.Bool
}

// New returns a server for an app.
func New(app *toot.App, o Options) *Server {
	o.MaxIntakeBytes = max(cmp.Or(o.MaxIntakeBytes, 64<<20), 4*o.MaxEventBytes)
	return &Server{app: app, opts: o, log: o.Logger, intake: wire.NewIntake(int64(o.MaxIntakeBytes))}
}

// Handler returns the whole of the API.
func (s *Server) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/publish/{channel...}", around(s.opts.Publish, http.HandlerFunc(s.servePublish)))
	subscriptions := around(s.opts.Subscriptions, s.app.SubscriptionsService())
	mux.Handle("/subscriptions", subscriptions)
	mux.Handle("/subscriptions/{$}", subscriptions) // peers in Ruby may have it so, and follow no redirects
	mux.Handle("/healthz", reading(http.HandlerFunc(s.serveHealthz)))
	mux.Handle("/readyz", reading(http.HandlerFunc(s.serveReadyz)))
	mux.Handle("/openapi.yaml", reading(http.HandlerFunc(serveDescription)))
	if s.opts.MetricsHandler != nil {
		mux.Handle("/metrics", around(s.opts.Metrics, reading(s.opts.MetricsHandler)))
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		wire.Problem(w, http.StatusNotFound, "There is /publish/{channel}, /subscriptions, /healthz, /readyz, /metrics and /openapi.yaml.")
	})
	return s.keepPagesOut(mux)
}

// reading is for what can only be read.
func reading(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			wire.Problem(w, http.StatusMethodNotAllowed, "Expected GET.")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func around(g *Guard, next http.Handler) http.Handler {
	if g == nil {
		return next
	}
	return g.Around(next)
}

// Run serves on a listener and has the app work until ctx ends. Then it takes
// no more requests, answers those under way, and lets the app finish what is
// in flight.
func (s *Server) Run(ctx context.Context, l net.Listener) error {
	server := &http.Server{
		Handler:           s.Handler(),
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       s.opts.ReadTimeout,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    64 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelWarn),
	}
	if s.opts.WriteTimeout > 0 {
		// net/http counts from the end of the header; a body may take its time.
		server.WriteTimeout = s.opts.ReadTimeout + s.opts.WriteTimeout
	}
	if s.opts.MaxConnections > 0 {
		l = netutil.LimitListener(l, s.opts.MaxConnections)
	}
	// The app works a little longer than the server serves, so that what the
	// last requests have published is on its way.
	working, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	worked := make(chan error, 1)
	go func() { worked <- s.app.Run(working) }()
	served := make(chan error, 1)
	go func() { served <- server.Serve(l) }()

	var err error
	select {
	case <-ctx.Done():
	case err = <-served:
	case err = <-worked:
		worked <- nil
	}
	s.stopping.Store(true)
	closing, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.opts.StopTimeout)
	defer cancel()
	if shutErr := server.Shutdown(closing); shutErr != nil {
		s.log.Warn("requests were still under way and were cut off", "error", shutErr)
		_ = server.Close()
	}
	stop()
	if workErr := <-worked; workErr != nil {
		s.log.Warn("stopped before all work was finished", "error", workErr)
	}
	if errors.Is(err, http.ErrServerClosed) {
		err = nil
	}
	return err
}

// sentence makes an answer's detail of an error.
func sentence(err error) string {
	text := err.Error()
	if i := strings.LastIndex(text, "toot: "); i >= 0 {
		text = text[i+len("toot: "):]
	}
	return strings.ToUpper(text[:1]) + text[1:] + ". Nothing was published."
}
