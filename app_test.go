package toot_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

// long makes tests as large as they can be, see the Makefile.
var long = os.Getenv("TOOT_TEST_LONG") != ""

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const prefix = "org.example.publisher."

// node is an app with a store and a server of its own.
type node struct {
	*toot.App
	engine *sqliteengine.Engine
	url    string
	client *http.Client
	stop   func() // ends Run and waits for it
}

// newNode starts an app; run says whether it also works.
func newNode(t testing.TB, opts toot.Options, run bool) *node {
	t.Helper()
	eng, err := sqliteengine.Open(filepath.Join(t.TempDir(), "toot.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return newNodeOn(t, eng, opts, run)
}

func newNodeOn(t testing.TB, eng *sqliteengine.Engine, opts toot.Options, run bool) *node {
	t.Helper()
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	if opts.CallbackURL == "" {
		opts.CallbackURL = server.URL + "/callbacks"
	}
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	app, err := toot.New(eng, &opts)
	if err != nil {
		t.Fatal(err)
	}
	mux.Handle("/subscriptions", app.SubscriptionsService())
	mux.Handle("/callbacks", app.HandlerService())
	n := &node{App: app, engine: eng, url: server.URL, client: server.Client(), stop: func() {}}
	if run {
		n.stop = start(t, app)
	}
	t.Cleanup(func() {
		n.stop()
		server.Close()
		if err := app.Close(); err != nil {
			t.Error(err)
		}
		if err := eng.Close(); err != nil {
			t.Error(err)
		}
	})
	return n
}

// start runs an app and returns what stops it and waits.
func start(t testing.TB, app *toot.App) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- app.Run(ctx) }()
	return sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
}

// subscribe makes n a subscriber of publisher's channel and registers it.
func (n *node) subscribe(t testing.TB, publisher *node, channel string, h toot.Handler) {
	t.Helper()
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: publisher.url + "/subscriptions", ChannelPrefix: prefix}))
	must(t, n.Subscribe("publisher", channel, h))
	must(t, n.RegisterSubscriptions(t.Context()))
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually waits for a condition, up to a generous deadline.
func eventually(t testing.TB, what string, condition func() bool) {
	t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for !condition() {
		if time.Now().After(deadline) {
			t.Fatalf("waited 30 s in vain: %s", what)
		}
		time.Sleep(2 * time.Millisecond) // between two looks
	}
}

// recorder is a handler that remembers what it handled.
type recorder struct {
	mu     sync.Mutex
	events []*toot.Event
}

func (r *recorder) HandleEvent(_ context.Context, e *toot.Event) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, e)
	return nil
}

func (r *recorder) all() []*toot.Event {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.events
}

func (r *recorder) wait(t testing.TB, n int) []*toot.Event {
	t.Helper()
	eventually(t, fmt.Sprintf("%d events handled", n), func() bool { return len(r.all()) >= n })
	return r.all()
}

// lanes returns what waits in a node's store.
func (n *node) lanes(t testing.TB) []engine.LaneStats {
	t.Helper()
	lanes, err := n.engine.Lanes(context.Background())
	must(t, err)
	return lanes
}

func (n *node) settled(t testing.TB) {
	t.Helper()
	eventually(t, "every job settled", func() bool {
		for _, l := range n.lanes(t) {
			if l.Waiting+l.Leased > 0 {
				return false
			}
		}
		return true
	})
}

func TestAnEventGoesFromPublishToItsHandler(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, true)
	subscriber := newNode(t, toot.Options{}, true)
	var got recorder
	subscriber.subscribe(t, publisher, "users.updated.v1", &got)

	payload := json.RawMessage(`{"id":12345678901234567890, "z":1, "a":"é\u2028<&>"}`)
	sent, err := publisher.Publish(t.Context(), "users.updated.v1", payload)
	must(t, err)
	e := got.wait(t, 1)[0]
	if e.ID != sent.ID || e.Channel != prefix+"users.updated.v1" || string(e.Payload) != string(payload) || !e.Timestamp.Equal(sent.Timestamp.Truncate(time.Microsecond)) {
		t.Errorf("sent %+v\n got %+v", sent, e)
	}
	if v := e.Get("id"); v != json.Number("12345678901234567890") {
		t.Errorf("Get(id) = %v", v)
	}
	publisher.settled(t)
	subscriber.settled(t)
}

