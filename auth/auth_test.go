// A fuzz test is built with all that its package's tests import, anew and
// instrumented, which takes a minute for SQLite: scripts/fuzz leaves this file out.

//go:build !fuzz

package auth_test

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/auth"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const prefix = "org.example.publisher."

// engines are the two, each with a way to write a credential as the Ruby
// original does.
func engines(t *testing.T, run func(t *testing.T, open func(t *testing.T) engine.Engine)) {
	t.Run("SQLite", func(t *testing.T) {
		run(t, func(t *testing.T) engine.Engine {
			eng, err := sqliteengine.Open(filepath.Join(t.TempDir(), "toot.db"), nil)
			must(t, err)
			return eng
		})
	})
	t.Run("Redis", func(t *testing.T) {
		run(t, func(t *testing.T) engine.Engine {
			s := redistest.Start(t)
			sum := sha256.Sum256([]byte("ruby's password"))
			s.Do("HSET", prefix+"toot.auth.credentials_store", "ruby", string(sum[:]))
			eng, err := redisengine.Open(t.Context(), s.URL(), &redisengine.Options{Logger: quiet})
			must(t, err)
			return eng
		})
	})
}

var quiet = slog.New(slog.DiscardHandler)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// app is one whose services are behind Basic auth.
type app struct {
	*toot.App
	url         string
	credentials *auth.Credentials
	engine      engine.Engine
}

func newApp(t *testing.T, eng engine.Engine, opts toot.Options, callback *url.Userinfo) *app {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	opts.Logger = quiet
	opts.RetryDelay = func(int) time.Duration { return 10 * time.Millisecond }
	u, err := url.Parse(server.URL + "/callbacks")
	must(t, err)
	u.User = callback
	opts.CallbackURL = u.String()
	a := &app{url: server.URL, engine: eng}
	a.App, err = toot.New(eng, &opts)
	must(t, err)
	a.credentials, err = auth.NewCredentials(eng, &auth.Options{ChannelPrefix: prefix})
	must(t, err)
	mux.Handle("/subscriptions", a.credentials.BasicAuth(a.SubscriptionsService()))
	mux.Handle("/callbacks", a.credentials.BasicAuth(a.HandlerService()))
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
		server.Close()
		must(t, a.Close())
		must(t, eng.Close())
	})
	return a
}

func (a *app) listen(t *testing.T, subscriptionURL, channel string) chan *toot.Event {
	t.Helper()
	events := make(chan *toot.Event, 10)
	must(t, a.AddSource("publisher", toot.Source{SubscriptionURL: subscriptionURL, ChannelPrefix: prefix}))
	must(t, a.Subscribe("publisher", channel, toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
		events <- e
		return nil
	})))
	return events
}

func receive(t *testing.T, events chan *toot.Event) *toot.Event {
	t.Helper()
	select {
	case e := <-events:
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("waited 30 s for an event in vain")
		return nil
	}
}

func withUser(raw, username, password string) string {
	u, _ := url.Parse(raw)
	u.User = url.UserPassword(username, password)
	return u.String()
}

