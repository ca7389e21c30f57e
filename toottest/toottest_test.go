package toottest_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/signing"
	"github.com/watermarkchurch/toot-go/toottest"
)

// A goroutine that is left behind fails the tests.
func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// both runs a test with the real network and clock, and in a bubble.
func both(t *testing.T, run func(t *testing.T)) {
	t.Helper()
	t.Run("real", func(t *testing.T) {
		t.Parallel()
		run(t)
	})
	t.Run("bubble", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, run)
	})
}

// failing is a test that may fail.
type failing struct {
	testing.TB
	message string
}

func (f *failing) Fatalf(format string, args ...any) {
	f.message = fmt.Sprintf(format, args...)
	runtime.Goexit()
}

// failure returns with which message a test fails, "" if it does not.
func failure(t testing.TB, run func(t testing.TB)) string {
	f := &failing{TB: t}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		run(f)
	}()
	<-ended
	return f.message
}

func wantFailure(t testing.TB, want string, run func(t testing.TB)) {
	t.Helper()
	if got := failure(t, run); !strings.Contains(got, want) {
		t.Errorf("the test fails with %q, want %q", got, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// subscribe adds handlers of channel "p.a".
func subscribe(t testing.TB, app *toottest.App, handlers ...toot.HandlerFunc) {
	t.Helper()
	must(t, app.AddSource("p", toot.Source{SubscriptionURL: "http://publisher.test/subscriptions", ChannelPrefix: "p."}))
	for _, h := range handlers {
		must(t, app.Subscribe("p", "a", h))
	}
}

func succeeds(context.Context, *toot.Event) error { return nil }

// TestAppsOfATestReachEachOther: over the loopback interface or in memory, by
// way of the same calls as in production; signed events, too.
func TestAppsOfATestReachEachOther(t *testing.T) {
	secret := signing.NewSecret()
	for name, source := range map[string]toot.Source{"unsigned": {}, "signed": {SigningSecrets: []string{secret}}} {
		t.Run(name, func(t *testing.T) {
			both(t, func(t *testing.T) {
				source := source
				publisher := toottest.New(t, &toot.Options{ChannelPrefix: "p.", RequireConsent: true})
				subscriber := toottest.New(t, nil)
				source.SubscriptionURL, source.ChannelPrefix = publisher.URL+"/subscriptions", "p."
				must(t, subscriber.AddSource("p", source))
				got := make(chan *toot.Event, 1)
				must(t, subscriber.Subscribe("p", "a", toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
					got <- e
					return nil
				})))
				must(t, subscriber.RegisterSubscriptions(t.Context()))
				sent, err := publisher.Publish(t.Context(), "a", nil)
				must(t, err)
				if e := <-got; e.ID != sent.ID {
					t.Errorf("got %s, want %s", e.ID, sent.ID)
				}
				if name == "signed" {
					wantFailure(t, "status 401", func(t testing.TB) { _ = subscriber.Deliver(t, toot.Message{Channel: "p.a"}) })
				}
			})
		})
	}
}

func TestPublished(t *testing.T) {
	both(t, func(t *testing.T) {
		app := toottest.New(t, &toot.Options{ChannelPrefix: "p."})
		wantFailure(t, "Nothing was published", func(t testing.TB) { app.RequirePublished(t, "a") })
		payload := `{"n":12345678901234567890}`
		_, err := app.PublishAll(t.Context(),
			toot.Message{Channel: "a", Payload: []int{1}, ID: "1"}, toot.Message{Channel: "b", ChannelPrefix: "q."}, toot.Message{Channel: "c"})
		must(t, err)
		_, err = app.Publish(t.Context(), "c", map[string]any{"n": 2})
		must(t, err)
		if _, err := app.Publish(t.Context(), "d", func() {}); err == nil {
			t.Fatal("published a function")
		}
		_, err = app.Publish(t.Context(), "e", toJSON(payload))
		must(t, err)
		if e := app.RequirePublished(t, "a"); e.ID != "1" || e.Channel != "p.a" || string(e.Payload) != "[1]" {
			t.Errorf("published %+v", e)
		}
		app.RequirePublished(t, "p.a")
		app.RequirePublished(t, "q.b")
		if e := app.RequirePublished(t, "e"); string(e.Payload) != payload {
			t.Errorf("published %s, want %s", e.Payload, payload)
		}
		wantFailure(t, "2 events were published", func(t testing.TB) { app.RequirePublished(t, "c") })
		wantFailure(t, "\n\tp.c {\"n\":2}", func(t testing.TB) { app.RequirePublished(t, "d") })
		channels := ""
		for _, e := range app.Published() {
			channels += e.Channel + " "
		}
		if channels != "p.a q.b p.c p.c p.e " {
			t.Errorf("published on %s", channels)
		}
	})
}

func toJSON(s string) any { return jsonText(s) }

type jsonText string

func (j jsonText) MarshalJSON() ([]byte, error) { return []byte(j), nil }

// TestDeliverReturnsWhatHandlersReturn: the errors themselves, of each
// subscription, and once each has been tried.
func TestDeliverReturnsWhatHandlersReturn(t *testing.T) {
	both(t, func(t *testing.T) {
		var errBroken, errHopeless = errors.New("broken"), errors.New("hopeless")
		app := toottest.New(t, nil)
		ran := make(chan string, 100)
		subscribe(t, app, func(ctx context.Context, _ *toot.Event) error {
			ran <- "slow"
			select {
			case <-time.After(20 * time.Millisecond): // the others are long done
			case <-ctx.Done():
			}
			return errBroken
		}, func(context.Context, *toot.Event) error {
			ran <- "hopeless"
			return toot.Permanent(errHopeless)
		}, succeeds, func(context.Context, *toot.Event) error {
			panic("oh")
		}, func(context.Context, *toot.Event) error {
			runtime.Goexit()
			return nil
		}, func(_ context.Context, e *toot.Event) error { // is tried again at once
			if e.Attempt < 2 {
				return toot.RetryAfter(0, errors.New("not yet"))
			}
			return nil
		})
		err := app.Deliver(t, toot.Message{Channel: "a", ChannelPrefix: "p.", ID: "1"})
		var panicked *toot.PanicError
		if !errors.Is(err, errBroken) || !errors.Is(err, errHopeless) || !errors.As(err, &panicked) || panicked.Value != "oh" ||
			!strings.Contains(fmt.Sprint(err), "Goexit") || strings.Contains(fmt.Sprint(err), "not yet") {
			t.Errorf("Deliver returned %v", err)
		}
		letters, err := app.DeadLetters(t.Context(), engine.DeadQuery{})
		if err != nil || len(letters) != 1 || letters[0].Reason != "hopeless" {
			t.Errorf("dead letters %+v, %v", letters, err)
		}
		if err := app.Deliver(t, toot.Message{Channel: "p.a", ID: "1"}); err != nil {
			t.Errorf("a duplicate: %v", err)
		}
		if len(ran) != 2 {
			t.Errorf("%d runs", len(ran))
		}
	})
}

// TestDeliverSaysWhyItCant: rather than wait in vain.
func TestDeliverSaysWhyItCant(t *testing.T) {
	both(t, func(t *testing.T) {
		app := toottest.New(t, nil)
		subscribe(t, app, succeeds)
		wantFailure(t, `nothing is subscribed to "a"`, func(t testing.TB) { _ = app.Deliver(t, toot.Message{Channel: "a"}) })
		wantFailure(t, "status 422", func(t testing.TB) { _ = app.Deliver(t, toot.Message{Channel: "p.a", ID: "\n"}) })
		wantFailure(t, "the payload can't be encoded", func(t testing.TB) { _ = app.Deliver(t, toot.Message{Channel: "p.a", Payload: func() {}}) })
		wantFailure(t, "status 422", func(t testing.TB) { app.AddSubscriber(t, "a", "nonsense") })
		wantFailure(t, "Options.BaggageHosts", func(t testing.TB) { toottest.New(t, &toot.Options{BaggageHosts: []string{"http://"}}) })
	})
}

// TestTheScriptIsKeptTo: what the endpoint answers is what the App sees.
func TestTheScriptIsKeptTo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		app := toottest.New(t, &toot.Options{RequestTimeout: 10 * time.Second, MaxRetries: 4, KeepTries: 1000})
		endpoint := toottest.NewEndpoint(t,
			toottest.Answer{Status: 500, Body: "no"}, toottest.Answer{Abort: true}, toottest.Answer{Delay: time.Hour}, toottest.Answer{Status: 400, Delay: 5 * time.Second})
		app.AddSubscriber(t, "a", endpoint.URL)
		sent, err := app.Publish(t.Context(), "a", nil)
		must(t, err)
		for i, r := range endpoint.Await(t, 5) {
			if r.Event == nil || r.Event.ID != sent.ID || r.Header.Get("Content-Type") != "application/json" {
				t.Errorf("request %d: %+v", i, r)
			}
		}
		time.Sleep(2 * time.Hour)
		letters, err := app.DeadLetters(t.Context(), engine.DeadQuery{})
		must(t, err)
		if len(letters) != 1 || len(letters[0].Tries) < 5 {
			t.Fatalf("dead letters %+v", letters)
		}
		tries := letters[0].Tries
		if tries[0].Status != 500 || tries[1].Status != 0 || !strings.Contains(tries[1].Error, "EOF") || tries[2].Status != 0 || tries[3].Status != 400 || tries[4].Status != 400 {
			t.Errorf("tries %+v", tries)
		}
		wantFailure(t, "requests within 24h", func(t testing.TB) { endpoint.Await(t, 1000) })
	})
}

