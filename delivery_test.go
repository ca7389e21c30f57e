package toot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

// endpoint is a peer that is not made with this package.
type endpoint struct {
	*httptest.Server
	mu     sync.Mutex
	seen   map[string]int // event IDs
	answer func(w http.ResponseWriter, n int)
	calls  int
}

func newEndpoint(t testing.TB, answer func(w http.ResponseWriter, n int)) *endpoint {
	t.Helper()
	e := &endpoint{seen: map[string]int{}, answer: answer}
	e.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var event struct{ ID string }
		body, _ := io.ReadAll(r.Body)
		_ = json.Unmarshal(body, &event)
		e.mu.Lock()
		e.calls++
		e.seen[event.ID]++
		n, answer := e.calls, e.answer
		e.mu.Unlock()
		if answer != nil {
			answer(w, n)
		}
	}))
	t.Cleanup(e.Close)
	return e
}

func (e *endpoint) set(answer func(w http.ResponseWriter, n int)) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.answer = answer
}

func (e *endpoint) count() (calls, events int) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls, len(e.seen)
}

func status(code int) func(http.ResponseWriter, int) {
	return func(w http.ResponseWriter, _ int) { w.WriteHeader(code) }
}

func quickRetries(int) time.Duration { return 20 * time.Millisecond }

func (n *node) add(t testing.TB, channel, callbackURL string) {
	t.Helper()
	added, err := n.engine.AddSubscriber(context.Background(), channel, callbackURL, 0)
	must(t, err)
	if !added {
		t.Fatalf("%s was subscribed to %s already", callbackURL, channel)
	}
}

func TestAFailingEndpointIsTriedAgain(t *testing.T) {
	for name, fail := range map[string]func(http.ResponseWriter, int){
		"500":      status(500),
		"404":      status(404),
		"422":      status(422),
		"redirect": func(w http.ResponseWriter, _ int) { w.Header().Set("Location", "/"); w.WriteHeader(302) },
		"hang-up":  func(http.ResponseWriter, int) { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			peer := newEndpoint(t, func(w http.ResponseWriter, n int) {
				if n <= 3 {
					fail(w, n)
				}
			})
			n := newNode(t, toot.Options{RetryDelay: quickRetries}, true)
			n.add(t, "a", peer.URL)
			_, err := n.Publish(t.Context(), "a", nil)
			must(t, err)
			n.settled(t)
			if calls, events := peer.count(); calls != 4 || events != 1 {
				t.Errorf("%d calls with %d events, want 4 with one", calls, events)
			}
		})
	}
}

func TestARequestThatHangsIsGivenUpAndTriedAgain(t *testing.T) {
	release := make(chan struct{})
	peer := newEndpoint(t, func(_ http.ResponseWriter, n int) {
		if n == 1 {
			<-release
		}
	})
	defer close(release)
	n := newNode(t, toot.Options{RetryDelay: quickRetries, RequestTimeout: 100 * time.Millisecond}, true)
	n.add(t, "a", peer.URL)
	_, err := n.Publish(t.Context(), "a", nil)
	must(t, err)
	n.settled(t)
	if calls, _ := peer.count(); calls != 2 {
		t.Errorf("%d calls, want 2", calls)
	}
}

func TestSubscribersLeaveAtTheirOwnWish(t *testing.T) {
	leave := newEndpoint(t, func(w http.ResponseWriter, _ int) { w.Header().Set("X-Toot-Unsubscribe", "True") })
	gone := newEndpoint(t, status(410))
	stays := newEndpoint(t, func(w http.ResponseWriter, n int) {
		if n == 1 { // on a failure the header means nothing
			w.Header().Set("X-Toot-Unsubscribe", "True")
			w.WriteHeader(500)
		}
	})
	n := newNode(t, toot.Options{RetryDelay: quickRetries}, true)
	for _, peer := range []*endpoint{leave, gone, stays} {
		n.add(t, "a", peer.URL)
		n.add(t, "b", peer.URL)
	}
	for range 2 {
		_, err := n.Publish(t.Context(), "a", nil)
		must(t, err)
		n.settled(t)
	}
	for channel, want := range map[string]int{"a": 1, "b": 3} {
		if urls := must2(n.engine.Subscribers(t.Context(), channel)); len(urls) != want {
			t.Errorf("subscribers of %s: %v, want %d", channel, urls, want)
		}
	}
	for peer, want := range map[*endpoint]int{leave: 1, gone: 1, stays: 3} {
		if calls, _ := peer.count(); calls != want {
			t.Errorf("%d calls, want %d", calls, want)
		}
	}
	letters, err := n.DeadLetters(t.Context(), engine.DeadQuery{})
	must(t, err)
	if len(letters) != 1 || letters[0].Lane != gone.URL || !strings.Contains(letters[0].Reason, "410") || letters[0].Tries[0].Status != 410 {
		t.Errorf("dead letters: %+v", letters)
	}
}

