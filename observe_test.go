package toot_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
)

// tracer is an observer that makes each step a child of the one before, as
// tracing would.
type tracer struct {
	mu    sync.Mutex
	steps []string
	app   *toot.App // asked in the middle of a step
}

func (o *tracer) Begin(ctx context.Context, s *toot.Step) (context.Context, func(toot.StepResult)) {
	parent := s.Header.Get("Traceparent")
	s.Header.Set("Traceparent", strings.TrimPrefix(parent+">"+string(s.Name), ">"))
	s.Header.Set("Baggage", "kept")
	s.Header.Set("X-Other", "not kept")
	name, id, channel, lane := s.Name, s.EventID, s.Channel, s.Lane
	var body toot.Event
	wasWhole := body.UnmarshalJSON(s.Body) == nil && body.ID == id && body.Channel == channel
	return context.WithValue(ctx, tracerKey{}, parent), func(r toot.StepResult) {
		if o.app != nil {
			_, _ = o.app.Stats(context.Background()) // must not deadlock
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		if id == "" || channel == "" || !wasWhole || (lane == "") != (name == toot.StepPublish || name == toot.StepReceive) {
			o.steps = append(o.steps, "incomplete step "+string(name))
		}
		o.steps = append(o.steps, string(name)+" "+string(r.Outcome)+" "+parent)
	}
}

type tracerKey struct{}

func (o *tracer) all() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.steps)
}

func TestATraceFollowsTheEvent(t *testing.T) {
	var published, subscribed tracer
	publisher := newNode(t, toot.Options{ChannelPrefix: prefix, Observer: &published}, true)
	subscriber := newNode(t, toot.Options{Observer: &subscribed, RetryDelay: quickRetries}, true)
	published.app, subscribed.app = publisher.App, subscriber.App
	parents := make(chan any, 2)
	subscriber.subscribe(t, publisher, "a", toot.HandlerFunc(func(ctx context.Context, e *toot.Event) error {
		parents <- ctx.Value(tracerKey{})
		if e.Attempt == 1 {
			return context.Canceled
		}
		return nil
	}))
	_, err := publisher.Publish(t.Context(), "a", nil)
	must(t, err)
	publisher.settled(t)
	subscriber.settled(t)
	for range 2 {
		if p := <-parents; p != "publish>deliver>receive" {
			t.Errorf("the handler's step came after %v", p)
		}
	}
	eventually(t, "the steps are told of", func() bool { return len(published.all()) == 2 && len(subscribed.all()) == 3 })
	if got := published.all(); !slices.Equal(got, []string{"publish ok ", "deliver ok publish"}) {
		t.Errorf("publisher's steps: %q", got)
	}
	// A handler may be quicker than the answer to the callback.
	got := subscribed.all()
	slices.SortStableFunc(got, func(a, b string) int { return strings.Compare(b[:1], a[:1]) })
	if !slices.Equal(got, []string{"receive ok publish>deliver", "handle retry publish>deliver>receive", "handle ok publish>deliver>receive"}) {
		t.Errorf("subscriber's steps: %q", got)
	}
}

// What an app puts into its baggage is for its own hosts; a trace's context is
// for all.
func TestBaggageGoesToHostsOfOnesOwnOnly(t *testing.T) {
	for _, own := range [][]string{nil, {"localhost"}} {
		var mu sync.Mutex
		got := map[string]http.Header{} // by host
		endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			mu.Lock()
			defer mu.Unlock()
			host, _, _ := net.SplitHostPort(r.Host)
			got[host] = r.Header
		}))
		publisher := newNode(t, toot.Options{ChannelPrefix: prefix, Observer: &tracer{}, BaggageHosts: own}, true)
		publisher.add(t, prefix+"a", endpoint.URL)
		publisher.add(t, prefix+"a", strings.Replace(endpoint.URL, "127.0.0.1", "localhost", 1))
		must2(publisher.Publish(t.Context(), "a", nil))
		publisher.settled(t)
		publisher.stop()
		endpoint.Close()
		for host, baggage := range map[string]string{"127.0.0.1": "", "localhost": strings.Repeat("kept", len(own))} {
			if h := got[host]; h.Get("Baggage") != baggage || h.Get("Traceparent") != "publish>deliver" {
				t.Errorf("with %q as its own, %s got %v", own, host, h)
			}
		}
	}
	n := newNode(t, toot.Options{}, false)
	for _, bad := range []string{"", "https://shop.internal", "shop.internal:80", "*", "::1%lo", "a b"} {
		if _, err := toot.New(n.engine, &toot.Options{BaggageHosts: []string{bad}}); err == nil || !strings.Contains(err.Error(), "BaggageHosts") {
			t.Errorf("New with %q: %v", bad, err)
		}
	}
}