// The promise of the package: two apps, each behind Basic auth, exchange
// events, with credentials of every kind.
func TestAppsBehindAuthExchangeEvents(t *testing.T) {
	engines(t, func(t *testing.T, open func(*testing.T) engine.Engine) {
		ctx := t.Context()
		publisherStore, subscriberStore := open(t), open(t)
		// What the publisher sends by default is let in by the subscriber.
		inbound, err := auth.NewCredentials(subscriberStore, &auth.Options{ChannelPrefix: prefix})
		must(t, err)
		name, password, err := inbound.Generate(ctx, "publisher")
		must(t, err)
		must(t, inbound.Add(ctx, "the publisher", "a päss:word"))
		publisher := newApp(t, publisherStore, toot.Options{
			ChannelPrefix: prefix,
			Client:        &http.Client{Transport: auth.BasicTransport(name, password, nil)},
		}, nil)
		// The publisher knows a user whose password was chosen, and one in the
		// original's form.
		must(t, publisher.credentials.Add(ctx, "subscriber", "s3cret"))
		sum := sha256.Sum256([]byte("ruby's password"))
		if _, ok := publisherStore.(*redisengine.Engine); !ok { // there it was written byte for byte
			must(t, publisherStore.(engine.Credentials).PutCredential(ctx, prefix+"toot.auth.credentials_store", "ruby", sum[:]))
		}

		for _, tc := range []struct {
			name               string
			username, password string
			callback           *url.Userinfo
		}{
			{"a password that was chosen", "subscriber", "s3cret", nil},
			{"a password in the original's form", "ruby", "ruby's password", nil},
			{"another for this callback", "subscriber", "s3cret", url.UserPassword("the publisher", "a päss:word")},
		} {
			t.Run(tc.name, func(t *testing.T) {
				eng := &shared{Engine: subscriberStore}
				subscriber := newApp(t, eng, toot.Options{}, tc.callback)
				events := subscriber.listen(t, withUser(publisher.url+"/subscriptions", tc.username, tc.password), strings.ReplaceAll(tc.name, " ", "."))
				must(t, subscriber.RegisterSubscriptions(ctx))
				sent, err := publisher.Publish(ctx, strings.ReplaceAll(tc.name, " ", "."), map[string]int{"id": 1})
				must(t, err)
				if e := receive(t, events); e.ID != sent.ID {
					t.Errorf("sent %s, got %s", sent.ID, e.ID)
				}
			})
		}
		must(t, subscriberStore.Close())
	})
}

// shared is an engine that somebody else closes.
type shared struct{ engine.Engine }

func (*shared) Close() error { return nil }

func (s *shared) Credential(ctx context.Context, realm, username string) ([]byte, error) {
	return s.Engine.(engine.Credentials).Credential(ctx, realm, username)
}

func (s *shared) Usernames(ctx context.Context, realm string) ([]string, error) {
	return s.Engine.(engine.Credentials).Usernames(ctx, realm)
}

func (s *shared) PutCredential(ctx context.Context, realm, username string, proof []byte) error {
	return s.Engine.(engine.Credentials).PutCredential(ctx, realm, username, proof)
}

func (s *shared) RemoveCredential(ctx context.Context, realm, username string) (bool, error) {
	return s.Engine.(engine.Credentials).RemoveCredential(ctx, realm, username)
}