// TestARealEndpoint: it serves whoever asks, and what it keeps waiting ends with
// the test.
func TestARealEndpoint(t *testing.T) {
	t.Parallel()
	endpoint := toottest.NewEndpoint(t, toottest.Answer{Status: 418, Header: http.Header{"x-toot-batch": {"10"}}, Body: "short"}, toottest.Answer{Delay: time.Hour})
	res, err := http.Post(endpoint.URL, "text/plain", strings.NewReader("hello"))
	must(t, err)
	_ = res.Body.Close()
	if res.StatusCode != 418 || res.Header.Get("X-Toot-Batch") != "10" {
		t.Errorf("%d %v", res.StatusCode, res.Header)
	}
	if got := endpoint.Await(t, 1); string(got[0].Body) != "hello" || got[0].Event != nil || len(endpoint.Requests()) != 1 {
		t.Errorf("got %+v", got)
	}
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	app := toottest.New(t, &toot.Options{ChannelPrefix: "p."})
	app.AddSubscriber(t, "a", endpoint.URL)
	_, err = app.Publish(t.Context(), "a", nil)
	must(t, err)
	endpoint.Await(t, 2) // which is kept waiting when the test ends
}

// TestHandlersMayRunWhenTheTestEnds: their context ends, and nothing is logged
// after the test.
func TestHandlersMayRunWhenTheTestEnds(t *testing.T) {
	both(t, func(t *testing.T) {
		app := toottest.New(t, nil)
		running := make(chan struct{})
		subscribe(t, app, func(ctx context.Context, _ *toot.Event) error {
			close(running)
			<-ctx.Done()
			return ctx.Err()
		})
		publisher := toottest.New(t, &toot.Options{ChannelPrefix: "p."})
		publisher.AddSubscriber(t, "a", app.URL+"/callbacks")
		_, err := publisher.Publish(t.Context(), "a", nil)
		must(t, err)
		<-running
	})
}

