package upgrade

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/auth"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
	"github.com/watermarkchurch/toot-go/signing"
)

// What testdata/v0.1.0/main.go has put into the stores.
const (
	prefix               = "org.example.shop."
	uuid                 = "85f05e61-9b14-4062-a0a6-f9dd7272587d"
	ownSecret, setSecret = "whsec_MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=", "whsec_ZmVkY2JhOTg3NjU0MzIxMGZlZGNiYTk4NzY1NDMyMTA="
)

type store interface {
	engine.Engine
	engine.Memory
	engine.Retainer
}

var discard = slog.New(slog.DiscardHandler)

// onEach runs a test on a copy of each of the stores.
func onEach(t *testing.T, test func(t *testing.T, s store)) {
	t.Parallel()
	dir, err := filepath.Abs("testdata/v0.1.0")
	must(t, err)
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		file := filepath.Join(t.TempDir(), "toot.db")
		content, err := os.ReadFile(filepath.Join(dir, "sqlite.db"))
		must(t, err)
		must(t, os.WriteFile(file, content, 0o600))
		s, err := sqliteengine.Open(file, &sqliteengine.Options{Logger: discard})
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		test(t, s)
	})
	t.Run("redis", func(t *testing.T) {
		t.Parallel()
		server := redistest.Start(t, "dir "+dir, "dbfilename redis.rdb")
		s, err := redisengine.Open(t.Context(), server.URL(), &redisengine.Options{Namespace: "shop", Logger: discard})
		must(t, err)
		t.Cleanup(func() { must(t, s.Close()) })
		test(t, s)
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s: got %s, want %s", what, g, w)
	}
}

// world is the app of today, the endpoints to which it sends, and its handlers.
type world struct {
	*toot.App
	mu        sync.Mutex
	delivered map[string]int // "URL ID"
	handled   map[string]int // "subscription ID"
	unsigned  []string       // requests that were not signed as they should be
}

func newWorld(t *testing.T, s store) *world {
	t.Helper()
	w := &world{delivered: map[string]int{}, handled: map[string]int{}}
	app, err := toot.New(s, &toot.Options{
		ChannelPrefix: prefix, CallbackURL: "http://shop.example.org/callbacks", RequireConsent: true,
		Client: &http.Client{Transport: w}, Logger: discard,
	})
	must(t, err)
	t.Cleanup(func() { must(t, app.Close()) })
	w.App = app
	must(t, app.AddSource("shop", toot.Source{SubscriptionURL: "http://shop.example.org/subscriptions", ChannelPrefix: prefix}))
	for _, name := range []string{"", "second"} {
		must(t, app.AddSubscription(toot.Subscription{Source: "shop", Channel: "taken.v1", Name: name, Handler: toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.handled[name+" "+e.ID]++
			return nil
		})}))
	}
	return w
}

// run runs the app until the test is over.
func (w *world) run(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		must(t, <-ended)
	})
}

// RoundTrip is how requests reach the endpoints. Endpoints that have consented
// before are not asked again, and would refuse.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	rec := httptest.NewRecorder()
	if r.Method == http.MethodOptions {
		if host := r.URL.Hostname(); host != "broken.example.org" && host != "dead.example.org" {
			rec.WriteHeader(http.StatusForbidden)
		} else {
			rec.Header().Set("WebHook-Allowed-Origin", "*")
		}
		return rec.Result(), nil
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	var e struct{ ID string }
	if err := json.Unmarshal(body, &e); err != nil {
		return nil, err
	}
	w.delivered[r.URL.String()+" "+e.ID]++
	secret := map[string]string{"signed.example.org": ownSecret, "plain.example.org": setSecret}[r.URL.Host]
	if secret != "" {
		v, err := signing.NewVerifier(secret)
		if err == nil {
			_, err = v.Check(r.Header, body)
		}
		if err != nil {
			w.unsigned = append(w.unsigned, r.URL.Host+": "+err.Error())
		}
	}
	return rec.Result(), nil
}

// await waits until exactly these have come, in any order.
func (w *world) await(t *testing.T, got map[string]int, want ...string) {
	t.Helper()
	slices.Sort(want)
	read := func() []string {
		w.mu.Lock()
		defer w.mu.Unlock()
		return slices.Sorted(maps.Keys(got))
	}
	for deadline := time.Now().Add(2 * time.Minute); !slices.Equal(read(), want); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("got %q\nwant %q", read(), want)
		}
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	for what, n := range got {
		if n != 1 {
			t.Errorf("%s came %d times", what, n)
		}
	}
	for _, what := range w.unsigned {
		t.Error(what)
	}
}

// waiting is what the store of v0.1.0 has not delivered yet.
func waiting() (deliveries []string) {
	for _, url := range []string{"http://plain.example.org/", "http://user:password@anns.example.org/?token=secret", "http://signed.example.org/"} {
		deliveries = append(deliveries, url+" first", url+" "+uuid)
	}
	for i := range 70 {
		deliveries = append(deliveries, fmt.Sprintf("http://many.example.org/%d fanned out", i))
	}
	return append(deliveries, "http://broken.example.org/ retried")
}

