package toot_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
	"github.com/watermarkchurch/toot-go/signing"
)

// The tests of this file have several processes of a subscriber, of different
// releases, on one store and behind one callback URL. Which of them gets the
// next request a test decides.

// store is a store that several processes open.
type store interface {
	engine.Engine
	engine.Inspector
	engine.Attributes
}

// onSharedStores runs a test on each kind of store that processes can share.
func onSharedStores(t *testing.T, run func(t *testing.T, open func() store)) {
	t.Run("sqlite", func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "toot.db")
		run(t, func() store {
			eng, err := sqliteengine.Open(path, nil)
			must(t, err)
			t.Cleanup(func() { must(t, eng.Close()) })
			return eng
		})
	})
	t.Run("redis", func(t *testing.T) {
		server := redistest.Start(t)
		run(t, func() store {
			eng, err := redisengine.Open(t.Context(), server.URL(), &redisengine.Options{Namespace: "rolling"})
			must(t, err)
			t.Cleanup(func() { must(t, eng.Close()) })
			return eng
		})
	})
}

// fleet is the processes of a subscriber, and its publisher.
type fleet struct {
	publisher *node
	open      func() store
	url       string // the callback URL
	next      atomic.Pointer[http.Handler]
}

func newFleet(t *testing.T, open func() store) *fleet {
	t.Helper()
	f := &fleet{open: open, publisher: newNode(t, toot.Options{ChannelPrefix: prefix, RetryDelay: quickRetries}, true)}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		(*f.next.Load()).ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	f.url = server.URL
	return f
}

// member is one process of a fleet.
type member struct {
	*toot.App
	fleet   *fleet
	service http.Handler
	stop    func()
}

// deploy starts a process that has subscriptions to some channels, by their
// names. It takes the requests from now on if it serves.
func (f *fleet) deploy(t *testing.T, opts toot.Options, secrets []string, subscriptions ...toot.Subscription) *member {
	t.Helper()
	m := f.prepare(t, opts, secrets, subscriptions...)
	m.stop = start(t, m.App)
	t.Cleanup(m.stop)
	return m
}

// prepare is deploy for a process that does not run.
func (f *fleet) prepare(t *testing.T, opts toot.Options, secrets []string, subscriptions ...toot.Subscription) *member {
	t.Helper()
	opts.CallbackURL = f.url
	opts.RetryDelay = quickRetries
	if opts.Logger == nil {
		opts.Logger = slog.New(slog.DiscardHandler)
	}
	eng := f.open()
	app, err := toot.New(eng, &opts)
	must(t, err)
	must(t, app.AddSource("publisher", toot.Source{SubscriptionURL: f.publisher.url + "/subscriptions", ChannelPrefix: prefix, SigningSecrets: secrets}))
	for _, s := range subscriptions {
		s.Source = "publisher"
		must(t, app.AddSubscription(s))
	}
	m := &member{App: app, fleet: f, service: app.HandlerService()}
	t.Cleanup(func() { must(t, app.Close()) })
	return m
}

// serves makes a process get the requests from now on.
func (m *member) serves() { m.fleet.next.Store(&m.service) }

// publish publishes n events on a channel and returns their IDs.
func (f *fleet) publish(t *testing.T, channel string, n int) (ids []string) {
	t.Helper()
	for i := range n {
		ids = append(ids, must2(f.publisher.Publish(t.Context(), channel, i)).ID)
	}
	return ids
}

// isSubscribed says whether the publisher sends a channel's events.
func (f *fleet) isSubscribed(t *testing.T, channel string) bool {
	t.Helper()
	return len(must2(f.publisher.engine.Subscribers(t.Context(), prefix+channel))) == 1
}

// once checks that a handler has run once for each event.
func once(t *testing.T, what string, r *recorder, ids []string) {
	t.Helper()
	r.wait(t, len(ids))
	runs := map[string]int{}
	for _, e := range r.all() {
		runs[e.ID]++
	}
	for _, id := range ids {
		if runs[id] != 1 {
			t.Errorf("%s: event %s was handled %d times", what, id, runs[id])
		}
	}
	if len(runs) != len(ids) {
		t.Errorf("%s: %d events were handled, want %d", what, len(runs), len(ids))
	}
}

func sub(channel string, h toot.Handler) toot.Subscription {
	return toot.Subscription{Channel: channel, Handler: h}
}

// callback sends an event to a process.
func (m *member) callback(t *testing.T, channel, id string) answer {
	t.Helper()
	return m.post(t, fmt.Sprintf(`{"id":%q,"channel":%q}`, id, prefix+channel))
}

