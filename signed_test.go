package toot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
	"github.com/watermarkchurch/toot-go/signing"
)

// tap records the requests to a callback, and lets them be sent again.
type tap struct {
	*httptest.Server
	mu       sync.Mutex
	requests []*http.Request
	bodies   [][]byte
	status   []int
}

// newTap stands before a node's HandlerService.
func newTap(t *testing.T) (s *tap, attach func(http.Handler)) {
	t.Helper()
	s = &tap{}
	var next atomic.Value
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		r.Body = io.NopCloser(bytes.NewReader(body))
		rec := httptest.NewRecorder()
		next.Load().(http.Handler).ServeHTTP(rec, r)
		s.mu.Lock()
		s.requests, s.bodies, s.status = append(s.requests, r.Clone(context.Background())), append(s.bodies, body), append(s.status, rec.Code)
		s.mu.Unlock()
		for name, values := range rec.Header() {
			w.Header()[name] = values
		}
		w.WriteHeader(rec.Code)
		_, _ = w.Write(rec.Body.Bytes())
	}))
	t.Cleanup(s.Close)
	return s, func(h http.Handler) { next.Store(h) }
}

func (s *tap) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.requests)
}

// at returns a recorded request.
func (s *tap) at(i int) (h http.Header, body []byte, status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests[i].Header.Clone(), bytes.Clone(s.bodies[i]), s.status[i]
}

// again sends a recorded request as it was, but for what change does.
func (s *tap) again(t *testing.T, i int, change func(*http.Request, *[]byte)) int {
	t.Helper()
	s.mu.Lock()
	old, body := s.requests[i], bytes.Clone(s.bodies[i])
	s.mu.Unlock()
	req, err := http.NewRequestWithContext(t.Context(), old.Method, s.URL, nil)
	must(t, err)
	req.Header = old.Header.Clone()
	if change != nil {
		change(req, &body)
	}
	req.Body = io.NopCloser(bytes.NewReader(body))
	req.ContentLength = int64(len(body))
	return do(t, s.Client(), req).status
}

func TestSignedEventsArriveAndOthersDont(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, true)
	tap, attach := newTap(t)
	subscriber := newNode(t, toot.Options{CallbackURL: tap.URL}, true)
	attach(subscriber.HandlerService())
	secret := signing.NewSecret()
	var got recorder
	must(t, subscriber.AddSource("publisher", toot.Source{
		SubscriptionURL: publisher.url + "/subscriptions", ChannelPrefix: prefix, SigningSecrets: []string{secret},
	}))
	must(t, subscriber.Subscribe("publisher", "a", &got))
	must(t, subscriber.RegisterSubscriptions(t.Context()))
	must(t, subscriber.RegisterSubscriptions(t.Context())) // the same secret again
	sent, err := publisher.Publish(t.Context(), "a", 1)
	must(t, err)
	got.wait(t, 1)
	eventually(t, "the request to end", func() bool { return tap.count() == 1 })
	header, _, _ := tap.at(0)
	if header.Get("webhook-id") != sent.ID || header.Get("webhook-timestamp") == "" || header.Get("webhook-signature") == "" {
		t.Errorf("sent with %v", header)
	}
	for name, tc := range map[string]struct {
		change func(*http.Request, *[]byte)
		status int
	}{
		"a replay":          {nil, 401},
		"another body":      {func(_ *http.Request, body *[]byte) { *body = bytes.Replace(*body, []byte(`:1,`), []byte(`:2,`), 1) }, 401},
		"no signature":      {func(r *http.Request, _ *[]byte) { r.Header.Del("webhook-signature") }, 401},
		"no headers at all": {func(r *http.Request, _ *[]byte) { r.Header = http.Header{} }, 401},
		"a bad signature":   {func(r *http.Request, _ *[]byte) { r.Header.Set("webhook-signature", "v1,AAAA") }, 401},
		"another time":      {func(r *http.Request, _ *[]byte) { r.Header.Set("webhook-timestamp", fmt.Sprint(time.Now().Unix()+60)) }, 401},
		"a channel of nobody's": {func(_ *http.Request, body *[]byte) {
			*body = bytes.Replace(*body, []byte(prefix+"a"), []byte(prefix+"b"), 1)
		}, 200},
	} {
		if status := tap.again(t, 0, tc.change); status != tc.status {
			t.Errorf("%s: %d, want %d", name, status, tc.status)
		}
	}
	// Batches are signed too, and so are events whose IDs no header may have.
	var messages []toot.Message
	for i := range 600 {
		messages = append(messages, toot.Message{Channel: "a", Payload: i, ID: fmt.Sprintf("order.%d é", i)})
	}
	_, err = publisher.PublishAll(t.Context(), messages...)
	must(t, err)
	got.wait(t, 601)
	publisher.settled(t)
	if n := len(got.all()); n != 601 {
		t.Errorf("%d events were handled, want 601", n)
	}
	batches := 0
	for i := range tap.count() {
		header, body, status := tap.at(i)
		if body[0] != '[' || status != 200 {
			continue
		}
		batches++
		if batches > 3 {
			break
		}
		req, _ := http.NewRequestWithContext(t.Context(), http.MethodPost, tap.URL, bytes.NewReader(body))
		req.Header = header
		a := do(t, tap.Client(), req)
		var answer struct{ Results []struct{ Status int } }
		if err := json.Unmarshal([]byte(a.body), &answer); err != nil || len(answer.Results) == 0 || answer.Results[0].Status != 401 {
			t.Errorf("a replayed batch: %d %.200s", a.status, a.body)
		}
	}
	if batches == 0 {
		t.Error("no batch was sent, so this test shows nothing about them")
	}
}

