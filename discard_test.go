package toot_test

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
)

// unsubscribeAndDiscard is the request that toot unsubscribe --discard makes.
func unsubscribeAndDiscard(t *testing.T, n *node, channel, callbackURL string) answer {
	t.Helper()
	return n.request(t, "DELETE", "/subscriptions"+removal(callbackURL, channel)[1:]+"&discard=true", "")
}

// TestWhatWaitsIsDiscarded: of one channel, without another request, and nothing of
// what is published after the callback URL has registered again.
func TestWhatWaitsIsDiscarded(t *testing.T) {
	var log lockedBuffer
	n := newNode(t, toot.Options{
		ChannelPrefix: prefix, RetryDelay: func(int) time.Duration { return 300 * time.Millisecond }, ProbeInterval: 50 * time.Millisecond,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, true)
	e := newEndpoint(t, status(503))
	for _, channel := range []string{"a", "b"} {
		n.add(t, prefix+channel, e.URL)
	}
	const many = 20
	for range many {
		for _, channel := range []string{"a", "b"} {
			_, err := n.Publish(t.Context(), channel, nil)
			must(t, err)
		}
	}
	eventually(t, "the endpoint is tried", func() bool { calls, _ := e.count(); return calls > 2 })
	if a := unsubscribeAndDiscard(t, n, prefix+"a", e.URL); a.status != 204 || a.header.Get("X-Toot-Discard") != "True" {
		t.Fatalf("%+v", a)
	}
	if a := n.request(t, "DELETE", "/subscriptions"+removal(e.URL, prefix+"b")[1:], ""); a.status != 204 || a.header.Get("X-Toot-Discard") != "" {
		t.Fatalf("without being asked: %+v", a)
	}
	eventually(t, "half of the events are gone", func() bool {
		lanes := n.lanes(t)
		return len(lanes) == 1 && lanes[0].Waiting+lanes[0].Leased == many
	})
	if letters, err := n.DeadLetters(t.Context(), engine.DeadQuery{}); err != nil || len(letters) != 0 {
		t.Errorf("%d dead letters, %v", len(letters), err)
	}
	if said := strings.Count(log.String(), "toot: discarded"); said != many {
		t.Errorf("that an event was discarded was said %d times, want %d", said, many)
	}

	// What is published from now on is delivered.
	n.add(t, prefix+"a", e.URL)
	sent, err := n.Publish(t.Context(), "a", nil)
	must(t, err)
	e.set(nil)
	e.mu.Lock()
	clear(e.seen) // those that it did not take
	e.mu.Unlock()
	n.settled(t)
	if _, events := e.count(); events != many+1 {
		t.Errorf("%d events arrived, want those of b and the last of a", events)
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.seen[sent.ID] == 0 {
		t.Error("the event published after the registration was discarded, too")
	}
}

// TestDiscardingEndsWithARegistration: what still waits, and what is redriven, is
// delivered once the callback URL is registered again.
func TestDiscardingEndsWithARegistration(t *testing.T) {
	n := newNode(t, toot.Options{ChannelPrefix: prefix, MaxRetries: -1}, true)
	e := newEndpoint(t, status(400))
	n.add(t, prefix+"a", e.URL)
	_, err := n.Publish(t.Context(), "a", nil)
	must(t, err)
	n.settled(t)
	if a := unsubscribeAndDiscard(t, n, prefix+"a", e.URL); a.status != 204 {
		t.Fatalf("%+v", a)
	}
	if a := unsubscribeAndDiscard(t, n, prefix+"a", e.URL); a.status != 404 || a.header.Get("X-Toot-Discard") != "True" {
		t.Fatalf("of what is not subscribed any more: %+v", a)
	}
	e.set(nil)
	if a := n.request(t, "POST", "/subscriptions", `{"callback_url":"`+e.URL+`","channel":"`+prefix+`a"}`); a.status != 201 {
		t.Fatalf("%+v", a)
	}
	redriven, err := n.RedriveAll(context.Background(), engine.DeadQuery{})
	if err != nil || redriven != 1 {
		t.Fatalf("redriven %d, %v", redriven, err)
	}
	n.settled(t)
	if calls, _ := e.count(); calls != 2 {
		t.Errorf("the endpoint was asked %d times, want twice", calls)
	}
}