func TestEverySubscriptionOfAChannelRuns(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, true)
	subscriber := newNode(t, toot.Options{RetryDelay: func(int) time.Duration { return 10 * time.Millisecond }}, true)
	var first, second recorder
	failures := make(chan struct{}, 100)
	subscriber.subscribe(t, publisher, "a", &first)
	must(t, subscriber.Subscribe("publisher", "a", toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
		if e.Attempt <= 3 {
			failures <- struct{}{}
			return errors.New("not yet")
		}
		return second.HandleEvent(ctx, e)
	})))
	_, err := publisher.Publish(t.Context(), "a", nil)
	must(t, err)
	second.wait(t, 1)
	subscriber.settled(t)
	if n := len(first.all()); n != 1 || len(failures) != 3 {
		t.Errorf("the first handler ran %d times, want once; the second failed %d times, want 3", n, len(failures))
	}
}

func TestManyEventsArriveOnce(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, true)
	subscriber := newNode(t, toot.Options{}, true)
	var got recorder
	subscriber.subscribe(t, publisher, "a", &got)
	const events, publishers = 1600, 16
	want := make(chan string, events)
	var wg sync.WaitGroup
	for p := range publishers {
		wg.Go(func() {
			for i := range events / publishers / 2 {
				e, err := publisher.Publish(context.Background(), "a", map[string]int{"p": p, "i": i})
				if err != nil {
					t.Error(err)
					return
				}
				want <- e.ID
			}
			batch := make([]toot.Message, events/publishers/2)
			for i := range batch {
				batch[i] = toot.Message{Channel: "a", Payload: i}
			}
			sent, err := publisher.PublishAll(context.Background(), batch...)
			if err != nil {
				t.Error(err)
				return
			}
			for _, e := range sent {
				want <- e.ID
			}
		})
	}
	wg.Wait()
	got.wait(t, events)
	publisher.settled(t)
	subscriber.settled(t)
	count := map[string]int{}
	for _, e := range got.all() {
		count[e.ID]++
	}
	close(want)
	for id := range want {
		if count[id] != 1 {
			t.Errorf("event %s was handled %d times", id, count[id])
		}
		delete(count, id)
	}
	if len(count) > 0 {
		t.Errorf("%d events came from nowhere", len(count))
	}
}

func TestPrefixIDAndTimestampOfOneMessage(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix, SubscriptionPrefixes: []string{"org.other."}}, true)
	subscriber := newNode(t, toot.Options{}, true)
	var got recorder
	must(t, subscriber.AddSource("other", toot.Source{SubscriptionURL: publisher.url + "/subscriptions", ChannelPrefix: "org.other."}))
	must(t, subscriber.Subscribe("other", "a", &got))
	must(t, subscriber.RegisterSubscriptions(t.Context()))
	for range 3 { // an ID is delivered once
		_, err := publisher.PublishAll(t.Context(), toot.Message{Channel: "a", ChannelPrefix: "org.other.", ID: "order-7"})
		must(t, err)
	}
	when := time.Date(2026, 11, 23, 9, 0, 0, 123456789, time.FixedZone("", 3600))
	events, err := publisher.PublishAll(t.Context(), toot.Message{Channel: "a", ChannelPrefix: "org.other.", ID: "order-8", Timestamp: when})
	must(t, err)
	if want := when.Truncate(time.Microsecond); !events[0].Timestamp.Equal(want) || events[0].TimestampText != "2026-11-23T08:00:00.123456Z" {
		t.Errorf("published at %v, want %v", events[0].TimestampText, want)
	}
	got.wait(t, 2)
	publisher.settled(t)
	subscriber.settled(t)
	if n := len(got.all()); n != 2 {
		t.Errorf("%d events were handled, want 2", n)
	}
	for _, e := range got.all() {
		if e.ID == "order-8" && !e.Timestamp.Equal(events[0].Timestamp) {
			t.Errorf("%s arrived with %v", e.ID, e.Timestamp)
		}
	}
	if e := got.all()[0]; e.Channel != "org.other.a" || e.ID != "order-7" && e.ID != "order-8" {
		t.Errorf("got %+v", e)
	}
}

