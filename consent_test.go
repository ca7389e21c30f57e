package toot_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

// asked is an endpoint that counts what it is asked, and consents to an
// origin.
type asked struct {
	*httptest.Server
	mu      sync.Mutex
	allows  string
	options int
	posts   []http.Header
}

func newAsked(t *testing.T) *asked {
	t.Helper()
	s := &asked{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if r.Method != http.MethodOptions {
			s.posts = append(s.posts, r.Header)
			return
		}
		s.options++
		if s.allows != "" {
			w.Header().Set("WebHook-Allowed-Origin", s.allows)
		}
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *asked) allow(origin string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.allows = origin
}

func (s *asked) counts() (options, posts int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.options, len(s.posts)
}

const origin = "publisher.example.org"

func (n *node) register(t *testing.T, url, channel string) int {
	t.Helper()
	return n.request(t, "POST", "/subscriptions", fmt.Sprintf(`{"callback_url":%q,"channel":%q}`, url, channel)).status
}

func TestConsentIsAskedForAtRegistration(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix, RequireConsent: true, Origin: origin}, true)
	subscriber := newNode(t, toot.Options{}, true)
	var got recorder
	subscriber.subscribe(t, publisher, "a", &got)
	must2(publisher.Publish(t.Context(), "a", 1))
	got.wait(t, 1)
	// The same app does not want other channels.
	if status := publisher.register(t, subscriber.url+"/callbacks", prefix+"other"); status != 422 {
		t.Errorf("a channel that nobody subscribes to: %d", status)
	}
	if urls := must2(publisher.engine.Subscribers(t.Context(), prefix+"other")); len(urls) != 0 {
		t.Errorf("stored all the same: %v", urls)
	}
	for allowed, want := range map[string]int{"": 422, "other.example.org": 422, "*": 201, origin: 201, strings.ToUpper(origin): 201} {
		endpoint := newAsked(t)
		endpoint.allow(allowed)
		if status := publisher.register(t, endpoint.URL, prefix+"b"); status != want {
			t.Errorf("WebHook-Allowed-Origin %q: %d, want %d", allowed, status, want)
		}
		if options, posts := endpoint.counts(); options != 1 || posts != 0 {
			t.Errorf("WebHook-Allowed-Origin %q: %d OPTIONS and %d POST", allowed, options, posts)
		}
	}
	if status := publisher.register(t, "http://127.0.0.1:1/", prefix+"b"); status != 422 {
		t.Errorf("an endpoint that is not there: %d", status)
	}
}

// Those who were there before the policy get nothing before they consent, and
// then everything.
func TestNothingIsDeliveredBeforeConsent(t *testing.T) {
	soon := func(int) time.Duration { return 10 * time.Millisecond }
	opts := toot.Options{ChannelPrefix: prefix, RequireConsent: true, Origin: origin, RetryDelay: soon, ProbeInterval: 50 * time.Millisecond}
	publisher := newNode(t, opts, true)
	endpoint := newAsked(t)
	must2(publisher.engine.AddSubscriber(t.Context(), prefix+"a", endpoint.URL, 0))
	for range 3 {
		must2(publisher.Publish(t.Context(), "a", 1))
	}
	eventually(t, "some questions", func() bool { options, _ := endpoint.counts(); return options >= 3 })
	if _, posts := endpoint.counts(); posts != 0 {
		t.Errorf("%d events were sent without consent", posts)
	}
	endpoint.allow(origin)
	eventually(t, "the events to arrive", func() bool { _, posts := endpoint.counts(); return posts == 3 })
	endpoint.mu.Lock()
	if got := endpoint.posts[0].Get("WebHook-Request-Origin"); got != origin {
		t.Errorf("WebHook-Request-Origin is %q", got)
	}
	endpoint.mu.Unlock()

	// It is remembered, also by a process that comes later …
	before, _ := endpoint.counts()
	app, err := toot.New(publisher.engine, &opts)
	must(t, err)
	publisher.stop()
	stop := start(t, app)
	must2(app.Publish(t.Context(), "a", 2))
	eventually(t, "one more event", func() bool { _, posts := endpoint.counts(); return posts == 4 })
	stop()
	must(t, app.Close())
	if after, _ := endpoint.counts(); after != before {
		t.Errorf("it was asked again %d times", after-before)
	}
	// … until it is no subscriber any more.
	if a := publisher.request(t, "DELETE", "/subscriptions?channel="+prefix+"a&callback_url="+endpoint.URL, ""); a.status != 204 {
		t.Fatalf("DELETE: %d", a.status)
	}
	if status := publisher.register(t, endpoint.URL, prefix+"a"); status != 201 {
		t.Errorf("registering again: %d", status)
	}
	if after, _ := endpoint.counts(); after != before+1 {
		t.Errorf("it was asked %d times, want 1", after-before)
	}
}