func (m *member) post(t *testing.T, body string, headers ...string) answer {
	t.Helper()
	req := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/", strings.NewReader(body))
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	m.service.ServeHTTP(w, req)
	return answer{status: w.Code, header: w.Header(), body: w.Body.String()}
}

func (a answer) unsubscribes() bool { return a.header["X-Toot-Unsubscribe"] != nil }

// A new release subscribes to a new channel, and once more to an old one. All
// events still reach a process of the old release.
func TestRollingForwardLosesNothing(t *testing.T) {
	onSharedStores(t, func(t *testing.T, open func() store) {
		f := newFleet(t, open)
		var oldA, newA, again, b recorder
		one := f.deploy(t, toot.Options{}, nil, sub("a", &oldA))
		one.serves()
		must(t, one.RegisterSubscriptions(t.Context()))
		first := f.publish(t, "a", 10)
		once(t, "before", &oldA, first)

		two := f.deploy(t, toot.Options{}, nil, sub("a", &newA), sub("a", &again), sub("b", &b))
		must(t, two.RegisterSubscriptions(t.Context()))
		onA, onB := f.publish(t, "a", 50), f.publish(t, "b", 50)
		f.publisher.settled(t)
		once(t, "the new channel", &b, onB)
		once(t, "the second subscription", &again, onA)
		eventually(t, "the first subscription", func() bool { return len(oldA.all())+len(newA.all()) >= 60 })
		if !f.isSubscribed(t, "a") || !f.isSubscribed(t, "b") {
			t.Error("the publisher was told to stop")
		}
		one.stop()
		two.serves()
		onB = append(onB, f.publish(t, "b", 10)...)
		once(t, "the new channel, after the old release", &b, onB)
	})
}

// The new release is taken back while events of its channel wait and others
// come; later it is deployed again.
func TestRollingBackKeepsWhatTheNewReleaseSubscribedTo(t *testing.T) {
	onSharedStores(t, func(t *testing.T, open func() store) {
		f := newFleet(t, open)
		var a, b recorder
		one := f.deploy(t, toot.Options{}, nil, sub("a", &a))
		broken := f.deploy(t, toot.Options{}, nil, sub("a", &a), sub("b", toot.HandlerFunc(func(context.Context, *toot.Event) error {
			return toot.RetryAfter(time.Millisecond, errors.New("broken"))
		})))
		broken.serves()
		must(t, broken.RegisterSubscriptions(t.Context()))
		onB := f.publish(t, "b", 10)
		f.publisher.settled(t)
		broken.stop()
		one.serves()
		onB = append(onB, f.publish(t, "b", 10)...)
		onA := f.publish(t, "a", 10)
		f.publisher.settled(t)
		once(t, "what the old release has", &a, onA)
		if !f.isSubscribed(t, "b") || len(b.all()) != 0 {
			t.Error("the publisher was told to stop")
		}
		f.deploy(t, toot.Options{}, nil, sub("a", &a), sub("b", &b))
		once(t, "the channel of the new release", &b, onB)
	})
}

