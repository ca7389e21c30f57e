package main_test

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// graveyard is a store with dead letters: three deliveries to an endpoint
// whose URL has credentials, and one run of a handler.
type graveyard struct {
	store    string // its name
	endpoint *httptest.Server
	works    atomic.Bool // the endpoint does
	got      atomic.Int64
}

func newGraveyard(t *testing.T, name string) *graveyard {
	t.Helper()
	g := &graveyard{store: name}
	g.endpoint = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if !g.works.Load() {
			w.WriteHeader(http.StatusTeapot)
			return
		}
		g.got.Add(1)
	}))
	t.Cleanup(g.endpoint.Close)
	g.run(t, func(app *toot.App) {
		callback := strings.Replace(g.endpoint.URL, "://", "://user:secret@", 1) + "/callbacks?token=alsosecret"
		body := `{"callback_url":"` + callback + `","channel":"shop.orders"}`
		w := httptest.NewRecorder()
		app.SubscriptionsService().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(body)))
		if w.Code != http.StatusCreated {
			t.Fatalf("subscribing was answered with %d", w.Code)
		}
		for n := range 3 {
			if _, err := app.Publish(t.Context(), "orders", map[string]any{"order": n, "big": json.Number("12345678901234567890")}); err != nil {
				t.Fatal(err)
			}
		}
		event := `{"id":"e1","timestamp":"2026-11-23 09:11:13 UTC","payload":{"evil":"\u009b31m"},"channel":"other.users"}`
		w = httptest.NewRecorder()
		app.HandlerService().ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(event)))
		if w.Code != http.StatusOK {
			t.Fatalf("the event was answered with %d", w.Code)
		}
		eventually(t, "four jobs are dead", func() bool {
			stats, err := app.Stats(t.Context())
			return err == nil && stats.Dead == 4
		})
	})
	return g
}

// run runs an app on the store.
func (g *graveyard) run(t *testing.T, fn func(*toot.App)) {
	t.Helper()
	s, err := anyengine.Open(t.Context(), g.store, nil)
	if err != nil {
		t.Fatal(err)
	}
	app, err := toot.New(s, &toot.Options{ChannelPrefix: "shop.", MaxRetries: -1})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.AddSource("other", toot.Source{SubscriptionURL: "http://127.0.0.1/", ChannelPrefix: "other."}); err != nil {
		t.Fatal(err)
	}
	err = app.Subscribe("other", "users", toot.HandlerFunc(func(context.Context, *toot.Event) error {
		panic("no such user \x1b[31m")
	}))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- app.Run(ctx) }()
	fn(app)
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := app.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestDeadOnSQLite(t *testing.T) {
	t.Parallel()
	testDead(t, "sqlite:"+filepath.Join(t.TempDir(), "toot.db"))
}

func TestDeadOnRedis(t *testing.T) {
	t.Parallel()
	testDead(t, redistest.Start(t).URL()+"?namespace=graves")
}

