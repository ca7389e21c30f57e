package main_test

import (
	"encoding/json"
	"path/filepath"
	"testing"
	"time"
)

// toot publish says who gets an event, and may have it sent later.
func TestPublishSaysToWhomAndWhen(t *testing.T) {
	t.Parallel()
	store := "sqlite:" + filepath.Join(t.TempDir(), "toot.db")
	s := serve(t, "--store", store)
	publish := func(args ...string) string {
		t.Helper()
		r := command(t, append([]string{"publish", "users", "--publisher", s.url}, args...)...)
		wantCode(t, r, 0)
		return r.stdout
	}
	wantContains(t, publish(), "published ", " on users, nobody is subscribed\n")
	wantContains(t, publish("--after", "1h"), "scheduled ", " on users, nobody is subscribed yet\n")
	e := newEndpoint(t)
	wantCode(t, command(t, "subscribe", e.URL, "--channel", "users", "--publisher", s.url), 0)
	wantContains(t, publish(), " on users, 1 subscriber\n")
	eventually(t, "the event arrives", func() bool { return e.count() == 1 })

	began := time.Now()
	var soon struct {
		ID          string
		Subscribers int
	}
	if err := json.Unmarshal([]byte(publish("--after", "2s", "--json")), &soon); err != nil || soon.Subscribers != 1 {
		t.Fatalf("%+v, %v", soon, err)
	}
	wantContains(t, publish("--after", time.Now().Add(48*time.Hour).Format(time.RFC3339)), "scheduled ", ", 1 subscriber\n")
	eventually(t, "it arrives", func() bool { return len(e.missing([]string{soon.ID})) == 0 })
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it arrived after %v, want 2s or more", took)
	}
	if n := e.count(); n != 2 {
		t.Errorf("%d events arrived, want those that were due, 2", n)
	}

	r := command(t, "publish", "users", "--after", "tomorrow", "--publisher", s.url)
	wantCode(t, r, 2)
	wantContains(t, r.stderr, `can't read --after "tomorrow"`, "10m")
	var stats struct {
		Waiting, Scheduled int
		Oldest             float64 `json:"oldest_seconds"`
	}
	r = command(t, "stats", "--json", "--store", store)
	if err := json.Unmarshal([]byte(r.stdout), &stats); err != nil || stats.Waiting != 0 || stats.Scheduled != 2 || stats.Oldest != 0 {
		t.Errorf("%+v, %v: %s", stats, err, r.stdout)
	}
	wantContains(t, command(t, "stats", "--store", store).stdout, "users (scheduled)", "2 later")
	s.stop()
}