// A release that has a handler no more takes its events in while processes of
// the old one may be about; then the subscription is retired.
func TestARemovedHandlerIsRetired(t *testing.T) {
	onSharedStores(t, func(t *testing.T, open func() store) {
		const soon = 400 * time.Millisecond
		f := newFleet(t, open)
		var a, b, c recorder
		var log lockedBuffer
		logged := toot.Options{RetireSubscriptionsAfter: soon, Logger: slog.New(slog.NewTextHandler(&log, nil))}
		old := f.deploy(t, toot.Options{RetireSubscriptionsAfter: time.Minute}, nil, sub("a", &a), sub("b", &b))
		old.serves()
		must(t, old.RegisterSubscriptions(t.Context()))
		once(t, "while it is there", &b, f.publish(t, "b", 3))
		older := f.deploy(t, logged, nil, sub("a", &a), sub("b", &b), sub("c", &c)) // the same, but soon to be retired
		older.serves()
		must(t, older.RegisterSubscriptions(t.Context()))
		older.stop()
		f.publish(t, "c", 3) // taken in by a process that has ended its work
		f.publisher.settled(t)
		next := f.deploy(t, logged, nil, sub("a", &a))
		next.serves()
		eventually(t, "the warning", func() bool { return strings.Contains(log.String(), "retired") })
		if line := log.String(); !strings.Contains(line, "level=WARN") || !strings.Contains(line, "subscription="+prefix+"c") || !strings.Contains(line, "waiting=3") || strings.Count(line, "retired") != 1 {
			t.Errorf("logged %s", line)
		}
		stats := must2(next.Stats(t.Context()))
		if len(stats.Lanes) != 1 || !stats.Lanes[0].Unhandled || stats.Lanes[0].Name != prefix+"c" || stats.Lanes[0].Waiting != 3 {
			t.Errorf("what waits stays, and is shown: %+v", stats.Lanes)
		}
		f.publish(t, "c", 1)
		eventually(t, "the publisher stops", func() bool { return !f.isSubscribed(t, "c") })
		f.publisher.settled(t)
		if !f.isSubscribed(t, "b") {
			t.Error("a subscription that another release has was retired")
		}

		// What waits is moved, or discarded.
		if _, _, err := next.MoveUnhandled(t.Context(), prefix+"c", "nobody"); !errors.Is(err, toot.ErrUnknownSubscription) {
			t.Errorf("moved to nobody: %v", err)
		}
		if _, _, err := next.DiscardUnhandled(t.Context(), prefix+"b"); !errors.Is(err, toot.ErrHandled) {
			t.Errorf("discarded what a process handles: %v", err)
		}
		moved, left, err := next.MoveUnhandled(t.Context(), prefix+"c", prefix+"a")
		if moved != 3 || left != 0 || err != nil {
			t.Errorf("moved %d, left %d, %v", moved, left, err)
		}
		a.wait(t, 3)
		if discarded, left, err := next.DiscardUnhandled(t.Context(), prefix+"c"); discarded+left != 0 || err != nil {
			t.Errorf("then discarded %d, left %d, %v", discarded, left, err)
		}
		if len(c.all()) != 0 {
			t.Error("a handler that is gone ran")
		}
	})
}

// A process that neither runs nor registers tells the others with its first
// request; one without subscriptions takes events in for the others.
func TestAProcessThatNeverRegisters(t *testing.T) {
	onSharedStores(t, func(t *testing.T, open func() store) {
		f := newFleet(t, open)
		var a, b recorder
		old := f.prepare(t, toot.Options{}, nil, sub("a", &a))
		web := f.prepare(t, toot.Options{}, nil, sub("a", &a), sub("b", &b))
		bare := f.prepare(t, toot.Options{}, nil)
		if answer := old.callback(t, "b", "before"); !answer.unsubscribes() {
			t.Errorf("before anybody has it: %+v", answer)
		}
		if answer := web.callback(t, "a", "first"); answer.status != 200 || answer.unsubscribes() {
			t.Errorf("its own channel: %+v", answer)
		}
		for i, m := range []*member{old, bare} {
			for _, channel := range []string{"a", "b"} {
				if answer := m.callback(t, channel, fmt.Sprint(channel, i)); answer.status != 200 || answer.unsubscribes() {
					t.Errorf("process %d, channel %s: %+v", i, channel, answer)
				}
			}
			req := httptest.NewRequestWithContext(t.Context(), http.MethodOptions, "/", nil)
			for channel, want := range map[string]int{prefix + "b": 200, "": 200, "nobody": 403} {
				req.Header.Set("WebHook-Request-Origin", "publisher.example.org")
				req.Header.Set("X-Toot-Channel", channel)
				w := httptest.NewRecorder()
				m.service.ServeHTTP(w, req)
				if w.Code != want {
					t.Errorf("process %d, OPTIONS of channel %q: %d, want %d", i, channel, w.Code, want)
				}
			}
		}
		m := f.deploy(t, toot.Options{}, nil, sub("a", &a), sub("b", &b))
		m.serves()
		once(t, "a", &a, []string{"first", "a0", "a1"})
		once(t, "b", &b, []string{"b0", "b1"})
	})
}