func testDead(t *testing.T, name string) {
	g := newGraveyard(t, name)
	list := func(args ...string) []map[string]any {
		t.Helper()
		r := command(t, append([]string{"dead", "list", "--json", "--store", g.store}, args...)...)
		wantCode(t, r, 0)
		return objects(t, r.stdout)
	}

	t.Run("list", func(t *testing.T) {
		r := command(t, "dead", "list", "--store", g.store)
		wantCode(t, r, 0)
		wantContains(t, r.stdout, "shop.orders", "other.users", "deliver", "handle", "  status 418\n", "no such user", "redacted@")
		if lines := strings.Count(r.stdout, "\n"); lines != 5 {
			t.Errorf("%d lines, want a title and four:\n%s", lines, r.stdout)
		}
		harmless(t, r.stdout)
	})
	t.Run("filters", func(t *testing.T) {
		all := list()
		if len(all) != 4 {
			t.Fatalf("%d dead letters, want 4", len(all))
		}
		lane, _ := all[0]["lane"].(string)
		for _, letter := range all {
			if letter["kind"] == "deliver" {
				lane, _ = letter["lane"].(string)
			}
		}
		for _, f := range []struct {
			args []string
			want int
		}{
			{[]string{"--channel", "shop.orders"}, 3},
			{[]string{"--channel", "shop"}, 0},
			{[]string{"--kind", "handle"}, 1},
			{[]string{"--kind", "deliver"}, 3},
			{[]string{"--lane", "other.users"}, 1},
			{[]string{"--url", lane}, 3},
			{[]string{"--reason", "STATUS 418"}, 3},
			{[]string{"--since", "1h"}, 4},
			{[]string{"--since", "2099-01-01"}, 0},
			{[]string{"--until", "2d"}, 0},
			{[]string{"--until", "2099-01-01T00:00:00Z"}, 4},
			{[]string{"--limit", "2"}, 2},
			{[]string{"--limit", "0"}, 4},
			{[]string{"--channel", "shop.orders", "--limit", "2"}, 2},
		} {
			if got := len(list(f.args...)); got != f.want {
				t.Errorf("%s: %d dead letters, want %d", strings.Join(f.args, " "), got, f.want)
			}
		}
	})
	t.Run("show", func(t *testing.T) {
		handle := list("--kind", "handle")[0]
		id, _ := handle["id"].(string)
		r := command(t, "dead", "show", "--store", g.store, id)
		wantCode(t, r, 0)
		wantContains(t, r.stdout, "other.users", "e1", "panic: no such user", "tries      1\n", "\nThe tries\n", "\n    \"payload\": {\n", `"\u009b31m"`)
		harmless(t, r.stdout)

		deliver := list("--kind", "deliver", "--limit", "1")[0]
		id, _ = deliver["id"].(string)
		r = command(t, "dead", "show", "--store", g.store, id)
		wantContains(t, r.stdout, "12345678901234567890", "answered with status 418 (after 1 try)")
		harmless(t, r.stdout)
		shown := objects(t, command(t, "dead", "show", "--json", "--store", g.store, id).stdout)
		if len(shown) != 1 || shown[0]["event"].(map[string]any)["channel"] != "shop.orders" || len(shown[0]["tries"].([]any)) != 1 {
			t.Errorf("show --json prints %v", shown)
		}
		r = command(t, "dead", "show", "--store", g.store, "987654")
		wantCode(t, r, 1)
		wantContains(t, r.stderr, "987654")
	})
	t.Run("stats", func(t *testing.T) {
		r := command(t, "stats", "--store", g.store)
		wantCode(t, r, 0)
		wantContains(t, r.stdout, "redacted@", "other.users", "2 lanes")
		harmless(t, r.stdout)
		stats := objects(t, command(t, "stats", "--json", "--store", g.store).stdout)
		if len(stats) != 1 || stats[0]["dead"] != float64(4) || len(stats[0]["lanes"].([]any)) != 2 {
			t.Errorf("stats --json prints %v", stats)
		}
		p := start(t, "", "stats", "--watch", "--json", "--interval", "100ms", "--store", g.store)
		eventually(t, "three looks", func() bool { return strings.Count(p.stdout.String(), "\n") >= 3 })
		p.signal(os.Interrupt)
		wantCode(t, p.wait(), 0)
	})
	t.Run("nothing by accident", func(t *testing.T) {
		for _, args := range [][]string{
			{"redrive"}, {"discard"}, {"discard", "--all"}, {"redrive", "--all", "1"}, {"discard", "1", "--channel", "shop.orders"},
			{"discard", "--all", "--yes", "--since", "yesterday"}, {"discard", "--all", "--yes", "--kind", "x"}, {"list", "--limit", "-1"}, {"show"}, {"bury"},
		} {
			wantCode(t, command(t, append(append([]string{"dead"}, args...), "--store", g.store)...), 2)
		}
		if n := len(list()); n != 4 {
			t.Errorf("%d dead letters are left, want 4", n)
		}
	})
	t.Run("redrive", func(t *testing.T) {
		id, _ := list("--kind", "deliver")[0]["id"].(string)
		r := command(t, "dead", "redrive", "--store", g.store, id, "987654")
		wantCode(t, r, 1)
		wantContains(t, r.stdout, "1 dead letter redriven")
		wantContains(t, r.stderr, "987654")
		r = command(t, "dead", "redrive", "--store", g.store, "--all", "--yes", "--channel", "shop.orders")
		wantCode(t, r, 0)
		wantContains(t, r.stdout, "2 dead letters redriven")
		g.works.Store(true)
		g.run(t, func(*toot.App) {
			eventually(t, "they are delivered", func() bool { return g.got.Load() == 3 })
		})
	})
	t.Run("discard", func(t *testing.T) {
		id, _ := list()[0]["id"].(string)
		wantContains(t, command(t, "dead", "discard", "--store", g.store, id, "--json").stdout, `{"discarded":1,"left":0}`)
		wantContains(t, command(t, "dead", "discard", "--store", g.store, "--all", "--yes").stdout, "No dead letter matches")
		wantContains(t, command(t, "dead", "list", "--store", g.store).stdout, "No dead letters")
	})
}

func TestStoreThatIsNotThere(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	named := startIn(t, dir, exec.Command("sh", "-c", "TOOT_STORE=sqlite:toot.db exec toot stats")).wait()
	wantContains(t, named.stderr, "there is no store at toot.db", "TOOT_STORE names it")
	for _, args := range [][]string{{"dead", "list"}, {"dead", "redrive", "1"}, {"stats"}} {
		r := command(t, append(args, "--store", "sqlite:"+filepath.Join(dir, "toot.db"))...)
		wantCode(t, r, 1)
		wantContains(t, r.stderr, "there is no store at")
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("looking made %v", left)
	}
	for _, name := range []string{"", "mysql://x", "toot", "redis://h?namespace=%zz", "redis://:secret@h/notanumber"} {
		r := command(t, "stats", "--store", name)
		if r.code == 0 || strings.Contains(r.stderr, "secret") || strings.Count(r.stderr, "\n") != 1 {
			t.Errorf("--store %q: exit code %d, %q", name, r.code, r.stderr)
		}
	}
}

// harmless fails if a text could do something to a terminal, or tells secrets.
func harmless(t *testing.T, text string) {
	t.Helper()
	if strings.ContainsAny(text, "\x1b\u009b") {
		t.Errorf("control characters come through:\n%q", text)
	}
	if strings.Contains(text, "secret") {
		t.Errorf("credentials are shown:\n%s", text)
	}
}

// objects reads JSON lines.
func objects(t *testing.T, text string) []map[string]any {
	t.Helper()
	var out []map[string]any
	for dec := json.NewDecoder(strings.NewReader(text)); dec.More(); {
		var o map[string]any
		if err := dec.Decode(&o); err != nil {
			t.Fatalf("%v in:\n%s", err, text)
		}
		out = append(out, o)
	}
	return out
}