// TestWhatWaitsInAnOlderStoreIsDelivered: once to each, signed where it has to
// be, large fan-outs and events to be tried again included; what was delivered
// is not delivered again; and dead letters can be redriven.
func TestWhatWaitsInAnOlderStoreIsDelivered(t *testing.T) {
	onEach(t, func(t *testing.T, s store) {
		w := newWorld(t, s)
		for channel, id := range map[string]string{"done.v1": "delivered", "ordered.v1": "first", "retried.v1": "retried", "many.v1": "fanned out"} {
			_, err := w.PublishAll(t.Context(), toot.Message{Channel: channel, ID: id})
			must(t, err)
		}
		for _, id := range []string{"handled", "taken"} {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(`{"id":"`+id+`","channel":"`+prefix+`taken.v1"}`))
			rec := httptest.NewRecorder()
			w.HandlerService().ServeHTTP(rec, r)
			equal(t, "a callback", rec.Code, http.StatusOK)
		}
		w.run(t)
		want := waiting()
		w.await(t, w.delivered, want...)
		w.await(t, w.handled, " taken", "second taken", "second handled") // which "second" has not had

		letters, err := w.DeadLetters(t.Context(), engine.DeadQuery{})
		must(t, err)
		for _, l := range letters {
			n, err := w.Redrive(t.Context(), l.ID)
			must(t, err)
			equal(t, "redriven", n, 1)
		}
		w.await(t, w.delivered, append(want, "http://dead.example.org/ buried")...)
		w.await(t, w.handled, " taken", "second taken", "second handled", " unbearable")
	})
}

// TestWhatAnOlderStoreKnowsIsThere: subscribers and whose they are, users and
// their rights, dead letters and their tries, what is remembered and for how
// long.
func TestWhatAnOlderStoreKnowsIsThere(t *testing.T) {
	onEach(t, func(t *testing.T, s store) {
		w := newWorld(t, s)
		list := func(u toot.User) map[string][]string {
			r := httptest.NewRequestWithContext(toot.WithUser(t.Context(), u), http.MethodGet, "/", nil)
			rec := httptest.NewRecorder()
			w.SubscriptionsService().ServeHTTP(rec, r)
			var answer struct{ Subscriptions map[string][]string }
			must(t, json.Unmarshal(rec.Body.Bytes(), &answer))
			for _, urls := range answer.Subscriptions {
				slices.Sort(urls)
			}
			return answer.Subscriptions
		}
		all := list(toot.User{Name: "boss", Operator: true})
		equal(t, "channels", slices.Sorted(maps.Keys(all)), []string{prefix + "buried.v1", prefix + "done.v1", prefix + "many.v1", prefix + "ordered.v1", prefix + "retried.v1"})
		equal(t, "subscribers", all[prefix+"ordered.v1"], []string{"http://plain.example.org/", "http://signed.example.org/", "http://user:password@anns.example.org/?token=secret"})
		equal(t, "many subscribers", len(all[prefix+"many.v1"]), 70)
		if anns := list(toot.User{Name: "ann"})[prefix+"ordered.v1"]; !slices.Contains(anns, "http://user:password@anns.example.org/?token=secret") {
			t.Errorf("ann is shown %q", anns)
		}

		credentials, err := auth.NewCredentials(s, &auth.Options{ChannelPrefix: prefix})
		must(t, err)
		users, err := credentials.List(t.Context())
		must(t, err)
		slices.Sort(users)
		equal(t, "users", users, []string{"ann", "boss", "ruby"})
		for name, password := range map[string]string{"ann": "correct horse", "boss": "battery staple", "ruby": "from the original"} {
			ok, err := credentials.Verify(t.Context(), name, password)
			must(t, err)
			equal(t, name+"'s password is right", ok, true)
		}
		rights, err := credentials.Rights(t.Context(), "ann")
		must(t, err)
		equal(t, "ann's rights", rights, auth.Rights{Prefixes: []string{prefix}})
		rights, err = credentials.Rights(t.Context(), "boss")
		must(t, err)
		equal(t, "the boss's rights", rights, auth.Rights{Operator: true})

		letters, err := w.DeadLetters(t.Context(), engine.DeadQuery{})
		must(t, err)
		dead := map[string]string{}
		for _, l := range letters {
			reason, _, _ := strings.Cut(l.Reason, " (after")
			dead[l.EventID] = fmt.Sprintf("%s %s: %s; %d tries", l.Kind, l.Lane, reason, len(l.Tries))
		}
		equal(t, "dead letters", dead, map[string]string{
			"buried":     "deliver http://dead.example.org/: answered with status 500; 1 tries",
			"unbearable": "handle " + prefix + "taken.v1: no such order; 1 tries",
		})

		retention, err := s.Retention(t.Context())
		must(t, err)
		equal(t, "retention", retention, engine.Retention{Dedupe: 50 * 365 * 24 * time.Hour, DeadAge: 50 * 365 * 24 * time.Hour, DeadMax: 1234})
		value, err := s.Remember(t.Context(), "key", []byte("another"), time.Hour)
		must(t, err)
		equal(t, "what was remembered", string(value), "value")
		stats, err := w.Stats(t.Context())
		must(t, err)
		equal(t, "waiting, to be tried again, dead", []int{stats.Waiting, stats.Retrying, stats.Dead}, []int{10, 1, 2})
	})
}