func TestWrongCredentialsAreRefused(t *testing.T) {
	engines(t, func(t *testing.T, open func(*testing.T) engine.Engine) {
		ctx := t.Context()
		publisher := newApp(t, open(t), toot.Options{ChannelPrefix: prefix}, nil)
		must(t, publisher.credentials.Add(ctx, "chosen", "s3cret"))
		name, password, err := publisher.credentials.Generate(ctx, "generated")
		must(t, err)
		// Somebody else may have written what we never would.
		sum := sha256.Sum256(nil)
		keeper := publisher.engine.(engine.Credentials)
		must(t, keeper.PutCredential(ctx, prefix+"toot.auth.credentials_store", "no password", sum[:]))
		must(t, keeper.PutCredential(ctx, prefix+"toot.auth.credentials_store", "rubbish", []byte("rubbish")))

		request := func(username, password string, set bool) *http.Response {
			t.Helper()
			req, err := http.NewRequestWithContext(ctx, http.MethodGet, publisher.url+"/subscriptions", nil)
			must(t, err)
			if set {
				req.SetBasicAuth(username, password)
			}
			res, err := http.DefaultClient.Do(req)
			must(t, err)
			must(t, res.Body.Close())
			return res
		}
		for range 2 { // the second time from the cache
			for _, ok := range [][2]string{{"chosen", "s3cret"}, {name, password}} {
				if res := request(ok[0], ok[1], true); res.StatusCode != 200 {
					t.Errorf("%s with the right password: %d", ok[0], res.StatusCode)
				}
			}
			for _, tc := range []struct {
				what, username, password string
				set                      bool
				status                   int
			}{
				{"nothing", "", "", false, 401},
				{"empty", "", "", true, 401},
				{"no password", "no password", "", true, 401},
				{"no name", "", "s3cret", true, 401},
				{"a wrong password", "chosen", "secret", true, 401},
				{"a password and more", "chosen", "s3cret ", true, 401},
				{"somebody else's password", "chosen", password, true, 401},
				{"a wrong password for a generated name", name, password[1:], true, 401},
				{"nobody", "nobody", "s3cret", true, 401},
				{"another case", "Chosen", "s3cret", true, 401},
				{"what is stored", name, string(sum[:]), true, 401},
				{"too long", "chosen", strings.Repeat("x", 5000), true, 401},
				{"what can't be read", "rubbish", "rubbish", true, 503},
			} {
				res := request(tc.username, tc.password, tc.set)
				if res.StatusCode != tc.status {
					t.Errorf("%s: %d, want %d", tc.what, res.StatusCode, tc.status)
				}
				if tc.status == 401 && res.Header.Get("WWW-Authenticate") != `Basic realm="Toot Auth"` {
					t.Errorf("%s: WWW-Authenticate is %q", tc.what, res.Header.Get("WWW-Authenticate"))
				}
			}
		}
		// An app that tries to register with them hears of it.
		subscriber := newApp(t, memengine.NewStore().Open(engine.Retention{}), toot.Options{}, nil)
		subscriber.listen(t, withUser(publisher.url+"/subscriptions", "chosen", "wrong"), "a")
		err = subscriber.RegisterSubscriptions(ctx)
		var status *toot.StatusError
		if !errors.As(err, &status) || status.StatusCode != 401 || strings.Contains(err.Error(), "wrong") {
			t.Errorf("RegisterSubscriptions: %v", err)
		}
		// And an endpoint that wants others gets no event: it stays queued.
		subscriber = newApp(t, memengine.NewStore().Open(engine.Retention{}), toot.Options{}, url.UserPassword("chosen", "wrong"))
		subscriber.listen(t, withUser(publisher.url+"/subscriptions", "chosen", "s3cret"), "b")
		must(t, subscriber.RegisterSubscriptions(ctx))
		_, err = publisher.Publish(ctx, "b", nil)
		must(t, err)
		refused := func() bool {
			lanes, err := publisher.engine.(engine.Inspector).Lanes(ctx)
			must(t, err)
			for _, l := range lanes {
				if l.Retrying > 0 {
					return true
				}
			}
			return false
		}
		for deadline := time.Now().Add(30 * time.Second); !refused(); time.Sleep(5 * time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatal("the delivery was not refused")
			}
		}
	})
}

// counting is an engine that counts the looks at credentials.
type counting struct {
	*memengine.Engine
	looks atomic.Int64
	fails atomic.Bool
}

func (c *counting) Credential(ctx context.Context, realm, username string) ([]byte, error) {
	c.looks.Add(1)
	if c.fails.Load() {
		return nil, errors.New("out of reach")
	}
	return c.Engine.Credential(ctx, realm, username)
}

func TestARemovedUserIsOutWithinSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memengine.NewStore()
		here, there := &counting{Engine: store.Open(engine.Retention{})}, &counting{Engine: store.Open(engine.Retention{})}
		a, err := auth.NewCredentials(here, nil)
		must(t, err)
		b, err := auth.NewCredentials(there, nil)
		must(t, err)
		verify := func(c *auth.Credentials, want bool) {
			t.Helper()
			if ok, err := c.Verify(t.Context(), "user", "password"); ok != want || err != nil {
				t.Fatalf("Verify = %v, %v, want %v", ok, err, want)
			}
		}
		verify(a, false)
		must(t, a.Add(t.Context(), "user", "password"))
		for range 1000 {
			verify(a, true)
			verify(b, true)
		}
		if n := there.looks.Load(); n != 1 {
			t.Errorf("1,000 requests took %d looks at the store, want 1", n)
		}
		// An unchanged user stays verified, by looks at the store alone.
		time.Sleep(4 * time.Second)
		verify(b, true)
		if n := there.looks.Load(); n != 2 {
			t.Errorf("%d looks, want 2", n)
		}
		// A changed password counts at once here and within seconds there.
		must(t, a.Add(t.Context(), "user", "another"))
		verify(a, false)
		time.Sleep(3 * time.Second)
		verify(b, false)
		must(t, a.Add(t.Context(), "user", "password"))
		verify(b, true)
		if removed, err := a.Remove(t.Context(), "user"); !removed || err != nil {
			t.Fatalf("Remove = %v, %v", removed, err)
		}
		verify(a, false)
		time.Sleep(3 * time.Second)
		verify(b, false)
		// What can't be checked does not pass.
		must(t, a.Add(t.Context(), "user", "password"))
		verify(b, true)
		there.fails.Store(true)
		time.Sleep(3 * time.Second)
		if ok, err := b.Verify(t.Context(), "user", "password"); ok || err == nil {
			t.Errorf("with the store out of reach Verify = %v, %v", ok, err)
		}
		if removed, err := a.Remove(t.Context(), "nobody"); removed || err != nil {
			t.Errorf("Remove of nobody = %v, %v", removed, err)
		}
	})
}

func TestCredentialsAreManaged(t *testing.T) {
	engines(t, func(t *testing.T, open func(*testing.T) engine.Engine) {
		eng := open(t)
		defer func() { must(t, eng.Close()) }()
		c, err := auth.NewCredentials(eng, &auth.Options{Key: "another key", Original: true})
		must(t, err)
		for _, bad := range [][2]string{{"", "x"}, {"x", ""}, {"a:b", "x"}, {"a\nb", "x"}, {"a", "x\x00"}, {strings.Repeat("x", 300), "x"}, {"x", strings.Repeat("x", 2000)}} {
			if err := c.Add(t.Context(), bad[0], bad[1]); !errors.Is(err, auth.ErrInvalid) {
				t.Errorf("Add(%.10q, %.10q): %v", bad[0], bad[1], err)
			}
		}
		if _, _, err := c.Generate(t.Context(), ""); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("Generate without a name: %v", err)
		}
		must(t, c.Add(t.Context(), "zoe", "password"))
		name, password, err := c.Generate(t.Context(), "app")
		must(t, err)
		if len(name) != 3+32 || !strings.HasPrefix(name, "app") || len(password) != 32 || strings.Trim(name[3:]+password, "0123456789abcdef") != "" {
			t.Errorf("generated %q, %q", name, password)
		}
		// As the original would read them.
		for username, want := range map[string]string{"zoe": "password", name: password} {
			proof, err := eng.(engine.Credentials).Credential(t.Context(), "another key", username)
			must(t, err)
			if sum := sha256.Sum256([]byte(want)); string(proof) != string(sum[:]) {
				t.Errorf("%s is kept as %q", username, proof)
			}
		}
		if names, err := c.List(t.Context()); err != nil || fmt.Sprint(names) != fmt.Sprintf("[%s zoe]", name) {
			t.Errorf("List = %q, %v", names, err)
		}
	})
}

func TestBasicTransportLeavesRequestsAlone(t *testing.T) {
	var got atomic.Value
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		username, password, _ := r.BasicAuth()
		got.Store(username + " " + password)
	}))
	defer server.Close()
	transport := http.DefaultTransport.(*http.Transport).Clone()
	client := &http.Client{Transport: auth.BasicTransport("user", "password", transport)}
	defer client.CloseIdleConnections()
	for target, want := range map[string]string{
		server.URL: "user password",
		withUser(server.URL, "other", "p@ss/word"): "other p@ss/word",
	} {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, target, nil)
		must(t, err)
		res, err := client.Do(req)
		must(t, err)
		must(t, res.Body.Close())
		if got.Load() != want {
			t.Errorf("sent %q, want %q", got.Load(), want)
		}
		if req.Header.Get("Authorization") != "" && target == server.URL {
			t.Error("the caller's request was changed")
		}
	}
}