func TestRetryAfterIsHonoured(t *testing.T) {
	var first, second atomic.Int64
	peer := newEndpoint(t, func(w http.ResponseWriter, n int) {
		switch n {
		case 1:
			first.Store(time.Now().UnixMilli())
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(503)
		case 2:
			second.Store(time.Now().UnixMilli())
		}
	})
	n := newNode(t, toot.Options{RetryDelay: quickRetries}, true)
	n.add(t, "a", peer.URL)
	_, err := n.Publish(t.Context(), "a", nil)
	must(t, err)
	eventually(t, "the first answer", func() bool { return first.Load() > 0 })
	_, err = n.Publish(t.Context(), "a", nil) // the lane waits too
	must(t, err)
	n.settled(t)
	if waited := second.Load() - first.Load(); waited < 1000 {
		t.Errorf("called again after %d ms, not 1 s", waited)
	}
	if calls, events := peer.count(); calls != 3 || events != 2 {
		t.Errorf("%d calls with %d events", calls, events)
	}
}

func TestADeadEndpointDoesNotSlowALiveOne(t *testing.T) {
	release := make(chan struct{})
	hangs := newEndpoint(t, func(http.ResponseWriter, int) { <-release })
	fails := newEndpoint(t, status(500))
	works := newEndpoint(t, nil)
	n := newNode(t, toot.Options{RequestTimeout: 20 * time.Second, MaxDeliveries: 8}, true)
	refused := httptest.NewServer(nil)
	refused.Close()
	for _, url := range []string{hangs.URL, hangs.URL + "/2", hangs.URL + "/3", fails.URL, refused.URL, works.URL} {
		n.add(t, "a", url)
	}
	const events = 200
	for range events {
		_, err := n.Publish(t.Context(), "a", nil)
		must(t, err)
	}
	// 30 s, the time that eventually waits, are less than the time-outs of
	// the endpoints that hang would take one after the other.
	eventually(t, "the live endpoint has every event", func() bool { _, got := works.count(); return got == events })
	if calls, _ := hangs.count(); calls > 3 {
		t.Errorf("%d calls were made to endpoints that had not answered the first one", calls)
	}
	if calls, _ := fails.count(); calls > 20 {
		t.Errorf("%d calls were made to an endpoint that always fails", calls)
	}
	close(release)
	fails.set(nil)
	hangs.set(nil)
	eventually(t, "those that work again have every event", func() bool {
		_, a := hangs.count()
		_, b := fails.count()
		return a == events && b == events
	})
}

func TestALargeFanOutReachesEverySubscriber(t *testing.T) {
	const subscribers, events = 1100, 2 // a fan-out in two steps
	var mu sync.Mutex
	calls := map[string]int{}
	peer := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		calls[r.URL.Path]++
	}))
	t.Cleanup(peer.Close)
	n := newNode(t, toot.Options{}, true)
	var wg sync.WaitGroup
	for i := range subscribers {
		wg.Go(func() { must2(n.engine.AddSubscriber(context.Background(), "a", fmt.Sprintf("%s/%d", peer.URL, i), 0)) })
	}
	wg.Wait()
	for range events {
		_, err := n.Publish(t.Context(), "a", nil)
		must(t, err)
	}
	n.settled(t)
	mu.Lock()
	defer mu.Unlock()
	if len(calls) != subscribers {
		t.Errorf("%d of %d subscribers were called", len(calls), subscribers)
	}
	for path, n := range calls {
		if n != events {
			t.Errorf("%s was called %d times, want %d", path, n, events)
		}
	}
}

func TestWhatWaitsSurvivesARestart(t *testing.T) {
	peer := newEndpoint(t, nil)
	n := newNode(t, toot.Options{}, false) // publishes but does not work
	n.add(t, "a", peer.URL)
	const events = 100
	for range events {
		_, err := n.Publish(t.Context(), "a", nil)
		must(t, err)
	}
	if calls, _ := peer.count(); calls != 0 {
		t.Fatalf("%d calls by an app that does not run", calls)
	}
	stop := start(t, n.App)
	eventually(t, "all delivered", func() bool { _, got := peer.count(); return got == events })
	stop()
	if calls, _ := peer.count(); calls != events {
		t.Errorf("%d calls, want %d", calls, events)
	}
	_, err := n.Publish(t.Context(), "a", nil)
	must(t, err)
	stop = start(t, n.App) // an app may run again
	n.settled(t)
	stop()
}