// A signed request whose events have no IDs of their own has no new ones in it
// when it is sent to another process of the app.
func TestSignedEventsWithoutAnIDAreNotRepeatedAtAnotherProcess(t *testing.T) {
	secret := signing.NewSecret()
	file := filepath.Join(t.TempDir(), "toot.db")
	var got recorder
	process := func(run bool) *node {
		n := newNodeOn(t, must2(sqliteengine.Open(file, nil)), toot.Options{}, run)
		must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/", ChannelPrefix: prefix, SigningSecrets: []string{secret}}))
		must(t, n.Subscribe("publisher", "a", &got))
		return n
	}
	processes := []*node{process(true), process(true)}
	sent := 0
	for _, tc := range []struct{ id, contentType, body string }{
		{"evt_1", "application/json", `{"channel":"` + prefix + `a","payload":1}`},
		{"evt_2", "application/json", `{"id":null,"channel":"` + prefix + `a","payload":2}`},
		{"evt_3", batchType, `[{"channel":"` + prefix + `a","payload":3},{"id":"","channel":"` + prefix + `a","payload":4}]`},
	} {
		h := http.Header{}
		signing.Sign(h, must2(signing.ParseSecrets([]string{secret})), tc.id, time.Now(), []byte(tc.body))
		for _, n := range processes {
			a := n.request(t, "POST", "/callbacks", tc.body, "Content-Type", tc.contentType,
				"webhook-id", h.Get("webhook-id"), "webhook-timestamp", h.Get("webhook-timestamp"), "webhook-signature", h.Get("webhook-signature"))
			if a.status != 200 || a.body != "" {
				t.Errorf("%s: answered %+v", tc.id, a)
			}
		}
		sent += strings.Count(tc.body, "payload")
	}
	got.wait(t, sent)
	for _, n := range processes {
		n.settled(t)
	}
	ids := map[string]string{}
	for _, e := range got.all() {
		ids[string(e.Payload)] += " " + e.ID
	}
	if want := map[string]string{"1": " evt_1", "2": " evt_2", "3": " evt_3#0", "4": " evt_3#1"}; !maps.Equal(ids, want) {
		t.Errorf("the handlers saw %v, want %v", ids, want)
	}
}

// Those who know of no secret are served as ever.
func TestWithoutASecretNothingIsSigned(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, true)
	tap, attach := newTap(t)
	subscriber := newNode(t, toot.Options{CallbackURL: tap.URL}, true)
	attach(subscriber.HandlerService())
	var got recorder
	subscriber.subscribe(t, publisher, "a", &got)
	must2(publisher.Publish(t.Context(), "a", 1))
	got.wait(t, 1)
	eventually(t, "the request to end", func() bool { return tap.count() == 1 })
	header, _, _ := tap.at(0)
	for name := range header {
		if name == "Webhook-Id" || name == "Webhook-Signature" || name == "Webhook-Timestamp" {
			t.Errorf("%s was sent", name)
		}
	}
	if status := tap.again(t, 0, nil); status != 200 {
		t.Errorf("a duplicate: %d", status)
	}
}

