package main_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// takeIn has a process that does not run take events in for a subscription of
// its own, and end.
func takeIn(t *testing.T, store, channel string, retireAfter time.Duration, events int) {
	t.Helper()
	s, err := anyengine.Open(t.Context(), store, nil)
	if err != nil {
		t.Fatal(err)
	}
	app, err := toot.New(s, &toot.Options{RetireSubscriptionsAfter: retireAfter})
	if err != nil {
		t.Fatal(err)
	}
	if err := app.AddSource("shop", toot.Source{SubscriptionURL: "http://127.0.0.1/"}); err != nil {
		t.Fatal(err)
	}
	if err := app.Subscribe("shop", channel, toot.HandlerFunc(func(context.Context, *toot.Event) error { return nil })); err != nil {
		t.Fatal(err)
	}
	service := app.HandlerService()
	for i := range events {
		w := httptest.NewRecorder()
		service.ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/", strings.NewReader(fmt.Sprintf(`{"id":"%s-%d","channel":%q}`, channel, i, channel))))
		if w.Code != http.StatusOK {
			t.Fatalf("the event was answered with %d", w.Code)
		}
	}
	if err := app.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestUnhandledOnSQLite(t *testing.T) {
	t.Parallel()
	testUnhandled(t, "sqlite:"+t.TempDir()+"/toot.db")
}

func TestUnhandledOnRedis(t *testing.T) {
	t.Parallel()
	testUnhandled(t, redistest.Start(t).URL())
}

func testUnhandled(t *testing.T, store string) {
	run := func(args ...string) result {
		t.Helper()
		return command(t, append(args, "--store", store)...)
	}
	const soon = 400 * time.Millisecond
	takeIn(t, store, "kept", 24*time.Hour, 1)
	wantContains(t, run("unhandled", "list").stdout, "Nothing waits unhandled")
	takeIn(t, store, "gone", soon, 5)
	takeIn(t, store, "away", soon, 2)
	eventually(t, "two subscriptions are unhandled", func() bool {
		return len(objects(t, run("unhandled", "list", "--json").stdout)) == 2
	})
	wantContains(t, run("unhandled", "list").stdout, "gone", "away", "5", "2")
	r := run("stats")
	wantContains(t, r.stdout, "gone (unhandled)", "away (unhandled)")
	if strings.Contains(r.stdout, "kept (unhandled)") {
		t.Errorf("what a process has is shown as unhandled:\n%s", r.stdout)
	}
	if n := strings.Count(run("stats", "--json").stdout, `"unhandled":true`); n != 2 {
		t.Errorf("%d lanes are unhandled, want 2", n)
	}
	for _, refused := range [][]string{
		{"unhandled", "move", "gone", "nobody"}, {"unhandled", "move", "gone", "gone"},
		{"unhandled", "move", "kept", "gone"}, {"unhandled", "discard", "kept", "--yes"},
	} {
		wantCode(t, run(refused...), 1)
	}
	wantCode(t, run("unhandled", "discard", "away"), 2) // nobody is there to be asked
	r = run("unhandled", "move", "gone", "kept")
	wantCode(t, r, 0)
	wantContains(t, r.stdout, "5 events moved")
	r = run("unhandled", "discard", "away", "--yes", "--json")
	wantCode(t, r, 0)
	wantContains(t, r.stdout, `{"discarded":2,"left":0}`)
	wantContains(t, run("unhandled", "list").stdout, "Nothing waits unhandled")
	stats := objects(t, run("stats", "--json").stdout)
	if len(stats) != 1 || stats[0]["waiting"] != float64(6) {
		t.Errorf("%v", stats)
	}
}
