package toot_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

// One endpoint, registered under many spellings of its URL.
func TestSpellingsOfAURLShareItsBounds(t *testing.T) {
	var mu sync.Mutex
	active, most, users := 0, 0, map[string]int{}
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		user, _, _ := r.BasicAuth()
		mu.Lock()
		active++
		most = max(most, active)
		users[user]++
		mu.Unlock()
		time.Sleep(time.Millisecond) // others would come meanwhile
		mu.Lock()
		active--
		mu.Unlock()
	}))
	t.Cleanup(server.Close)
	n := newNode(t, toot.Options{MaxDeliveriesPerURL: 2}, true)
	urls := []string{server.URL + "/cb", strings.Replace(server.URL, "http", "HTTP", 1) + "/cb", server.URL + "/%63b"}
	for i := range 100 {
		urls = append(urls, fmt.Sprint(server.URL, "/cb#", i), strings.Replace(server.URL, "//", fmt.Sprintf("//user%d@", i), 1)+"/cb")
	}
	for _, u := range urls {
		n.add(t, "a", u)
	}
	_, err := n.Publish(t.Context(), "a", nil)
	must(t, err)
	n.settled(t)
	mu.Lock()
	defer mu.Unlock()
	if most > 2 {
		t.Errorf("%d requests at once to one endpoint, want at most 2", most)
	}
	if users[""] != 103 || len(users) != 101 {
		t.Errorf("%d requests without a user, and %d users", users[""], len(users)-1)
	}
	// Nothing is changed of what was registered.
	stored, err := n.engine.Subscribers(t.Context(), "a")
	must(t, err)
	slices.Sort(urls)
	if stored = slices.Sorted(slices.Values(stored)); !slices.Equal(stored, urls) {
		t.Error("the store has other URLs than were registered")
	}
	for _, u := range urls[:10] {
		if removed := must2(n.engine.RemoveSubscriber(t.Context(), "a", u, 0)); !removed {
			t.Errorf("%s can't be removed", u)
		}
	}
}

// A rate is one of an endpoint, too.
func TestSpellingsOfAURLShareItsRate(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store, peer := memengine.NewStore(), &far{}
		b.net.serve("peer", peer)
		p := b.publisher(toot.Options{MaxRatePerURL: 2}, store)
		for i := range 10 {
			must2(p.engine.AddSubscriber(b.Context(), "a", fmt.Sprint("http://peer/callbacks#", i), 0))
		}
		began := time.Now()
		p.publish(1, 0)
		b.empty(time.Minute, store)
		calls, _ := peer.seen()
		if last := calls[len(calls)-1].Sub(began); len(calls) != 10 || last != 4500*time.Millisecond {
			b.Errorf("%d requests within %v, where there are to be 2 a second", len(calls), last)
		}
	})
}

// Many URLs of one host that hang, and one that works.
func TestAHostHasABound(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store, sick, healthy := memengine.NewStore(), &far{}, &far{}
		b.net.serve("shop:8080", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/sick") {
				sick.ServeHTTP(w, r)
			} else {
				healthy.ServeHTTP(w, r)
			}
		}))
		sick.set(hangs)
		p := b.publisher(toot.Options{MaxDeliveriesPerHost: 16}, store)
		must2(p.engine.AddSubscriber(b.Context(), "a", "http://shop:8080/healthy", 0))
		p.publish(1, time.Second)
		for i := range 100 {
			must2(p.engine.AddSubscriber(b.Context(), "a", fmt.Sprint("http://shop:8080/sick/", i), 0))
		}
		p.publish(5, time.Second)
		if _, events := healthy.seen(); events != 6 {
			b.Errorf("the URL that works has got %d of 6 events", events)
		}
		// What was given up may be heard of there a little later.
		if most := sick.atOnce(); most != 8 {
			b.Errorf("%d requests at once to URLs that hang, want 8, half of what the host may have", most)
		}
		sick.set(nil)
		b.empty(10*time.Minute, store)
		if most := sick.atOnce(); most > 8+16 {
			b.Errorf("%d requests at once to one host", most)
		}
	})
}