// One publisher's secret does not open another's channels.
func TestASourceCantSpeakForAnother(t *testing.T) {
	tap, attach := newTap(t)
	subscriber := newNode(t, toot.Options{CallbackURL: tap.URL}, true)
	attach(subscriber.HandlerService())
	evil := newNode(t, toot.Options{ChannelPrefix: "org.good."}, true) // it says
	var got recorder
	evilSecret, goodSecret := signing.NewSecret(), signing.NewSecret()
	must(t, subscriber.AddSource("good", toot.Source{SubscriptionURL: "http://127.0.0.1:1/", ChannelPrefix: "org.good.", SigningSecrets: []string{goodSecret}}))
	must(t, subscriber.AddSource("evil", toot.Source{SubscriptionURL: evil.url + "/subscriptions", ChannelPrefix: "org.evil.", SigningSecrets: []string{evilSecret}}))
	must(t, subscriber.Subscribe("good", "a", &got))
	must(t, subscriber.Subscribe("evil", "a", &got))
	must(t, evil.SetSigningSecret(t.Context(), tap.URL, evilSecret, 0))
	for _, channel := range []string{"org.good.a", "org.evil.a"} {
		must2(evil.engine.AddSubscriber(t.Context(), channel, tap.URL, 0))
	}
	must2(evil.PublishAll(t.Context(), toot.Message{Channel: "a", Payload: "forged"}))
	must2(evil.PublishAll(t.Context(), toot.Message{Channel: "a", Payload: "fine", ChannelPrefix: "org.evil."}))
	got.wait(t, 1)
	eventually(t, "the forged event refused", func() bool {
		tap.mu.Lock()
		defer tap.mu.Unlock()
		for _, status := range tap.status {
			if status == 401 {
				return true
			}
		}
		return false
	})
	if all := got.all(); len(all) != 1 || all[0].Channel != "org.evil.a" {
		t.Errorf("handled %+v", all)
	}
}

func TestSecretsRotateWithAnOverlap(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix, RetryDelay: func(int) time.Duration { return 20 * time.Millisecond }}, true)
	one, two := signing.NewSecret(), signing.NewSecret()
	tap, attach := newTap(t)
	var got recorder
	// deploy starts the subscriber anew, with other secrets.
	deploy := func(register bool, secrets ...string) *node {
		n := newNode(t, toot.Options{CallbackURL: tap.URL}, true)
		must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: publisher.url + "/subscriptions", ChannelPrefix: prefix, SigningSecrets: secrets}))
		must(t, n.Subscribe("publisher", "a", &got))
		attach(n.HandlerService())
		if register {
			must(t, n.RegisterSubscriptions(t.Context()))
		}
		return n
	}
	arrives := func(n int) {
		t.Helper()
		must2(publisher.Publish(t.Context(), "a", n))
		got.wait(t, n)
	}
	deploy(true, one)
	arrives(1)
	deploy(true, two, one)
	arrives(2)
	deploy(false, one) // an older process beside it
	arrives(3)
	deploy(false, two)
	arrives(4)

	// Somebody else can't put a secret of his own in its place.
	other := newNode(t, toot.Options{CallbackURL: tap.URL}, false)
	must(t, other.AddSource("publisher", toot.Source{SubscriptionURL: publisher.url + "/subscriptions", ChannelPrefix: prefix, SigningSecrets: []string{signing.NewSecret()}}))
	must(t, other.Subscribe("publisher", "b", &recorder{}))
	var status *toot.StatusError
	if err := other.RegisterSubscriptions(t.Context()); !errors.As(err, &status) || status.StatusCode != 403 {
		t.Errorf("registering with another secret: %v", err)
	}
	if urls := must2(publisher.engine.Subscribers(t.Context(), prefix+"b")); len(urls) != 0 {
		t.Errorf("registered all the same: %v", urls)
	}
	arrives(5)
	// The operator can, and end the signing.
	three := signing.NewSecret()
	must(t, publisher.SetSigningSecret(t.Context(), tap.URL, three, 0))
	deploy(false, three)
	arrives(6)
	must(t, publisher.SetSigningSecret(t.Context(), tap.URL, "", 0))
	deploy(false)
	arrives(7)
	if err := publisher.SetSigningSecret(t.Context(), tap.URL, "short", 0); err == nil {
		t.Error("a short secret was taken")
	}
	for _, body := range []string{`"signing_secret":"whsec_"`, `"signing_secret":"secret"`, `"signing_secret":7`} {
		if a := publisher.request(t, "POST", "/subscriptions", `{"callback_url":"http://a.example.org/","channel":"c",`+body+`}`); a.status != 422 {
			t.Errorf("%s: %d", body, a.status)
		}
	}
}

// forgetful is an engine whose attributes can't be read for a while.
type forgetful struct {
	engine.Engine
	fails atomic.Bool
	asked atomic.Int64
}

func (f *forgetful) Attributes(ctx context.Context, group string) (map[string]engine.Attribute, error) {
	f.asked.Add(1)
	if f.fails.Load() {
		return nil, errors.New("out of reach")
	}
	return f.Engine.(engine.Attributes).Attributes(ctx, group)
}