func TestStoppingUnderLoadIsClean(t *testing.T) {
	var handled sync.Map
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix}, false)
	subscriber := newNode(t, toot.Options{}, false)
	var runs atomic.Int64
	subscriber.subscribe(t, publisher, "a", toot.HandlerFunc(func(_ context.Context, e *toot.Event) error {
		runs.Add(1)
		handled.Store(e.ID, true)
		return nil
	}))
	var ids []string
	for round := range 6 {
		stopPublisher, stopSubscriber := start(t, publisher.App), start(t, subscriber.App)
		for i := range 60 {
			e, err := publisher.Publish(t.Context(), "a", i)
			must(t, err)
			ids = append(ids, e.ID)
		}
		if round%2 == 0 {
			stopPublisher()
			stopSubscriber()
		} else {
			stopSubscriber()
			stopPublisher()
		}
		for _, n := range []*node{publisher, subscriber} {
			for _, l := range n.lanes(t) {
				if l.Leased > 0 {
					t.Errorf("%d jobs are still leased after a clean stop", l.Leased)
				}
			}
		}
	}
	stopPublisher, stopSubscriber := start(t, publisher.App), start(t, subscriber.App)
	publisher.settled(t)
	subscriber.settled(t)
	stopPublisher()
	stopSubscriber()
	for _, id := range ids {
		if _, ok := handled.Load(id); !ok {
			t.Errorf("event %s was lost", id)
		}
	}
	if n := runs.Load(); n != int64(len(ids)) {
		t.Errorf("handlers ran %d times for %d events", n, len(ids))
	}
}

func TestAHandlerThatOverstaysIsCancelledAndTriedAgain(t *testing.T) {
	n := newNode(t, toot.Options{DrainTimeout: 50 * time.Millisecond}, false)
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: n.url + "/subscriptions"}))
	began := make(chan struct{}, 1)
	var again recorder
	var cancelled atomic.Bool
	must(t, n.Subscribe("publisher", "a", toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
		if cancelled.Load() {
			return again.HandleEvent(ctx, e)
		}
		began <- struct{}{}
		<-ctx.Done()
		cancelled.Store(true)
		return ctx.Err()
	})))
	must(t, n.RegisterSubscriptions(t.Context()))
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan error, 1)
	go func() { result <- n.Run(ctx) }()
	_, err := n.Publish(t.Context(), "a", nil)
	must(t, err)
	<-began
	if err := n.Run(ctx); !errors.Is(err, toot.ErrRunning) {
		t.Errorf("a second Run: %v", err)
	}
	cancel()
	if err := <-result; err == nil || !strings.Contains(err.Error(), "cancelled") {
		t.Errorf("Run = %v, want to be told that something was cancelled", err)
	}
	stop := start(t, n.App)
	if e := again.wait(t, 1)[0]; e.Attempt != 1 {
		t.Errorf("the stop cost the event a retry: attempt %d", e.Attempt)
	}
	stop()
}

func TestHandlerTimeout(t *testing.T) {
	n := newNode(t, toot.Options{RetryDelay: quickRetries}, true)
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: n.url + "/subscriptions"}))
	var got recorder
	must(t, n.AddSubscription(toot.Subscription{Source: "publisher", Channel: "a", Timeout: 30 * time.Millisecond, Handler: toot.HandlerFunc(
		func(ctx context.Context, e *toot.Event) error {
			if e.Attempt == 1 {
				<-ctx.Done()
				return context.Cause(ctx)
			}
			return got.HandleEvent(ctx, e)
		})}))
	must(t, n.RegisterSubscriptions(t.Context()))
	_, err := n.Publish(t.Context(), "a", nil)
	must(t, err)
	got.wait(t, 1)
}

func TestLongHandlersKeepTheirLease(t *testing.T) {
	n := newNode(t, toot.Options{RequestTimeout: 100 * time.Millisecond}, true) // leases of 2 s
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: n.url + "/subscriptions"}))
	var runs atomic.Int64
	must(t, n.Subscribe("publisher", "a", toot.HandlerFunc(func(ctx context.Context, _ *toot.Event) error {
		runs.Add(1)
		select {
		case <-time.After(5 * time.Second): // longer than two leases
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	})))
	must(t, n.RegisterSubscriptions(t.Context()))
	_, err := n.Publish(t.Context(), "a", nil)
	must(t, err)
	eventually(t, "the handler runs", func() bool { return runs.Load() > 0 })
	n.settled(t)
	if runs.Load() != 1 {
		t.Errorf("the handler ran %d times", runs.Load())
	}
}

