package toot_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/internal/testing/faultengine"
)

// The tests of this file are about what would surprise somebody who uses toot for
// the first time.

// encoding/json would make base64 of it.
func TestBytesAreNoPayload(t *testing.T) {
	n := newNode(t, toot.Options{}, false)
	payload := []byte(`{"id":1}`)
	_, one := n.Publish(t.Context(), "a", payload)
	_, several := n.PublishAll(t.Context(), toot.Message{Channel: "a"}, toot.Message{Channel: "a", Payload: payload})
	for _, err := range []error{one, several} {
		if !errors.Is(err, toot.ErrInvalidPayload) || !strings.Contains(err.Error(), "json.RawMessage") {
			t.Errorf("%v: want an ErrInvalidPayload that says what to use", err)
		}
	}
	must2(n.Publish(t.Context(), "a", json.RawMessage(payload)))
	must2(n.Publish(t.Context(), "a", struct{ Image []byte }{payload})) // encoding/json's own business
}

// Publish says how many get an event: what it knows from before, what the store
// says by the way, and for channels with many subscribers.
func TestPublishSaysHowManyAreSubscribed(t *testing.T) {
	inBubble(t, func(b *bubble) {
		var log bytes.Buffer
		store := memengine.NewStore()
		publisher := b.prepare("publisher", store, toot.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, nil)
		other := b.prepare("other", store, toot.Options{}, nil)
		publish := func(m ...toot.Message) (counts []int) {
			for _, e := range must2(publisher.PublishAll(b.Context(), m...)) {
				counts = append(counts, e.Subscribers)
			}
			return counts
		}
		holds := func(when string, got []int, want ...int) {
			b.Helper()
			if fmt.Sprint(got) != fmt.Sprint(want) {
				b.Errorf("%s: %v subscribers, want %v", when, got, want)
			}
		}
		holds("to nobody", publish(toot.Message{Channel: "a", ID: "first"}), 0)
		if !strings.Contains(log.String(), `level=DEBUG msg="toot: published on a channel that nobody is subscribed to" event=first channel=a`) {
			b.Errorf("the log says %s", log.String())
		}
		log.Reset()
		register(b, "http://other/subscriptions", "a", "http://one/")
		holds("to one that registered elsewhere", publish(toot.Message{Channel: "a"}, toot.Message{Channel: "b"}, toot.Message{Channel: "a", After: time.Hour}), 1, 0, 1)
		holds("an ID that nobody got", publish(toot.Message{Channel: "a", ID: "first"}), 1)
		for i := range 99 {
			register(b, "http://other/subscriptions", "a", fmt.Sprintf("http://many%d/", i))
		}
		holds("to many that registered elsewhere", publish(toot.Message{Channel: "a"}), 100)
		holds("to many that are known", publish(toot.Message{Channel: "a"}), 100)
		must2(other.engine.RemoveSubscriber(b.Context(), "a", "http://one/", 0))
		time.Sleep(11 * time.Second)
		holds("some seconds after one has gone", publish(toot.Message{Channel: "a"}), 99)
		if strings.Contains(log.String(), "channel=a") {
			b.Errorf("the log says %s", log.String())
		}
	})
}

// It costs no call of the store.
func TestCountingSubscribersCostsNoCall(t *testing.T) {
	inBubble(t, func(b *bubble) {
		publisher := b.prepare("publisher", memengine.NewStore(), toot.Options{}, nil)
		register(b, "http://publisher/subscriptions", "a", "http://one/")
		must2(publisher.Publish(b.Context(), "a", 1)) // from now on it is known
		pushes, reads := publisher.engine.Calls(faultengine.Push), publisher.engine.Calls(faultengine.Subscribers)
		for range 10 {
			if e := must2(publisher.Publish(b.Context(), "a", 1)); e.Subscribers != 1 {
				b.Errorf("%d subscribers", e.Subscribers)
			}
		}
		if p, r := publisher.engine.Calls(faultengine.Push)-pushes, publisher.engine.Calls(faultengine.Subscribers)-reads; p != 10 || r != 0 {
			b.Errorf("%d pushes and %d readings for 10 events", p, r)
		}
	})
}

// A prefix without its dot makes names of channels that nobody publishes on.
func TestAPrefixWithoutItsDotIsRefused(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix, SubscriptionPrefixes: []string{"com.example."}}, false)
	subscriber := newNode(t, toot.Options{}, false)
	must(t, subscriber.AddSource("publisher", toot.Source{SubscriptionURL: publisher.url + "/subscriptions", ChannelPrefix: strings.TrimSuffix(prefix, ".")}))
	must(t, subscriber.Subscribe("publisher", "a", &recorder{}))
	err := subscriber.RegisterSubscriptions(t.Context())
	for _, want := range []string{"422", `"` + prefix + `" or "com.example."`, "lack the dot at its end"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v: does not say %s", err, want)
		}
	}
	if a := publisher.request(t, "POST", "/subscriptions", `{"callback_url":"http://127.0.0.1:1/","channel":"net.example.a"}`); a.status != 422 || strings.Contains(a.body, "dot") {
		t.Errorf("another prefix altogether: %d %s", a.status, a.body)
	}
}

