package toot_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

// served is an app that Serve runs on a free port, and how it ended.
type served struct {
	*toot.App
	server *http.Server
	mux    *http.ServeMux
	addr   chan string
	cancel context.CancelFunc
	ended  chan error
}

func newServed(t *testing.T, opts toot.Options) *served {
	t.Helper()
	opts.Logger = slog.New(slog.DiscardHandler)
	store := memengine.New()
	app := must2(toot.New(store, &opts))
	t.Cleanup(func() {
		must(t, app.Close())
		must(t, store.Close())
	})
	s := &served{App: app, mux: http.NewServeMux(), addr: make(chan string, 1), ended: make(chan error, 1)}
	s.server = &http.Server{Addr: "127.0.0.1:0", Handler: s.mux, ReadHeaderTimeout: time.Minute}
	s.server.BaseContext = func(l net.Listener) context.Context {
		s.addr <- l.Addr().String()
		return context.Background()
	}
	return s
}

func (s *served) serve(t *testing.T) (addr string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	s.cancel = cancel
	t.Cleanup(cancel)
	go func() { s.ended <- s.Serve(ctx, s.server) }()
	select {
	case addr = <-s.addr:
	case err := <-s.ended:
		t.Fatalf("Serve ended: %v", err)
	}
	return addr
}

// TestServeEndsWhatIsUnderWay: when the context ends, a handler and a request
// that are under way come to their end, and nobody gets in any more.
func TestServeEndsWhatIsUnderWay(t *testing.T) {
	s := newServed(t, toot.Options{})
	handling, answering, finish := make(chan struct{}), make(chan struct{}), make(chan struct{})
	handled := make(chan struct{}, 1)
	must(t, s.AddSource("other", toot.Source{SubscriptionURL: "http://other.example.org/subscriptions"}))
	must(t, s.Subscribe("other", "users.updated.v1", toot.HandlerFunc(func(ctx context.Context, _ *toot.Event) error {
		close(handling)
		<-finish
		handled <- struct{}{}
		return ctx.Err()
	})))
	s.mux.Handle("/callbacks", s.HandlerService())
	s.mux.HandleFunc("/slow", func(w http.ResponseWriter, r *http.Request) {
		close(answering)
		<-finish
		_, err := s.Publish(r.Context(), "answered.v1", nil) // works until the end
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
		}
	})
	addr := s.serve(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res := must2(client.Post("http://"+addr+"/callbacks", "application/json", strings.NewReader(`{"id":"1","channel":"users.updated.v1"}`)))
	_ = res.Body.Close()
	status := make(chan int, 1)
	go func() {
		res, err := client.Get("http://" + addr + "/slow")
		if err != nil {
			t.Error(err)
			status <- 0
			return
		}
		_ = res.Body.Close()
		status <- res.StatusCode
	}()
	<-handling
	<-answering

	s.cancel()
	eventually(t, "no more connections are accepted", func() bool {
		conn, err := net.Dial("tcp", addr)
		if err == nil {
			_ = conn.Close()
		}
		return err != nil
	})
	select {
	case err := <-s.ended:
		t.Fatalf("Serve did not wait: %v", err)
	default:
	}
	close(finish)
	if got := <-status; got != http.StatusOK {
		t.Errorf("the request under way was answered with %d", got)
	}
	if err := <-s.ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
	select {
	case <-handled:
	default:
		t.Error("the handler did not come to its end")
	}
}

// TestServeCutsOffWhatOverstays: the drain timeout bounds requests, too, and
// what was cut off is said.
func TestServeCutsOffWhatOverstays(t *testing.T) {
	s := newServed(t, toot.Options{DrainTimeout: 50 * time.Millisecond})
	answering := make(chan struct{})
	s.mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) {
		close(answering)
		<-r.Context().Done()
	})
	addr := s.serve(t)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	failed := make(chan error, 1)
	go func() {
		res, err := client.Get("http://" + addr)
		if err == nil {
			_ = res.Body.Close()
		}
		failed <- err
	}()
	<-answering
	s.cancel()
	if err := <-s.ended; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "drain timeout of 50ms") {
		t.Errorf("Serve: %v", err)
	}
	if err := <-failed; err == nil {
		t.Error("the request was answered")
	}
}

// TestServeSaysWhyItCantBegin: an address that is taken, an app that is closed.
// Nothing is left running, and the port is free.
func TestServeSaysWhyItCantBegin(t *testing.T) {
	taken := must2(net.Listen("tcp", "127.0.0.1:0"))
	defer func() { _ = taken.Close() }()
	s := newServed(t, toot.Options{})
	s.server.Addr = taken.Addr().String()
	if err := s.Serve(t.Context(), s.server); err == nil || !strings.Contains(err.Error(), s.server.Addr) {
		t.Errorf("Serve on an address that is taken: %v", err)
	}
	must(t, s.Run(cancelled())) // which is ErrRunning if Run was left running
	must(t, s.Close())
	s = newServed(t, toot.Options{})
	must(t, s.Close())
	if err := s.Serve(t.Context(), s.server); !errors.Is(err, toot.ErrClosed) {
		t.Errorf("Serve of a closed app: %v", err)
	}
}

func cancelled() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// TestServeEndsWithItsServer: who closes the server or the app ends Serve.
func TestServeEndsWithItsServer(t *testing.T) {
	for name, end := range map[string]func(s *served) error{
		"server": func(s *served) error { return s.server.Close() },
		"app":    func(s *served) error { return s.Close() },
	} {
		t.Run(name, func(t *testing.T) {
			s := newServed(t, toot.Options{})
			addr := s.serve(t)
			must(t, end(s))
			if err := <-s.ended; err != nil && !errors.Is(err, toot.ErrClosed) {
				t.Errorf("Serve: %v", err)
			}
			if conn, err := net.Dial("tcp", addr); err == nil {
				_ = conn.Close()
				t.Error("somebody still listens")
			}
		})
	}
}

// TestServeSpeaksTLS where the server has a TLSConfig.
func TestServeSpeaksTLS(t *testing.T) {
	withCertificate := httptest.NewTLSServer(nil)
	defer withCertificate.Close()
	s := newServed(t, toot.Options{})
	s.server.TLSConfig = withCertificate.TLS.Clone()
	s.mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") })
	addr := s.serve(t)
	client := withCertificate.Client()
	res := must2(client.Get("https://" + addr))
	body := must2(io.ReadAll(res.Body))
	_ = res.Body.Close()
	if string(body) != "hello" {
		t.Errorf("got %q", body)
	}
	client.CloseIdleConnections()
	s.cancel()
	if err := <-s.ended; err != nil {
		t.Errorf("Serve: %v", err)
	}
}