// What must be signed and can't be checked here is neither taken nor turned
// away for good.
func TestAnEventThatAProcessCantCheckIsLeftToOthers(t *testing.T) {
	onSharedStores(t, func(t *testing.T, open func() store) {
		f := newFleet(t, open)
		secret := signing.NewSecret()
		var a, b recorder
		knows := f.prepare(t, toot.Options{}, []string{secret}, sub("a", &a)) // has the secrets, but not the subscription to b
		lacks := f.prepare(t, toot.Options{}, nil, sub("a", &a))
		bare := f.prepare(t, toot.Options{}, nil)
		two := f.deploy(t, toot.Options{}, []string{secret}, sub("a", &a), sub("b", &b))
		two.serves()
		must(t, two.RegisterSubscriptions(t.Context()))

		for i, m := range []*member{lacks, bare} {
			for _, channel := range []string{"a", "b"} {
				event := fmt.Sprintf(`{"id":"forged","channel":%q}`, prefix+channel)
				if answer := m.post(t, event); answer.status != 503 || answer.unsubscribes() {
					t.Errorf("process %d took an event on %s: %+v", i, channel, answer)
				}
				answer := m.post(t, "["+event+"]", "Content-Type", "application/vnd.toot.batch+json")
				if answer.status != 200 || !strings.Contains(answer.body, `"status":503`) || strings.Contains(answer.body, "unsubscribe") {
					t.Errorf("process %d took a batch on %s: %+v", i, channel, answer)
				}
			}
		}
		if answer := knows.callback(t, "b", "forged"); answer.status != 401 || answer.unsubscribes() {
			t.Errorf("a process with the secrets took an event that is not signed: %+v", answer)
		}
		knows.serves()
		ids := f.publish(t, "b", 20)
		f.publisher.settled(t)
		once(t, "events that are signed, by way of a process without the subscription", &b, ids)

		// From process to process, until one can check it.
		var turn atomic.Int64
		members := []*member{bare, lacks, two}
		var each http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			members[int(turn.Add(1))%len(members)].service.ServeHTTP(w, r)
		})
		f.next.Store(&each)
		ids = append(ids, f.publish(t, "b", 5)...)
		once(t, "events that reach each process in turn", &b, ids)
		if !f.isSubscribed(t, "a") || !f.isSubscribed(t, "b") || len(a.all()) != 0 {
			t.Error("the publisher was told to stop, or what was forged was handled")
		}
	})
}

// counting counts how often a store is asked for subscriptions.
type counting struct {
	store
	asked atomic.Int64
	fails atomic.Bool
}

func (c *counting) Attributes(ctx context.Context, group string) (map[string]engine.Attribute, error) {
	c.asked.Add(1)
	if c.fails.Load() {
		return nil, errors.New("out of reach")
	}
	return c.store.Attributes(ctx, group)
}

// While it is not known whether another process has a subscription, nobody is
// told that there is none.
func TestWithoutAStoreNobodyIsUnsubscribed(t *testing.T) {
	eng, err := sqliteengine.Open(filepath.Join(t.TempDir(), "toot.db"), nil)
	must(t, err)
	t.Cleanup(func() { must(t, eng.Close()) })
	c := &counting{store: eng}
	f := newFleet(t, func() store { return c })
	var a recorder
	m := f.prepare(t, toot.Options{}, nil, sub("a", &a))
	c.fails.Store(true)
	for name, body := range map[string]string{"an event": `{"id":"1","channel":"other"}`, "a batch": `[{"id":"1","channel":"other"},{"id":"2","channel":"others"}]`} {
		headers := []string{}
		if body[0] == '[' {
			headers = []string{"Content-Type", "application/vnd.toot.batch+json"}
		}
		if answer := m.post(t, body, headers...); answer.status != 503 || answer.unsubscribes() || answer.header.Get("Retry-After") == "" {
			t.Errorf("%s: %+v", name, answer)
		}
	}
	if answer := m.callback(t, "a", "3"); answer.status != 200 {
		t.Errorf("an event of its own: %+v", answer)
	}
	if err := m.RegisterSubscriptions(t.Context()); err == nil || f.isSubscribed(t, "a") {
		t.Errorf("registered before the others can know: %v", err)
	}
	c.fails.Store(false)
	eventually(t, "registering again", func() bool { return m.RegisterSubscriptions(t.Context()) == nil })
	if answer := m.post(t, `{"id":"1","channel":"other"}`); !answer.unsubscribes() {
		t.Errorf("with the store back: %+v", answer)
	}
}

// A removal that an answer asked for is seen at the default level.
func TestARemovalIsAWarning(t *testing.T) {
	var log lockedBuffer
	n := newNode(t, toot.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelWarn}))}, true)
	peer := newEndpoint(t, func(w http.ResponseWriter, _ int) { w.Header().Set("X-Toot-Unsubscribe", "True") })
	n.add(t, "a", peer.URL)
	must2(n.Publish(t.Context(), "a", nil))
	n.settled(t)
	if line := log.String(); !strings.Contains(line, "level=WARN") || !strings.Contains(line, "channel=a") || !strings.Contains(line, peer.URL) {
		t.Errorf("logged %q", line)
	}
}