func TestAnEmptySubscriptionURLIsSaidToBe(t *testing.T) {
	n := newNode(t, toot.Options{}, false)
	if err := n.AddSource("shop", toot.Source{}); err == nil || !strings.Contains(err.Error(), `source "shop": SubscriptionURL: it is empty`) {
		t.Errorf("%v", err)
	}
}

// RegisterOnRun registers whichever app is started first, and goes on trying
// while the other one is away.
func TestRegisterOnRunNeedsNoOrder(t *testing.T) {
	for what, c := range map[string]struct {
		away, within time.Duration // how long the publisher is, and until when they are registered after that
		refuses      int           // a status that it answers meanwhile
	}{
		"publisher first":                           {0, 0, 0},
		"subscriber first":                          {1500 * time.Millisecond, 1500 * time.Millisecond, 0},
		"subscriber long before":                    {time.Hour, time.Minute, 0},
		"while the publisher is being restarted":    {10 * time.Second, 6 * time.Second, http.StatusBadGateway},
		"while the publisher does not know of them": {10 * time.Second, 6 * time.Second, http.StatusUnauthorized},
	} {
		t.Run(what, func(t *testing.T) {
			inBubble(t, func(b *bubble) {
				store := memengine.NewStore()
				if c.refuses > 0 {
					b.net.serve("publisher", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(c.refuses) }))
				}
				var publisher *process
				if c.away == 0 {
					publisher = b.launch("publisher", store, toot.Options{RequireConsent: true, Origin: "publisher"}, nil)
				}
				var log bytes.Buffer
				var got runs
				b.launch("subscriber", memengine.NewStore(), toot.Options{RegisterOnRun: true, Logger: slog.New(slog.NewTextHandler(&log, nil))}, subscribes(b, &got))
				if c.away > 0 {
					time.Sleep(c.away)
					publisher = b.launch("publisher", store, toot.Options{RequireConsent: true, Origin: "publisher"}, nil)
				}
				b.within(c.within, "registered", func() bool {
					return len(must2(publisher.engine.Subscribers(b.Context(), "a"))) == 1
				})
				must2(publisher.Publish(b.Context(), "a", 1))
				b.within(time.Second, "handled", func() bool { return got.all() == 1 })
				synctest.Wait()
				if said := strings.Contains(log.String(), "all subscriptions are registered"); said != (c.away > 0) {
					b.Errorf("the log says %s", log.String())
				}
			})
		})
	}
}

// Who mounts HandlerService for POST alone learns why nobody registers it.
func TestAMountForPOSTAloneIsToldOf(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix, RequireConsent: true, Origin: origin}, false)
	var log bytes.Buffer
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	defer server.Close()
	subscriber := newNode(t, toot.Options{CallbackURL: server.URL + "/callbacks", Logger: slog.New(slog.NewTextHandler(&log, nil))}, false)
	mux.Handle("POST /callbacks", subscriber.HandlerService())
	must(t, subscriber.AddSource("publisher", toot.Source{SubscriptionURL: publisher.url + "/subscriptions", ChannelPrefix: prefix}))
	must(t, subscriber.Subscribe("publisher", "a", &recorder{}))
	must(t, subscriber.Subscribe("publisher", "b", &recorder{}))
	err := subscriber.RegisterSubscriptions(t.Context())
	if err == nil || !strings.Contains(err.Error(), "answered OPTIONS with 405") {
		t.Errorf("the error is %v", err)
	}
	if n := strings.Count(log.String(), "level=WARN"); n != 1 || !strings.Contains(log.String(), "POST /callbacks") || !strings.Contains(log.String(), "source=publisher") {
		t.Errorf("%d warnings, want one that names the mount: %s", n, log.String())
	}
}

