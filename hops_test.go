package toot_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
)

// TestHopsGoWithTheEvent: however an event gets to its subscribers, its hops are
// in the store with it, and in a header of each delivery; beside the context of a
// trace, if there is one. An event of no hops has no such header.
func TestHopsGoWithTheEvent(t *testing.T) {
	for name, observer := range map[string]toot.Observer{"plain": nil, "traced": &tracer{}} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			got := map[string]int{}
			peer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				w.Header().Set("X-Toot-Batch", "100") // whoever has hops is to come alone all the same
				mu.Lock()
				defer mu.Unlock()
				got[fmt.Sprintf("%s %q %v", r.Header.Get("Content-Type"), r.Header["X-Toot-Hops"], r.Header.Get("Traceparent") != "")]++
			}))
			defer peer.Close()
			n := newNode(t, toot.Options{Observer: observer}, false)
			const many = 100 // so that a fan-out job is made
			n.add(t, "few", peer.URL)
			for i := range many {
				n.add(t, "many", fmt.Sprintf("%s/%d", peer.URL, i))
			}
			_, err := n.PublishAll(t.Context(), toot.Message{Channel: "few", Hops: 2}, toot.Message{Channel: "few", Hops: 2}, toot.Message{Channel: "many", Hops: 3},
				toot.Message{Channel: "few"}, toot.Message{Channel: "few", Hops: -1})
			must(t, err)
			stop := start(t, n.App) // what finds them there
			n.settled(t)
			stop()
			mu.Lock()
			defer mu.Unlock()
			traced := observer != nil
			if two, three := got[fmt.Sprintf(`application/json ["2"] %v`, traced)], got[fmt.Sprintf(`application/json ["3"] %v`, traced)]; two != 2 || three != many {
				t.Errorf("got %v", got)
			}
			for request := range got {
				if strings.Contains(request, "batch") && !strings.Contains(request, "[]") {
					t.Errorf("a batch has hops: %s", request)
				}
			}
		})
	}
}

// TestACircleIsBuriedAtOnce: the answer that says so is not asked for again.
func TestACircleIsBuriedAtOnce(t *testing.T) {
	peer := newEndpoint(t, func(w http.ResponseWriter, _ int) {
		w.Header().Set("X-Toot-Hops", "3")
		w.WriteHeader(http.StatusUnprocessableEntity)
	})
	n := newNode(t, toot.Options{RetryDelay: quickRetries}, true)
	n.add(t, "a", peer.URL)
	_, err := n.PublishAll(t.Context(), toot.Message{Channel: "a", Hops: 4})
	must(t, err)
	if reason := n.failures(t); !strings.Contains(reason, "hops") {
		t.Errorf("buried for %q", reason)
	}
	n.settled(t)
	if calls, _ := peer.count(); calls != 1 {
		t.Errorf("it was sent %d times", calls)
	}
	letters := must2(n.DeadLetters(t.Context(), engine.DeadQuery{}))
	if stats := must2(n.Stats(t.Context())); len(letters) != 1 || stats.Lanes[0].Circuit == "open" {
		t.Errorf("%d dead letters, %+v", len(letters), stats.Lanes)
	}
}