// TestOptionsAreKept: those of production count, and aren't changed.
func TestOptionsAreKept(t *testing.T) {
	both(t, func(t *testing.T) {
		var log bytes.Buffer
		var seen steps
		opts := &toot.Options{Logger: slog.New(slog.NewTextHandler(&log, nil)), Observer: &seen, CallbackURL: "http://subscriber.test/callbacks"}
		endpoint := toottest.NewEndpoint(t)
		app := toottest.New(t, opts)
		app.AddSubscriber(t, "a", endpoint.URL)
		if !strings.Contains(log.String(), "subscriber added") {
			t.Errorf("the log is %q", log.String())
		}
		_, err := app.Publish(t.Context(), "a", nil)
		must(t, err)
		if len(seen) == 0 || opts.WrapTransport != nil || opts.DrainTimeout != 0 {
			t.Errorf("saw %q, options %+v", seen, opts)
		}
	})
}

// TestABubbleHasNoNetwork: what is not served in it is reached by the caller's
// own transport, or not at all.
func TestABubbleHasNoNetwork(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tries := func(opts *toot.Options) string {
			app := toottest.New(t, opts)
			must(t, app.AddSource("p", toot.Source{SubscriptionURL: "http://127.0.0.1:1/subscriptions"}))
			must(t, app.Subscribe("p", "a", toot.HandlerFunc(succeeds)))
			return fmt.Sprint(app.RegisterSubscriptions(t.Context()))
		}
		wrapped := 0
		wrap := func(next http.RoundTripper) http.RoundTripper {
			return transport(func(req *http.Request) (*http.Response, error) {
				wrapped++
				return next.RoundTrip(req)
			})
		}
		if err := tries(&toot.Options{WrapTransport: wrap, AllowCallback: toot.PublicCallbacks()}); !strings.Contains(err, "dial memory: connection refused") || wrapped == 0 {
			t.Errorf("%s after %d requests", err, wrapped)
		}
		own := transport(func(*http.Request) (*http.Response, error) { return nil, errors.New("the caller's own") })
		if err := tries(&toot.Options{Client: &http.Client{Transport: own}}); !strings.Contains(err, "the caller's own") {
			t.Error(err)
		}
	})
}

type transport func(*http.Request) (*http.Response, error)

func (t transport) RoundTrip(req *http.Request) (*http.Response, error) { return t(req) }

type steps []toot.StepName

func (s *steps) Begin(ctx context.Context, step *toot.Step) (context.Context, func(toot.StepResult)) {
	if step.Name == toot.StepPublish {
		*s = append(*s, step.Name)
	}
	return ctx, nil
}