// Errors say once whose they are, however they are wrapped.
func TestErrorsNameThePackageOnce(t *testing.T) {
	n := newNode(t, toot.Options{MaxEventBytes: 200, MaxDepth: 3}, false)
	closed := must2(toot.New(memengine.New(), nil))
	must(t, closed.Close())
	broken := faultengine.Wrap(memengine.New())
	broken.Crash()
	down := must2(toot.New(broken, &toot.Options{CallbackURL: "http://127.0.0.1:1/callbacks"}))
	defer func() { _ = down.Close() }()
	bare := must2(toot.New(struct{ engine.Engine }{memengine.New()}, nil)) // without what is optional
	defer func() { must(t, bare.Close()) }()
	ctx := t.Context()
	publish := func(app *toot.App, m ...toot.Message) error { _, err := app.PublishAll(ctx, m...); return err }
	opened := func(opts toot.Options) error { _, err := toot.New(memengine.New(), &opts); return err }
	_, statsErr := bare.Stats(ctx)
	_, deadErr := bare.DeadLetters(ctx, engine.DeadQuery{})
	_, downStats := down.Stats(ctx)
	_, downDead := down.DeadLetters(ctx, engine.DeadQuery{})
	must(t, n.AddSource("s", toot.Source{SubscriptionURL: "http://127.0.0.1:1/"}))
	must(t, down.AddSource("s", toot.Source{SubscriptionURL: "http://127.0.0.1:1/"}))
	must(t, down.Subscribe("s", "a", &recorder{}))
	must(t, n.Subscribe("s", "a", &recorder{}))
	_, err1 := n.Publish(ctx, "a", nil)
	must(t, err1)
	for what, err := range map[string]error{
		"no channel":            publish(n.App, toot.Message{}),
		"no such channel":       publish(n.App, toot.Message{Channel: "a\n"}),
		"no ID":                 publish(n.App, toot.Message{Channel: "a", ID: "\n"}),
		"no payload":            publish(n.App, toot.Message{Channel: "a", Payload: func() {}}),
		"bytes":                 publish(n.App, toot.Message{Channel: "a", Payload: []byte("1")}),
		"too deep":              publish(n.App, toot.Message{Channel: "a", Payload: json.RawMessage(`[[[[1]]]]`)}),
		"too large":             publish(n.App, toot.Message{Channel: "a", Payload: strings.Repeat("x", 300)}),
		"too far":               publish(n.App, toot.Message{Channel: "a", After: 1 << 62}),
		"closed":                publish(closed, toot.Message{Channel: "a"}),
		"the store is down":     publish(down, toot.Message{Channel: "a"}),
		"stats unsupported":     statsErr,
		"dead unsupported":      deadErr,
		"stats of a store down": downStats,
		"dead of a store down":  downDead,
		"register on it":        down.RegisterSubscriptions(ctx),
		"register":              n.RegisterSubscriptions(ctx),
		"no source":             n.Subscribe("nobody", "a", &recorder{}),
		"a source without URL":  n.AddSource("x", toot.Source{}),
		"a secret that is none": n.AddSource("x", toot.Source{SubscriptionURL: "http://127.0.0.1:1/", SigningSecrets: []string{"x"}}),
		"a source's channel":    n.Subscribe("s", "a\n", &recorder{}),
		"no handler":            n.Subscribe("s", "b", nil),
		"a name twice":          n.AddSubscription(toot.Subscription{Source: "s", Channel: "a", Name: "a", Handler: &recorder{}}),
		"a prefix":              opened(toot.Options{ChannelPrefix: "\n"}),
		"a callback URL":        opened(toot.Options{CallbackURL: "x"}),
		"baggage":               opened(toot.Options{BaggageHosts: []string{"http://x"}}),
		"no origin":             opened(toot.Options{RequireConsent: true}),
		"consent unsupported": func() error {
			_, err := toot.New(struct{ engine.Engine }{memengine.New()}, &toot.Options{RequireConsent: true, Origin: "x"})
			return err
		}(),
		"a signing secret":    n.SetSigningSecret(ctx, "x", "y", 0),
		"its secret":          n.SetSigningSecret(ctx, "http://127.0.0.1:1/", "y", 0),
		"secrets unsupported": bare.SetSigningSecret(ctx, "http://127.0.0.1:1/", "", 0),
	} {
		switch {
		case err == nil:
			t.Errorf("%s: no error", what)
		case strings.Count(err.Error(), "toot: ") > 1, !strings.HasPrefix(err.Error(), "toot: ") && !strings.HasPrefix(err.Error(), "signing: "):
			t.Errorf("%s: %v", what, err)
		}
	}
}

// What is encoded as JSON has names.
func TestStatsAsJSONHaveNames(t *testing.T) {
	n := newNode(t, toot.Options{}, false)
	must2(n.PublishAll(t.Context(), toot.Message{Channel: "a", After: time.Hour}))
	b, err := json.Marshal(must2(n.Stats(t.Context())))
	must(t, err)
	if !strings.Contains(string(b), `"Kind":"fanout"`) {
		t.Errorf("%s", b)
	}
	var back toot.Stats
	must(t, json.Unmarshal(b, &back))
	if len(back.Lanes) != 1 || back.Lanes[0].Kind != engine.FanOut {
		t.Errorf("read back: %+v", back)
	}
	if err := json.Unmarshal([]byte(`"nothing"`), new(engine.Kind)); err == nil {
		t.Error("a kind that is none was read")
	}
}
