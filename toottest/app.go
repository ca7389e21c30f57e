package toottest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// App is a toot.App for a test. It runs, on a store in memory that is its own.
// Its methods may be called concurrently.
type App struct {
	*toot.App
	// URL is that of a server, without a slash at its end, which has the App's
	// SubscriptionsService at /subscriptions and its HandlerService at
	// /callbacks.
	URL string
	// Engine keeps the App's events. auth.NewCredentials takes it, for example.
	Engine *memengine.Engine

	prefix    string // Options.ChannelPrefix
	published published
	awaited   awaited
}

// New starts an App that has the options of production, where they are set, and
// these defaults:
//
//   - CallbackURL: /callbacks of the App's own server, so that
//     RegisterSubscriptions works between the Apps of a test
//   - Logger: the test's output, from INFO on
//   - DrainTimeout: 100 ms, for which handlers may still run when the test ends,
//     before their context does
//
// opts may be nil, and is not changed. The App runs until the test has ended,
// so Run must not be called; subscriptions are added while it does. What is
// wrong with the options ends the test.
func New(t testing.TB, opts *toot.Options) *App {
	t.Helper()
	o := toot.Options{}
	if opts != nil {
		o = *opts
	}
	a := &App{Engine: memengine.New(), prefix: o.ChannelPrefix}
	mux, bubble := http.NewServeMux(), inBubble()
	url, endServer := serve(bubble, "app", mux)
	a.URL = url
	if o.CallbackURL == "" {
		o.CallbackURL = a.URL + "/callbacks"
	}
	if o.DrainTimeout == 0 {
		o.DrainTimeout = 100 * time.Millisecond
	}
	endLog := func() {}
	if o.Logger == nil {
		out := &output{w: t.Output()}
		endLog = out.end
		o.Logger = slog.New(slog.NewTextHandler(out, nil))
	}
	if bubble {
		o.WrapTransport = throughMemory(&o)
	}
	o.Observer = toot.Observers(o.Observer, &a.published, &a.awaited)
	app, err := toot.New(a.Engine, &o)
	if err != nil {
		endServer()
		t.Fatalf("toottest: %v", err)
	}
	a.App = app
	a.Use(a.awaited.middleware)
	mux.Handle("/subscriptions", a.SubscriptionsService())
	mux.Handle("/subscriptions/{$}", a.SubscriptionsService())
	mux.Handle("/callbacks", a.HandlerService())
	mux.Handle("/callbacks/{$}", a.HandlerService())

	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil && !errors.Is(err, toot.ErrClosed) {
			t.Logf("toottest: %v", err) // such as a handler that was still running
		}
		_ = a.Close()
		endServer()
		_ = a.Engine.Close()
		endLog()
	})
	return a
}

// throughMemory returns a WrapTransport that reaches what is served in the
// bubble, inside the one that the options have.
func throughMemory(o *toot.Options) func(http.RoundTripper) http.RoundTripper {
	wrap, hasOwn := o.WrapTransport, o.Client != nil && o.Client.Transport != nil
	return func(base http.RoundTripper) http.RoundTripper {
		m := memory{}
		if hasOwn {
			m.next = base
		}
		if wrap != nil {
			return wrap(m)
		}
		return m
	}
}

// AddSubscriber registers a callback URL, such as an Endpoint's, on a channel
// of the App, which is named as in Publish, without the App's prefix. A
// registration that is refused ends the test.
func (a *App) AddSubscriber(t testing.TB, channel, callbackURL string) {
	t.Helper()
	body, err := json.Marshal(wire.Registration{CallbackURL: callbackURL, Channel: a.prefix + channel})
	if err != nil {
		t.Fatalf("toottest: %v", err)
	}
	if w := post(t, a.SubscriptionsService(), body); w.Code > 299 {
		t.Fatalf("toottest: the callback URL was not registered on %q: %s", a.prefix+channel, refusal(w))
	}
}

// post hands a request to a handler.
func post(t testing.TB, h http.Handler, body []byte) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", bytes.NewReader(body))
	req.Header.Set("Content-Type", wire.JSONContentType[0])
	h.ServeHTTP(w, req)
	return w
}

// refusal says why a request was refused.
func refusal(w *httptest.ResponseRecorder) string {
	res := w.Result()
	defer func() { _ = res.Body.Close() }()
	_, detail := wire.ReadProblem(res)
	return fmt.Sprintf("status %d: %s", res.StatusCode, detail)
}

// output is the output of a test, until that has ended.
type output struct {
	mu sync.Mutex
	w  io.Writer
}

func (o *output) Write(line []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.w.Write(line)
}

func (o *output) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.w = io.Discard
}