func TestPublishRefusesWhatItCantSend(t *testing.T) {
	publisher := newNode(t, toot.Options{MaxEventBytes: 1000}, false)
	must2(publisher.engine.AddSubscriber(t.Context(), "a", "http://127.0.0.1:1/", 0))
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		name    string
		ctx     context.Context
		channel string
		payload any
		want    error
	}{
		{"no JSON", t.Context(), "a", json.RawMessage("{"), toot.ErrInvalidPayload},
		{"what can't be encoded", t.Context(), "a", make(chan int), toot.ErrInvalidPayload},
		{"an empty channel", t.Context(), "", nil, toot.ErrInvalidChannel},
		{"a channel with a line break", t.Context(), "a\nb", nil, toot.ErrInvalidChannel},
		{"too large", t.Context(), "a", strings.Repeat("x", 1000), toot.ErrTooLarge},
		{"cancelled", cancelled, "a", nil, context.Canceled},
	} {
		if _, err := publisher.Publish(tc.ctx, tc.channel, tc.payload); !errors.Is(err, tc.want) {
			t.Errorf("%s: got %v, want %v", tc.name, err, tc.want)
		}
	}
	for _, id := range []string{strings.Repeat("x", 1025), "a\nb", "a\u0085", "\u2028"} { // subscribers would refuse them
		if _, err := publisher.PublishAll(t.Context(), toot.Message{Channel: "a", ID: id}); !errors.Is(err, toot.ErrInvalidID) {
			t.Errorf("the ID %.10q: got %v", id, err)
		}
	}
	// One bad message among good ones: nothing is published.
	if _, err := publisher.PublishAll(t.Context(), toot.Message{Channel: "a"}, toot.Message{}); !errors.Is(err, toot.ErrInvalidChannel) {
		t.Errorf("got %v", err)
	}
	must(t, publisher.Close())
	if _, err := publisher.Publish(t.Context(), "a", nil); !errors.Is(err, toot.ErrClosed) {
		t.Errorf("closed: got %v", err)
	}
	if lanes := publisher.lanes(t); len(lanes) != 0 {
		t.Errorf("something was stored: %+v", lanes)
	}
}

func must2[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

func TestPanicsAreErrorsAndTheDeadCanBeRedriven(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, true)
	subscriber := newNode(t, toot.Options{MaxRetries: 2, RetryDelay: func(int) time.Duration { return 0 }}, true)
	var mended recorder
	var ok bool
	var mu sync.Mutex
	subscriber.subscribe(t, publisher, "a", toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
		mu.Lock()
		defer mu.Unlock()
		if !ok {
			panic("out of cheese")
		}
		return mended.HandleEvent(ctx, e)
	}))
	for range 2 {
		_, err := publisher.Publish(t.Context(), "a", 1)
		must(t, err)
	}
	dead := func() []toot.DeadLetter {
		letters, err := subscriber.DeadLetters(context.Background(), engine.DeadQuery{})
		must(t, err)
		return letters
	}
	eventually(t, "both in the dead letters", func() bool { return len(dead()) == 2 })
	for _, d := range dead() {
		if !strings.Contains(d.Reason, "panic: out of cheese (after 3 tries)") || len(d.Tries) != 3 || d.Channel != prefix+"a" || d.Kind != engine.Handle {
			t.Errorf("dead letter %+v", d)
		}
	}
	mu.Lock()
	ok = true
	mu.Unlock()
	letters := dead()
	if n, err := subscriber.Redrive(t.Context(), letters[0].ID, "no such"); n != 1 || err != nil {
		t.Errorf("Redrive = %d, %v", n, err)
	}
	if n, err := subscriber.Discard(t.Context(), letters[1].ID); n != 1 || err != nil {
		t.Errorf("Discard = %d, %v", n, err)
	}
	if e := mended.wait(t, 1)[0]; e.ID != letters[0].EventID {
		t.Errorf("redrove %s, got %s", letters[0].EventID, e.ID)
	}
	if left := dead(); len(left) != 0 {
		t.Errorf("left: %+v", left)
	}
}

func TestAHandlerThatEndsItsGoroutineHasFailed(t *testing.T) {
	n := newNode(t, toot.Options{MaxHandlers: 1, RetryDelay: quickRetries}, true)
	var got recorder
	n.subscribe(t, n, "a", toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
		if e.Attempt <= 2 {
			runtime.Goexit() // as t.FailNow does
		}
		return got.HandleEvent(ctx, e)
	}))
	for range 3 {
		_, err := n.Publish(t.Context(), prefix+"a", nil)
		must(t, err)
	}
	for _, e := range got.wait(t, 3) {
		if e.Attempt != 3 {
			t.Errorf("attempt %d succeeded", e.Attempt)
		}
	}
}