func (f *forgetful) Attribute(ctx context.Context, group, name string) (engine.Attribute, error) {
	f.asked.Add(1)
	if f.fails.Load() {
		return engine.Attribute{}, errors.New("out of reach")
	}
	return f.Engine.(engine.Attributes).Attribute(ctx, group, name)
}

func (f *forgetful) SwapAttribute(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
	return f.Engine.(engine.Attributes).SwapAttribute(ctx, group, name, old, value, keep)
}

// What should be signed is not sent unsigned because the store is in trouble.
func TestNothingIsSentUnsignedForWantOfSecrets(t *testing.T) {
	base := newNode(t, toot.Options{}, false)
	eng := &forgetful{Engine: base.engine}
	eng.fails.Store(true)
	var mu sync.Mutex
	var signatures []string
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		signatures = append(signatures, r.Header.Get("webhook-signature"))
	}))
	defer endpoint.Close()
	must(t, base.SetSigningSecret(t.Context(), endpoint.URL, signing.NewSecret(), 0))
	must2(eng.AddSubscriber(t.Context(), "a", endpoint.URL, 0))
	app, err := toot.New(eng, nil)
	must(t, err)
	stop := start(t, app)
	defer func() { stop(); must(t, app.Close()) }()
	must2(app.Publish(t.Context(), "a", nil))
	eventually(t, "a try that finds no secrets", func() bool { return eng.asked.Load() > 0 })
	eng.fails.Store(false)
	eventually(t, "the event to arrive", func() bool { mu.Lock(); defer mu.Unlock(); return len(signatures) > 0 })
	mu.Lock()
	defer mu.Unlock()
	if signatures[0] == "" {
		t.Error("it was sent unsigned")
	}
}

func TestSignatureMiddleware(t *testing.T) {
	secret := signing.NewSecret()
	checks, err := signing.NewVerifier(secret)
	must(t, err)
	var calls atomic.Int64
	var fail atomic.Bool
	tap, attach := newTap(t)
	attach(checks.Middleware(1000)(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if _, err := io.ReadAll(r.Body); err != nil {
			t.Error(err)
		}
		calls.Add(1)
		if fail.Load() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})))
	publisher := newNode(t, toot.Options{MaxRetries: -1}, true)
	must(t, publisher.SetSigningSecret(t.Context(), tap.URL, secret, 0))
	must2(publisher.engine.AddSubscriber(t.Context(), "a", tap.URL, 0))
	must2(publisher.Publish(t.Context(), "a", 1))
	eventually(t, "the event to arrive", func() bool { return tap.count() == 1 })
	if status := tap.again(t, 0, nil); status != 401 || calls.Load() != 1 {
		t.Errorf("a replay: %d, %d calls", status, calls.Load())
	}
	if status := tap.again(t, 0, func(_ *http.Request, body *[]byte) { *body = make([]byte, 1001) }); status != 413 {
		t.Errorf("too large: %d", status)
	}
	// What could not be served may come again, as it was.
	fail.Store(true)
	must2(publisher.Publish(t.Context(), "a", 2))
	eventually(t, "the second event to arrive", func() bool { return tap.count() == 4 })
	fail.Store(false)
	if status := tap.again(t, 3, nil); status != 200 {
		t.Errorf("again after 503: %d", status)
	}
}

// The answer to a signed request gets lost with its connection, which was used
// before: the request is made again at once, and is no replay.
func TestASignedRequestThatIsMadeAgainAtOnceIsNoReplay(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, true)
	subscriber := newNode(t, toot.Options{}, true)
	var mu sync.Mutex
	var statuses []int
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := httptest.NewRecorder()
		subscriber.HandlerService().ServeHTTP(answer, r)
		mu.Lock()
		statuses = append(statuses, answer.Code)
		n := len(statuses)
		mu.Unlock()
		if n == 2 {
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_ = conn.Close()
			}
			return
		}
		w.WriteHeader(answer.Code)
	}))
	t.Cleanup(server.Close)
	secret := signing.NewSecret()
	must(t, subscriber.AddSource("publisher", toot.Source{SubscriptionURL: publisher.url + "/subscriptions", ChannelPrefix: prefix, SigningSecrets: []string{secret}}))
	var got recorder
	must(t, subscriber.Subscribe("publisher", "a", &got))
	publisher.add(t, prefix+"a", server.URL)
	must(t, publisher.SetSigningSecret(t.Context(), server.URL, secret, 0))
	for i := range 2 {
		_, err := publisher.Publish(t.Context(), "a", i)
		must(t, err)
		got.wait(t, i+1)
		publisher.settled(t)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(statuses) != 3 || slices.Contains(statuses, http.StatusUnauthorized) {
		t.Errorf("answered %v, want 200 three times", statuses)
	}
}