func TestConsentIsGivenForWhatIsSubscribedTo(t *testing.T) {
	n := newNode(t, toot.Options{}, false)
	if a := n.request(t, "OPTIONS", "/callbacks", "", "WebHook-Request-Origin", origin); a.status != 403 {
		t.Errorf("without any subscription: %d", a.status)
	}
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/", ChannelPrefix: prefix}))
	must(t, n.Subscribe("publisher", "ä", &recorder{}))
	for _, tc := range []struct {
		name   string
		header []string
		status int
	}{
		{"a channel that is subscribed to", []string{"WebHook-Request-Origin", origin, "X-Toot-Channel", prefix + "%C3%A4"}, 200},
		{"another channel", []string{"WebHook-Request-Origin", origin, "X-Toot-Channel", prefix + "b"}, 403},
		{"no channel", []string{"WebHook-Request-Origin", origin}, 200},
		{"no origin", nil, 405},
		{"a huge origin", []string{"WebHook-Request-Origin", strings.Repeat("x", 300)}, 405},
		{"a channel that is not escaped", []string{"WebHook-Request-Origin", origin, "X-Toot-Channel", "%"}, 405},
	} {
		a := n.request(t, "OPTIONS", "/callbacks", "", tc.header...)
		granted := a.header.Get("WebHook-Allowed-Origin") == origin && a.header.Get("WebHook-Allowed-Rate") == "*" && strings.Contains(a.header.Get("Allow"), "POST")
		if a.status != tc.status || granted != (tc.status == 200) {
			t.Errorf("%s: %+v", tc.name, a)
		}
	}
	if _, err := toot.New(n.engine, &toot.Options{RequireConsent: true}); err == nil {
		t.Error("RequireConsent without an origin was taken")
	}
}

func TestNobodyIsAskedByDefault(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, true)
	endpoint := newAsked(t)
	if status := publisher.register(t, endpoint.URL, prefix+"a"); status != 201 {
		t.Errorf("%d", status)
	}
	must2(publisher.Publish(t.Context(), "a", 1))
	eventually(t, "the event to arrive", func() bool { _, posts := endpoint.counts(); return posts == 1 })
	if options, _ := endpoint.counts(); options != 0 {
		t.Errorf("it was asked %d times", options)
	}
}

// A registration lasts as long as its app runs, and a lease.
func TestRegistrationsEndUnlessRenewed(t *testing.T) {
	for name, onRun := range map[string]bool{"registered by hand": false, "registered by Run": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := context.Background()
				network := &network{}
				store := memengine.NewStore()
				open := func(host string, s *memengine.Store, opts toot.Options) (*toot.App, func()) {
					opts.Client = &http.Client{Transport: network}
					opts.CallbackURL = "http://" + host + "/callbacks"
					opts.Logger = slog.New(slog.DiscardHandler)
					app, err := toot.New(s.Open(engine.Retention{}), &opts)
					must(t, err)
					mux := http.NewServeMux()
					mux.Handle("/subscriptions", app.SubscriptionsService())
					mux.Handle("/callbacks", app.HandlerService())
					network.serve(host, mux)
					return app, func() { must(t, app.Close()) }
				}
				publisher, closePublisher := open("publisher", store, toot.Options{RegistrationLease: time.Hour})
				defer closePublisher()
				stopPublisher := start(t, publisher)
				defer stopPublisher()
				look := store.Open(engine.Retention{})
				must2(look.AddSubscriber(ctx, "a", "http://old/callbacks", 0)) // before there were leases
				var got, old recorder
				network.serve("old", http.HandlerFunc(func(http.ResponseWriter, *http.Request) { _ = old.HandleEvent(ctx, &toot.Event{}) }))

				subscriber, closeSubscriber := open("subscriber", memengine.NewStore(), toot.Options{RegisterOnRun: onRun})
				defer closeSubscriber()
				must(t, subscriber.AddSource("publisher", toot.Source{SubscriptionURL: "http://publisher/subscriptions"}))
				must(t, subscriber.Subscribe("publisher", "a", &got))
				stopSubscriber := start(t, subscriber)
				defer stopSubscriber()
				if !onRun {
					must(t, subscriber.RegisterSubscriptions(ctx))
				}
				publish := func(handled, byOld int) {
					t.Helper()
					must2(publisher.Publish(ctx, "a", 1))
					time.Sleep(time.Minute)
					synctest.Wait()
					if n, m := len(got.all()), len(old.all()); n != handled || m != byOld {
						t.Fatalf("%d and %d events arrived, want %d and %d", n, m, handled, byOld)
					}
				}
				time.Sleep(time.Second)
				publish(1, 1)
				time.Sleep(6 * time.Hour)
				publish(2, 2)
				stopSubscriber()             // and nobody renews
				time.Sleep(39 * time.Minute) // the last renewal may have been 20 minutes before
				if urls := must2(look.Subscribers(ctx, "a")); len(urls) != 2 {
					t.Errorf("subscribers before the lease ends: %v", urls)
				}
				time.Sleep(22 * time.Minute)
				publish(2, 3)
				if urls := must2(look.Subscribers(ctx, "a")); len(urls) != 1 || urls[0] != "http://old/callbacks" {
					t.Errorf("subscribers after the lease has ended: %v", urls)
				}
				// Back again.
				stop := start(t, subscriber)
				defer stop()
				must(t, subscriber.RegisterSubscriptions(ctx))
				publish(3, 4)
			})
		})
	}
}