func TestATracePassesThroughAnAppThatDoesNotTrace(t *testing.T) {
	const trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	n := newNode(t, toot.Options{}, false)
	must(t, n.AddSource("publisher", toot.Source{SubscriptionURL: n.url + "/subscriptions"}))
	must(t, n.Subscribe("publisher", "a", &recorder{}))
	a := n.request(t, "POST", "/callbacks", `{"id":"1","channel":"a"}`, "Traceparent", trace, "X-Other", "x", "Tracestate", strings.Repeat("x", 2000))
	if a.status != 200 {
		t.Fatal(a)
	}
	res, err := n.engine.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Handle, Max: 1, MaxPerLane: 1, Lease: time.Minute})
	must(t, err)
	if len(res.Jobs) != 1 || string(res.Jobs[0].Event.Meta) != "Traceparent: "+trace+"\n" {
		t.Errorf("kept %+v", res.Jobs)
	}
}

func TestObserversAreAllTold(t *testing.T) {
	var told []string
	observer := func(name string, ends bool) toot.Observer {
		return observerFunc(func(ctx context.Context, s *toot.Step) (context.Context, func(toot.StepResult)) {
			told = append(told, name)
			s.Header.Add("Baggage", name)
			if !ends {
				return ctx, nil
			}
			return context.WithValue(ctx, tracerKey{}, name), func(r toot.StepResult) { told = append(told, name+" "+string(r.Outcome)) }
		})
	}
	both := toot.Observers(observer("a", true), nil, observer("b", false), observer("c", true))
	step := &toot.Step{Name: toot.StepPublish, Header: http.Header{}}
	ctx, end := both.Begin(t.Context(), step)
	end(toot.StepResult{Outcome: toot.OutcomeOK})
	if want := []string{"a", "b", "c", "c ok", "a ok"}; !slices.Equal(told, want) {
		t.Errorf("told %q, want %q", told, want)
	}
	if ctx.Value(tracerKey{}) != "c" || len(step.Header["Baggage"]) != 3 {
		t.Errorf("the context is %v's, the header %v", ctx.Value(tracerKey{}), step.Header)
	}
}

type observerFunc func(context.Context, *toot.Step) (context.Context, func(toot.StepResult))

func (f observerFunc) Begin(ctx context.Context, s *toot.Step) (context.Context, func(toot.StepResult)) {
	return f(ctx, s)
}

func TestStatsAndHealth(t *testing.T) {
	peer := newEndpoint(t, status(500))
	n := newNode(t, toot.Options{RequestTimeout: time.Second, MaxRetries: 1000, RetryDelay: quickRetries}, false)
	n.add(t, "a", strings.Replace(peer.URL, "http://", "http://u:s3cret@", 1))
	if h := n.Health(t.Context()); h.OK || h.Running || h.Store != nil || h.String() != "not running" {
		t.Errorf("before Run: %+v", h)
	}
	for range 20 {
		_, err := n.Publish(t.Context(), "a", nil)
		must(t, err)
	}
	stats := must2(n.Stats(t.Context()))
	if len(stats.Lanes) != 1 || stats.Waiting != 20 || stats.InFlight != 0 || stats.Lanes[0].Circuit != "new" || strings.Contains(stats.Lanes[0].Name, "s3cret") {
		t.Errorf("before Run: %+v", stats)
	}
	stop := start(t, n.App)
	eventually(t, "healthy", func() bool { return n.Health(t.Context()).OK })
	eventually(t, "the circuit is open", func() bool { return must2(n.Stats(t.Context())).Lanes[0].Circuit == "open" })
	stats = must2(n.Stats(t.Context()))
	if l := stats.Lanes[0]; l.Limit != 1 || l.Retrying == 0 || l.Waiting+l.InFlight != 20 || l.Oldest <= 0 || stats.Retrying != l.Retrying {
		t.Errorf("with the circuit open: %+v", stats)
	}
	peer.set(nil)
	eventually(t, "the circuit is closed again", func() bool { _, events := peer.count(); return events == 20 })
	n.settled(t)
	if stats = must2(n.Stats(t.Context())); stats.Waiting+stats.InFlight+stats.Dead != 0 {
		t.Errorf("at the end: %+v", stats)
	}
	stop()
	must(t, n.engine.Close())
	if h := n.Health(t.Context()); h.OK || h.Store == nil || !strings.Contains(h.String(), "store") {
		t.Errorf("without a store: %+v", h)
	}
}

func TestWaitingForASubscriptionThatIsGoneShows(t *testing.T) {
	n := newNode(t, toot.Options{}, true)
	_, err := n.engine.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{{Event: &engine.Event{ID: "1", Body: []byte("{}")}, Lane: engine.Lane{Kind: engine.Handle, Name: "gone"}}}})
	must(t, err)
	if lanes := must2(n.Stats(t.Context())).Lanes; len(lanes) != 1 || !lanes[0].Unhandled || lanes[0].Waiting != 1 {
		t.Errorf("%+v", lanes)
	}
}
