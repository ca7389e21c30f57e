package redisengine_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/netfault"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// soon is within how long Publish and callbacks return, with something for a
// busy machine.
const soon = 5*time.Second + 10*time.Second

// newLoneApp returns an app with a subscriber of its channel "users".
func newLoneApp(t *testing.T, e *redisengine.Engine) *toot.App {
	t.Helper()
	if _, err := e.AddSubscriber(t.Context(), "users", "http://127.0.0.1:1/callbacks", 0); err != nil {
		t.Fatal(err)
	}
	app, err := toot.New(e, &toot.Options{Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Close() })
	return app
}

// published publishes and makes sure that it takes no longer than it may.
func published(ctx context.Context, t *testing.T, app *toot.App, most time.Duration) error {
	t.Helper()
	began := time.Now()
	_, err := app.Publish(ctx, "users", nil)
	if took := time.Since(began); took > most {
		t.Errorf("Publish returned after %v: %v", took, err)
	}
	return err
}

func TestPublishWhileRedisIsGoneSaysWhy(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, durable...)
	e := open(t, s.URL(), nil)
	app := newLoneApp(t, e)
	for _, known := range []string{"the subscribers are not known", "the subscribers are known"} {
		s.Kill()
		redistest.Eventually(t, "the client has noticed", func() bool { return refusedToConnect(e.Ping(t.Context())) })
		var wg sync.WaitGroup
		for i := range 20 { // some wait behind the first
			wg.Go(func() {
				time.Sleep(time.Duration(i) * 300 * time.Millisecond)
				err := published(context.Background(), t, app, soon)
				if !refusedToConnect(err) || errors.Is(err, toot.ErrUncertain) || !strings.Contains(err.Error(), "nothing was published") {
					t.Errorf("%s: the error is %v", known, err)
				}
			})
		}
		wg.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		if err := published(ctx, t, app, soon/2); err == nil {
			t.Errorf("%s: there was no error", known)
		}
		cancel()
		s.Restart()
		redistest.Eventually(t, "the server has loaded its data", func() bool { return e.Ping(t.Context()) == nil })
		if err := published(t.Context(), t, app, soon); err != nil {
			t.Error(err)
		}
	}
}

func refusedToConnect(err error) bool {
	return err != nil && strings.Contains(err.Error(), "connection refused")
}

// A server that stands still, one that can't be reached any more, and answers
// that get lost.
func TestPublishWithoutAnAnswerSaysThatItIsNotKnown(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]func(*redistest.Server, *netfault.Proxy){
		"the server stands still": func(s *redistest.Server, _ *netfault.Proxy) { s.Pause() },
		"the network stalls":      func(_ *redistest.Server, p *netfault.Proxy) { p.Stall() },
		"answers get lost":        func(_ *redistest.Server, p *netfault.Proxy) { p.LoseAnswers() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			proxy, err := netfault.New(s.Addr())
			if err != nil {
				t.Fatal(err)
			}
			defer proxy.Close()
			e := open(t, "redis://"+proxy.Addr(), nil)
			app := newLoneApp(t, e)
			if err := published(t.Context(), t, app, soon); err != nil {
				t.Fatal(err)
			}
			fault(s, proxy)
			var wg sync.WaitGroup
			for i := range 20 {
				wg.Go(func() {
					time.Sleep(time.Duration(i) * 300 * time.Millisecond)
					if err := published(context.Background(), t, app, soon); err == nil {
						t.Error("there was no error")
					}
				})
			}
			began := time.Now()
			events, err := app.PublishAll(context.Background(), toot.Message{Channel: "users", ID: "7"})
			if took := time.Since(began); took > soon || !errors.Is(err, toot.ErrUncertain) || len(events) != 1 || !strings.Contains(err.Error(), "it is not known") {
				t.Errorf("after %v: %v, %v", took, events, err)
			}
			wg.Wait()
			if name == "the server stands still" {
				s.Resume()
			}
			proxy.Mend()
			redistest.Eventually(t, "it goes on", func() bool {
				_, err = app.PublishAll(t.Context(), toot.Message{Channel: "users", ID: "7"})
				return err == nil
			})
			stats, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 1000, MaxPerLane: 1000, Lease: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			n := 0
			for _, j := range stats.Jobs {
				if j.Event.ID == "7" {
					n++
				}
			}
			if n != 1 {
				t.Errorf("the event that was published again under its ID is there %d times", n)
			}
		})
	}
}

func TestCallbacksWhileRedisIsGoneAreAnsweredSoon(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	app := newLoneApp(t, open(t, s.URL(), nil))
	if err := app.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/"}); err != nil {
		t.Fatal(err)
	}
	err := app.Subscribe("publisher", "users", toot.HandlerFunc(func(context.Context, *toot.Event) error { return nil }))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(app.HandlerService())
	defer server.Close()
	s.Pause()
	defer s.Resume()
	began := time.Now()
	res, err := http.Post(server.URL, "application/json", strings.NewReader(`{"id":"1","channel":"users"}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if took := time.Since(began); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || took > soon {
		t.Errorf("answered with %s after %v, %v", res.Status, took, res.Header)
	}
}