func TestOneAtATimeKeepsTheOrder(t *testing.T) {
	n := newNode(t, toot.Options{}, true)
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: n.url + "/subscriptions"}))
	var got recorder
	must(t, n.AddSubscription(toot.Subscription{Source: "publisher", Channel: "a", Concurrency: 1, Handler: &got}))
	const events = 200
	for i := range events {
		a := n.request(t, "POST", "/callbacks", fmt.Sprintf(`{"id":"e%d","channel":"a","payload":%d}`, i, i))
		if a.status != 200 {
			t.Fatal(a)
		}
	}
	for i, e := range got.wait(t, events) {
		if string(e.Payload) != fmt.Sprint(i) {
			t.Fatalf("event %s came at place %d", e.Payload, i)
		}
	}
}

// A handler that hangs keeps nothing but its own event from another process.
func TestWhatWaitsBehindAHandlerThatHangsIsHandledElsewhere(t *testing.T) {
	path := filepath.Join(t.TempDir(), "toot.db")
	release := make(chan struct{})
	defer close(release)
	var got recorder
	handlers := []toot.Handler{toot.HandlerFunc(func(context.Context, *toot.Event) error {
		<-release
		return nil
	}), &got}
	nodes := make([]*node, len(handlers))
	for i, h := range handlers {
		n := newNodeOn(t, must2(sqliteengine.Open(path, nil)), toot.Options{}, false)
		must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: n.url + "/subscriptions"}))
		must(t, n.AddSubscription(toot.Subscription{Source: "publisher", Channel: "a", Name: "work", Concurrency: 1, Handler: h}))
		nodes[i] = n
	}
	nodes[0].stop = start(t, nodes[0].App)
	const events = 10
	for i := range events {
		if a := nodes[0].request(t, "POST", "/callbacks", fmt.Sprintf(`{"id":"e%d","channel":"a"}`, i)); a.status != 200 {
			t.Fatal(a)
		}
	}
	nodes[1].stop = start(t, nodes[1].App)
	for i, e := range got.wait(t, events-1) {
		if e.ID != fmt.Sprint("e", i+1) {
			t.Errorf("%s came at place %d", e.ID, i)
		}
	}
}

// Handlers that are slow share the events between processes, too.
func TestTwoProcessesShareTheEventsOfASlowHandler(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		var got [2]runs
		processes := [2]*process{}
		for i := range got {
			processes[i] = b.launch(fmt.Sprint("subscriber", i), store, toot.Options{}, func(app *toot.App) {
				must(b, app.AddSource("publisher", toot.Source{SubscriptionURL: "http://publisher/subscriptions"}))
				must(b, app.AddSubscription(toot.Subscription{Source: "publisher", Channel: "a", Name: "work", Concurrency: 1,
					Handler: toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
						time.Sleep(1500 * time.Millisecond)
						return got[i].HandleEvent(ctx, e)
					})}))
			})
		}
		time.Sleep(10 * time.Second) // they have been idle
		for i := range 16 {
			res := httptest.NewRecorder()
			req := httptest.NewRequest("POST", "/callbacks", strings.NewReader(fmt.Sprintf(`{"id":"e%d","channel":"a"}`, i)))
			if processes[0].HandlerService().ServeHTTP(res, req); res.Code != 200 {
				b.Fatal(res.Code)
			}
		}
		took := b.within(30*time.Second, "16 events handled", func() bool { return got[0].all()+got[1].all() == 16 })
		if took > 16*time.Second { // one would take 24 s
			b.Errorf("they took %v", took)
		}
		if one, other := got[0].all(), got[1].all(); min(one, other) < 5 {
			b.Errorf("one handled %d events, the other %d", one, other)
		}
	})
}

