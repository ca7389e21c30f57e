package main_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
)

// nothingWaits waits until a store has neither waiting jobs nor dead letters.
func nothingWaits(t *testing.T, store string) {
	t.Helper()
	eventually(t, "nothing waits", func() bool {
		return strings.HasPrefix(command(t, "stats", "--store", store).stdout, "Nothing waits, and nothing is dead")
	})
}

// TestUnsubscribeDiscards what waits, and without --discard it stays.
func TestUnsubscribeDiscards(t *testing.T) {
	t.Parallel()
	store := "sqlite:" + t.TempDir() + "/toot.db"
	s := serve(t, "--store", store)
	url := "http://127.0.0.1:1/callbacks"
	on := []string{"--channel", "a", "--publisher", s.url}
	wantCode(t, command(t, append([]string{"subscribe", url}, on...)...), 0)
	wantCode(t, command(t, "publish", "a", "--publisher", s.url), 0)
	r := command(t, append([]string{"unsubscribe", url}, on...)...)
	wantCode(t, r, 0)
	if r.stdout != "a unsubscribed\n" {
		t.Errorf("it prints %q", r.stdout)
	}
	wantContains(t, command(t, "stats", "--store", store).stdout, "deliver")
	r = command(t, append([]string{"unsubscribe", url, "--discard"}, on...)...)
	wantCode(t, r, 0)
	if r.stdout != "a was not subscribed; what waits for it is discarded\n" {
		t.Errorf("it prints %q", r.stdout)
	}
	nothingWaits(t, store)
	s.stop()
}

// TestUnsubscribeFromOthers: a publisher that does not know how to discard, such as
// the Ruby gem, is not taken to have done so.
func TestUnsubscribeFromOthers(t *testing.T) {
	t.Parallel()
	ruby := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }))
	defer ruby.Close()
	r := command(t, "unsubscribe", "http://127.0.0.1:1/", "--discard", "--channel", "a", "--publisher", ruby.URL)
	wantCode(t, r, 0)
	wantContains(t, r.stdout, "a unsubscribed; but this publisher can't discard what waits")
}

// TestListenLeavesNothingBehind: what it did not accept is not sent to where nobody
// listens any more.
func TestListenLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	store := "sqlite:" + t.TempDir() + "/toot.db"
	s := serve(t, "--store", store)
	l := start(t, "", "listen", "--channel", "a", "--publisher", s.url, "--exec", "exit 1")
	l.await("listening to a")
	wantCode(t, command(t, "publish", "a", "--publisher", s.url), 0)
	l.await("its publisher will send it again")
	l.signal(os.Interrupt)
	r := l.wait()
	wantCode(t, r, 0)
	wantContains(t, r.stderr, "\nunsubscribed from a\n")
	wantContains(t, command(t, "subscriptions", "--publisher", s.url).stdout, "Nobody is subscribed")
	nothingWaits(t, store)
	s.stop()
}

// TestPublishSaysThatAKeyIsKnown, and that it publishes once.
func TestPublishSaysThatAKeyIsKnown(t *testing.T) {
	t.Parallel()
	s := serve(t)
	publish := func(args ...string) string {
		r := command(t, append([]string{"publish", "a", "--key", "7", "--publisher", s.url}, args...)...)
		wantCode(t, r, 0)
		return r.stdout
	}
	first, again := publish(), publish()
	id := strings.Fields(first)[1]
	if !strings.HasPrefix(first, "published "+id+" on a") || !strings.HasPrefix(again, "known "+id+" on a: the key was used before") {
		t.Errorf("first %q, then %q", first, again)
	}
	wantContains(t, publish("--json"), `"known":true`)
	s.stop()
}
