// Command v0.1.0 fills a store with everything that an app and its operators
// leave in one, by the public API. make.sh runs it for a SQLite file and for a
// Redis. What it leaves is listed in upgrade_test.go, which reads it.
//
// What a store remembers for a while it remembers for a lifetime, so that it
// can still be tested when the files are old.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/auth"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

const (
	prefix   = "org.example.shop."
	lifetime = 50 * 365 * 24 * time.Hour
	// Secrets as signing.NewSecret makes them. They protect nothing.
	ownSecret, setSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

var ctx = context.Background()

// store is what both engines keep.
type store interface {
	engine.Engine
	engine.Memory
}

func main() {
	log.SetFlags(0)
	s, err := open(os.Args[1])
	check(err)
	runs(s)
	registers(s)
	waits(s)
	check(s.Close())
}

func open(name string) (store, error) {
	retention := engine.Retention{Dedupe: lifetime, DeadAge: lifetime, DeadMax: 1234}
	if strings.HasPrefix(name, "redis://") {
		return redisengine.Open(ctx, name, &redisengine.Options{Namespace: "shop", Retention: retention, Logger: slog.New(slog.DiscardHandler)})
	}
	return sqliteengine.Open(name, &sqliteengine.Options{Retention: retention})
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

// endpoints answer requests by the host that they are for, and count them.
type endpoints struct {
	mu    sync.Mutex
	asked map[string]int
}

func (e *endpoints) RoundTrip(r *http.Request) (*http.Response, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.asked[r.URL.Host]++
	if r.Body != nil {
		_, _ = io.Copy(io.Discard, r.Body)
		_ = r.Body.Close()
	}
	w := httptest.NewRecorder()
	if strings.HasPrefix(r.URL.Host, "broken") || strings.HasPrefix(r.URL.Host, "dead") {
		w.WriteHeader(http.StatusInternalServerError)
	}
	if r.Method == http.MethodOptions {
		w.Header().Set("WebHook-Allowed-Origin", "*")
	}
	res := w.Result()
	res.Request = r
	return res, nil
}

func (e *endpoints) await(host string) {
	for {
		e.mu.Lock()
		n := e.asked[host]
		e.mu.Unlock()
		if n > 0 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func newApp(s store, opts toot.Options) (*toot.App, *endpoints) {
	e := &endpoints{asked: map[string]int{}}
	opts.ChannelPrefix, opts.CallbackURL = prefix, "http://shop.example.org/callbacks"
	opts.Client, opts.Logger = &http.Client{Transport: e}, slog.New(slog.DiscardHandler)
	app := must(toot.New(s, &opts))
	check(app.AddSource("shop", toot.Source{SubscriptionURL: "http://shop.example.org/subscriptions", ChannelPrefix: prefix}))
	return app, e
}

// run runs an app until done returns.
func run(app *toot.App, done func()) {
	ctx, cancel := context.WithCancel(ctx)
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	done()
	cancel()
	check(<-ended)
}

func ask(h http.Handler, ctx context.Context, body string) {
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, "/", bytes.NewReader([]byte(body)))
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code > 299 {
		log.Fatalf("%s was answered with %d: %s", body, w.Code, w.Body)
	}
}

func register(app *toot.App, ctx context.Context, url, channel, more string) {
	ask(app.SubscriptionsService(), ctx, fmt.Sprintf(`{"callback_url":%q,"channel":%q%s}`, url, prefix+channel, more))
}

// publish publishes an event whose ID, and payload, is its name.
func publish(app *toot.App, channel, id string) {
	must(app.PublishAll(ctx, toot.Message{Channel: channel, ID: id, Payload: map[string]string{"name": id}}))
}

func receive(app *toot.App, channel, id string) {
	ask(app.HandlerService(), ctx, fmt.Sprintf(`{"id":%q,"timestamp":"2026-11-23T09:11:13.000000Z","payload":{"name":%q},"channel":%q}`, id, id, prefix+channel))
}

// runs leaves what was delivered, tried and given up on.
func runs(s store) {
	app, e := newApp(s, toot.Options{})
	register(app, ctx, "http://done.example.org/", "done.v1", "")
	register(app, ctx, "http://broken.example.org/", "retried.v1", "")
	publish(app, "done.v1", "delivered")
	publish(app, "retried.v1", "retried")
	run(app, func() {
		e.await("done.example.org")
		e.await("broken.example.org")
	})
	check(app.Close())

	app, e = newApp(s, toot.Options{MaxRetries: -1})
	handled := make(chan struct{}, 2)
	check(app.Subscribe("shop", "taken.v1", toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
		defer func() { handled <- struct{}{} }()
		if e.ID == "unbearable" {
			return toot.Permanent(errors.New("no such order"))
		}
		return nil
	})))
	register(app, ctx, "http://dead.example.org/", "buried.v1", "")
	publish(app, "buried.v1", "buried")
	receive(app, "taken.v1", "handled")
	receive(app, "taken.v1", "unbearable")
	run(app, func() {
		e.await("dead.example.org")
		<-handled
		<-handled
	})
	check(app.Close())
}

// registers leaves who is subscribed, and what is known of them and of users.
func registers(s store) {
	credentials := must(auth.NewCredentials(s, &auth.Options{ChannelPrefix: prefix}))
	check(credentials.AddWith(ctx, "ann", "correct horse", auth.Rights{Prefixes: []string{prefix}}))
	check(credentials.AddWith(ctx, "boss", "battery staple", auth.Rights{Operator: true}))
	original := must(auth.NewCredentials(s, &auth.Options{ChannelPrefix: prefix, Original: true}))
	check(original.Add(ctx, "ruby", "from the original"))

	app, _ := newApp(s, toot.Options{RequireConsent: true, RegistrationLease: lifetime})
	anns := toot.WithUser(ctx, toot.User{Name: "ann"})
	register(app, ctx, "http://plain.example.org/", "ordered.v1", "")
	register(app, anns, "http://user:password@anns.example.org/?token=secret", "ordered.v1", "")
	register(app, ctx, "http://signed.example.org/", "ordered.v1", `,"signing_secret":"`+ownSecret+`"`)
	check(app.SetSigningSecret(ctx, "http://plain.example.org/", setSecret, 0))
	for i := range 70 { // more than get their deliveries with the push
		register(app, ctx, fmt.Sprintf("http://many.example.org/%d", i), "many.v1", "")
	}
	check(app.Close())
	must(s.Remember(ctx, "key", []byte("value"), lifetime))
}

// waits leaves what is still to be done.
func waits(s store) {
	app, _ := newApp(s, toot.Options{})
	check(app.Subscribe("shop", "taken.v1", toot.HandlerFunc(func(context.Context, *toot.Event) error { return nil })))
	check(app.AddSubscription(toot.Subscription{Source: "shop", Channel: "taken.v1", Name: "second", Handler: toot.HandlerFunc(func(context.Context, *toot.Event) error { return nil })}))
	publish(app, "ordered.v1", "first")
	publish(app, "ordered.v1", "85f05e61-9b14-4062-a0a6-f9dd7272587d")
	publish(app, "many.v1", "fanned out")
	receive(app, "taken.v1", "taken")
	check(app.Close())
}
