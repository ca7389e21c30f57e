package toot_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

// A subscriber whose registration was answered by one process gets what
// another process publishes right after, whatever that one remembers.
func TestARegistrationCountsForEveryProcessAtOnce(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		b.launch("publisher", store, toot.Options{}, nil)
		publishes := b.launch("other", store, toot.Options{}, nil)
		arrived := map[string]int{}
		for i := range 100 {
			host := fmt.Sprintf("subscriber%d", i)
			b.net.serve(host, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				b.mu.Lock()
				defer b.mu.Unlock()
				arrived[host]++
			}))
			register(b, "http://publisher/subscriptions", "a", "http://"+host+"/callbacks")
			must2(publishes.Publish(b.Context(), "a", i))
		}
		b.empty(time.Minute, store)
		b.mu.Lock()
		defer b.mu.Unlock()
		for i := range 100 {
			// To more than 64 an event is fanned out a little later, so that
			// it may reach somebody who has registered meanwhile.
			host, want := fmt.Sprintf("subscriber%d", i), 100-i
			if n := arrived[host]; n < want || n > want && i < 65 {
				b.Errorf("%s got %d events, want %d", host, n, want)
			}
		}
	})
}

// register registers a callback URL by hand.
func register(b *bubble, subscriptions, channel, callbackURL string) {
	b.Helper()
	body := fmt.Sprintf(`{"channel":%q,"callback_url":%q}`, channel, callbackURL)
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, subscriptions, strings.NewReader(body))
	must(b, err)
	res, err := b.net.RoundTrip(req)
	must(b, err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusCreated {
		b.Fatalf("registering %s: status %d", callbackURL, res.StatusCode)
	}
}

// IDs are chosen by publishers: the same one on two channels are two events,
// for the publisher's engine and for the subscriber's.
func TestOneIDOnTwoChannelsIsTwoEvents(t *testing.T) {
	inBubble(t, func(b *bubble) {
		published, received := memengine.NewStore(), memengine.NewStore()
		publisher := b.launch("publisher", published, toot.Options{}, nil)
		var got recorder
		subscriber := b.launch("subscriber", received, toot.Options{}, func(app *toot.App) {
			must(b, app.AddSource("publisher", toot.Source{SubscriptionURL: "http://publisher/subscriptions"}))
			must(b, app.AddSubscription(toot.Subscription{Source: "publisher", Channel: "a", Handler: &got}))
			must(b, app.AddSubscription(toot.Subscription{Source: "publisher", Channel: "b", Handler: &got}))
		})
		must(b, subscriber.RegisterSubscriptions(b.Context()))
		for range 2 { // the second time they are known
			must2(publisher.PublishAll(b.Context(), toot.Message{Channel: "a", ID: "order-1"}, toot.Message{Channel: "b", ID: "order-1"}))
		}
		b.empty(time.Minute, published, received)
		channels := map[string]int{}
		for _, e := range got.all() {
			channels[e.Channel]++
		}
		if channels["a"] != 1 || channels["b"] != 1 {
			b.Errorf("handled %v, want one event of each channel", channels)
		}
	})
}

// An answer takes off only a registration that was there when its request
// began.
func TestALateAnswerTakesOffNoNewRegistration(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		publisher := b.launch("publisher", store, toot.Options{}, nil)
		proceed := make(chan struct{})
		answers := make(chan int, 1)
		answers <- http.StatusGone
		delivered := 0
		b.net.serve("subscriber", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			select {
			case status := <-answers:
				<-proceed
				w.WriteHeader(status)
			default:
				b.mu.Lock()
				defer b.mu.Unlock()
				delivered++
			}
		}))
		const url = "http://subscriber/callbacks"
		register(b, "http://publisher/subscriptions", "a", url)
		must2(publisher.Publish(b.Context(), "a", "refused"))
		time.Sleep(5 * time.Second) // the request is under way
		must2(publisher.engine.RemoveSubscriber(b.Context(), "a", url, 0))
		register(b, "http://publisher/subscriptions", "a", url)
		close(proceed)
		time.Sleep(time.Second)
		for range 20 {
			must2(publisher.Publish(b.Context(), "a", "wanted"))
		}
		b.empty(time.Minute, store)
		b.mu.Lock()
		defer b.mu.Unlock()
		if delivered != 20 {
			b.Errorf("%d of 20 events were delivered to an endpoint that had registered again", delivered)
		}
	})
}