func TestAllDeadLettersThatMatchAreRedriven(t *testing.T) {
	peer := newEndpoint(t, nil)
	n := newNode(t, toot.Options{}, true)
	const events = 550 // more than a page
	lane := engine.Lane{Kind: engine.Deliver, Name: peer.URL}
	for _, channel := range []string{"a", "b"} {
		jobs := make([]engine.Job, events)
		outcomes := make([]engine.Outcome, events)
		for i := range jobs {
			id := fmt.Sprintf("%s%d", channel, i)
			jobs[i] = engine.Job{Event: &engine.Event{ID: id, Channel: channel, Body: fmt.Appendf(nil, `{"id":%q}`, id)}, Lane: lane, Lease: time.Minute}
		}
		for i, ticket := range must2(n.engine.Push(t.Context(), engine.PushRequest{Jobs: jobs})).Tickets {
			outcomes[i] = engine.Outcome{Ticket: ticket, Result: engine.Bury, Reason: "it is gone"}
		}
		must2(n.engine.Settle(t.Context(), outcomes))
	}
	dead := func() int { return must2(n.Stats(context.Background())).Dead }
	if got := must2(n.DiscardAll(t.Context(), engine.DeadQuery{Channel: "b", Max: 510})); got != 510 || dead() != 2*events-510 {
		t.Errorf("discarded %d, %d left", got, dead())
	}
	if got := must2(n.RedriveAll(t.Context(), engine.DeadQuery{Channel: "b", Reason: "GONE"})); got != events-510 || dead() != events {
		t.Errorf("redrove %d, want %d; %d left", got, events-510, dead())
	}
	if got := must2(n.RedriveAll(t.Context(), engine.DeadQuery{})); got != events || dead() != 0 {
		t.Errorf("redrove %d, want %d; %d left", got, events, dead())
	}
	n.settled(t)
	if calls, _ := peer.count(); calls != 2*events-510 {
		t.Errorf("%d calls, want %d", calls, 2*events-510)
	}
}

func TestHandlersMayAskForMore(t *testing.T) {
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, true)
	subscriber := newNode(t, toot.Options{RetryDelay: func(int) time.Duration { return time.Hour }}, true)
	var after recorder
	subscriber.subscribe(t, publisher, "permanent", toot.HandlerFunc(func(context.Context, *toot.Event) error {
		return fmt.Errorf("wrapped: %w", toot.Permanent(errors.New("never")))
	}))
	subscriber.subscribe(t, publisher, "after", toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
		if e.Attempt == 1 {
			return toot.RetryAfter(time.Millisecond, errors.New("soon"))
		}
		return after.HandleEvent(ctx, e)
	}))
	type user struct{ ID int }
	users := make(chan user, 1)
	subscriber.subscribe(t, publisher, "typed", toot.HandlePayload(func(_ context.Context, _ *toot.Event, u user) error {
		users <- u
		return nil
	}))
	var order []string
	subscriber.Use(func(next toot.Handler) toot.Handler {
		return toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
			if e.Channel == prefix+"after" {
				order = append(order, "outer")
			}
			return next.HandleEvent(ctx, e)
		})
	}, func(next toot.Handler) toot.Handler {
		return toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
			if e.Channel == prefix+"after" {
				order = append(order, "inner")
			}
			return next.HandleEvent(ctx, e)
		})
	})
	for _, m := range []toot.Message{{Channel: "permanent"}, {Channel: "after"}, {Channel: "typed", Payload: user{7}}, {Channel: "typed", Payload: "no user"}} {
		_, err := publisher.PublishAll(t.Context(), m)
		must(t, err)
	}
	if u := <-users; u.ID != 7 {
		t.Errorf("got user %+v", u)
	}
	after.wait(t, 1)
	if got := strings.Join(order, " "); got != "outer inner outer inner" {
		t.Errorf("middleware ran as %s", got)
	}
	eventually(t, "two dead letters", func() bool {
		letters, err := subscriber.DeadLetters(context.Background(), engine.DeadQuery{})
		must(t, err)
		return len(letters) == 2
	})
}

func TestSubscribingNeedsASource(t *testing.T) {
	n := newNode(t, toot.Options{}, false)
	h := &recorder{}
	err := n.Subscribe("nobody", "a", h)
	if !errors.Is(err, toot.ErrUnknownSource) || !strings.Contains(err.Error(), `"nobody"`) {
		t.Errorf("got %v", err)
	}
	if err := n.AddSource("s", toot.Source{SubscriptionURL: "/relative"}); err == nil {
		t.Error("took a relative URL for a subscription URL")
	}
	must(t, n.AddSource("s", toot.Source{SubscriptionURL: "https://publisher.example.org/subscriptions"}))
	must(t, n.AddSubscription(toot.Subscription{Source: "s", Channel: "a", Handler: h, Name: "mine"}))
	if err := n.AddSubscription(toot.Subscription{Source: "s", Channel: "b", Handler: h, Name: "mine"}); err == nil {
		t.Error("two subscriptions of one name")
	}
	if err := n.Subscribe("s", "a", nil); err == nil {
		t.Error("a subscription without a handler")
	}
	if err := n.Subscribe("s", "", h); !errors.Is(err, toot.ErrInvalidChannel) {
		t.Errorf("an empty channel: %v", err)
	}
}