// A process does not sit on more work than it does soon: another that comes
// to help finds something to do.
func TestAnotherProcessFindsSomethingToDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "toot.db")
	var done [2]atomic.Int32
	nodes := make([]*node, len(done))
	for i := range nodes {
		eng, err := sqliteengine.Open(path, nil)
		must(t, err)
		n := newNodeOn(t, eng, toot.Options{}, false)
		must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: n.url + "/subscriptions"}))
		must(t, n.AddSubscription(toot.Subscription{Source: "publisher", Channel: "a", Name: "work", Concurrency: 1,
			Handler: toot.HandlerFunc(func(context.Context, *toot.Event) error {
				time.Sleep(10 * time.Millisecond)
				done[i].Add(1)
				return nil
			})}))
		nodes[i] = n
	}
	nodes[0].stop = start(t, nodes[0].App)
	const events = 300
	for i := range events {
		if a := nodes[0].request(t, "POST", "/callbacks", fmt.Sprintf(`{"id":"e%d","channel":"a"}`, i)); a.status != 200 {
			t.Fatal(a)
		}
	}
	left := events - done[0].Load() // a busy machine takes long to take them in
	nodes[1].stop = start(t, nodes[1].App)
	nodes[0].settled(t)
	first, second := done[0].Load(), done[1].Load()
	if first+second != events || second < left/5 {
		t.Errorf("of %d events the first process did %d, the second, which came when %d were left, %d", events, first, left, second)
	}
}

func TestRatePerURL(t *testing.T) {
	peer := newEndpoint(t, nil)
	n := newNode(t, toot.Options{MaxRatePerURL: 50}, true)
	n.add(t, "a", peer.URL)
	began := time.Now()
	const events = 20
	for range events {
		_, err := n.Publish(t.Context(), "a", nil)
		must(t, err)
	}
	n.settled(t)
	if took := time.Since(began); took < (events-1)*20*time.Millisecond {
		t.Errorf("%d requests were made in %v, at 50 a second", events, took)
	}
}

func TestAFullBacklogIsAnsweredWith503(t *testing.T) {
	n := newNode(t, toot.Options{MaxBacklog: 10}, false)
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: "http://127.0.0.1:1/"}))
	var got recorder
	must(t, n.Subscribe("publisher", "a", &got))
	sent := 0
	eventually(t, "an event is turned away", func() bool {
		a := n.request(t, "POST", "/callbacks", fmt.Sprintf(`{"id":"e%d","channel":"a"}`, sent))
		if a.status == 503 {
			a.isProblem(t, "backlog")
			if a.header.Get("Retry-After") == "" {
				t.Error("without Retry-After")
			}
			return true
		}
		if a.status != 200 {
			t.Fatalf("%+v", a)
		}
		sent++
		return false
	})
	if sent < 10 {
		t.Errorf("after only %d events", sent)
	}
	stop := start(t, n.App)
	defer stop()
	got.wait(t, sent)
	eventually(t, "events are accepted again", func() bool {
		return n.request(t, "POST", "/callbacks", `{"id":"last","channel":"a"}`).status == 200
	})
}

func TestCredentialsStayOutOfTheLog(t *testing.T) {
	var log lockedBuffer
	peer := newEndpoint(t, status(500))
	user := make(chan string, 100)
	auth := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name, password, _ := r.BasicAuth()
		user <- name + ":" + password
		w.WriteHeader(500)
	}))
	t.Cleanup(auth.Close)
	n := newNode(t, toot.Options{RetryDelay: func(int) time.Duration { return 0 }, MaxRetries: 3,
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}, true)
	for _, url := range []string{
		strings.Replace(auth.URL, "http://", "http://someone:s3cret@", 1),
		peer.URL + "?token=s3cret",
		"http://someone:s3cret@127.0.0.1:1/",
	} {
		a := n.request(t, "POST", "/subscriptions", fmt.Sprintf(`{"callback_url":%q,"channel":"a"}`, url))
		if a.status != 201 {
			t.Fatal(a)
		}
	}
	_, err := n.Publish(t.Context(), "a", nil)
	must(t, err)
	if got := <-user; got != "someone:s3cret" {
		t.Errorf("the credentials of the URL were sent as %q", got)
	}
	eventually(t, "three dead letters", func() bool {
		letters, err := n.DeadLetters(context.Background(), engine.DeadQuery{})
		must(t, err)
		for _, l := range letters {
			if strings.Contains(l.Reason+l.RedactedLane+l.Tries[0].Error, "s3cret") {
				t.Errorf("dead letter shows a secret: %+v", l)
			}
		}
		return len(letters) == 3
	})
	n.stop()
	if text := log.String(); strings.Contains(text, "s3cret") || !strings.Contains(text, "redacted") {
		t.Errorf("log:\n%s", text)
	}
}

// lockedBuffer is a bytes.Buffer for several goroutines.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}
