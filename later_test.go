package toot_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

// arrivals is a handler that remembers when each event came.
type arrivals struct {
	mu sync.Mutex
	at map[string][]time.Time
}

func (a *arrivals) HandleEvent(_ context.Context, e *toot.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.at == nil {
		a.at = map[string][]time.Time{}
	}
	a.at[e.ID] = append(a.at[e.ID], time.Now())
	return nil
}

func (a *arrivals) of(id string) []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.at[id]
}

// came checks that an event came once, at a time or up to a second later.
func (a *arrivals) came(t testing.TB, id string, at time.Time) {
	t.Helper()
	switch got := a.of(id); {
	case len(got) != 1:
		t.Errorf("%s came %d times, want once", id, len(got))
	case got[0].Before(at) || got[0].Sub(at) > time.Second:
		t.Errorf("%s came %v after it was due", id, got[0].Sub(at))
	}
}

func TestAScheduledEventIsSentWhenItIsDue(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		publisher := b.launch("publisher", store, toot.Options{}, nil)
		var got arrivals
		subscriber := b.launch("subscriber", memengine.NewStore(), toot.Options{}, subscribes(b, &got))
		must(b, subscriber.RegisterSubscriptions(b.Context()))

		began := time.Now()
		delays := []time.Duration{0, time.Millisecond, 3 * time.Second, 10 * time.Minute, 2 * time.Hour}
		for _, d := range delays {
			e := must2(publisher.PublishAll(b.Context(),
				toot.Message{Channel: "a", ID: fmt.Sprint("after ", d), After: d},
				toot.Message{Channel: "a", ID: fmt.Sprint("at ", d), At: began.Add(d)}))
			if e[0].Subscribers != 1 || e[1].Timestamp.Sub(began).Abs() > time.Microsecond {
				b.Errorf("Publish returned %+v and %+v", e[0], e[1])
			}
		}
		must2(publisher.PublishAll(b.Context(), toot.Message{Channel: "a", ID: "past", At: began.Add(-time.Hour)}))
		time.Sleep(time.Minute)
		publisher.die() // what waits survives, and another process sends it
		b.launch("publisher", store, toot.Options{}, nil)
		time.Sleep(3 * time.Hour)
		synctest.Wait()
		for _, d := range delays {
			got.came(b, fmt.Sprint("after ", d), began.Add(d))
			got.came(b, fmt.Sprint("at ", d), began.Add(d))
		}
		got.came(b, "past", began)
	})
}

// Those who get a scheduled event are those that are registered when it is sent,
// however many they are.
func TestAScheduledEventGoesToTheSubscribersOfThen(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		publisher := b.launch("publisher", store, toot.Options{}, nil)
		counted := map[string]int{}
		endpoint := func(host string) string {
			b.net.serve(host, http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
				b.mu.Lock()
				defer b.mu.Unlock()
				counted[host]++
			}))
			return "http://" + host + "/callbacks"
		}
		gone := endpoint("gone")
		register(b, "http://publisher/subscriptions", "a", gone)
		must2(publisher.PublishAll(b.Context(), toot.Message{Channel: "a", After: time.Hour}))
		must2(publisher.engine.RemoveSubscriber(b.Context(), "a", gone, 0))
		for i := range 80 {
			register(b, "http://publisher/subscriptions", "a", endpoint(fmt.Sprint("new", i)))
		}
		time.Sleep(2 * time.Hour)
		b.empty(time.Minute, store)
		b.mu.Lock()
		defer b.mu.Unlock()
		if counted["gone"] != 0 || len(counted) != 80 {
			b.Errorf("%d endpoints got it, the one that was removed %d times; want the 80 that came later", len(counted), counted["gone"])
		}
	})
}

func TestAScheduledEventHoldsNothingBack(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		publisher := b.launch("publisher", store, toot.Options{}, nil)
		var got arrivals
		subscriber := b.launch("subscriber", memengine.NewStore(), toot.Options{}, subscribes(b, &got))
		must(b, subscriber.RegisterSubscriptions(b.Context()))
		must2(publisher.PublishAll(b.Context(), toot.Message{Channel: "a", ID: "later", After: time.Hour}))
		began := time.Now()
		for i := range 20 {
			must2(publisher.PublishAll(b.Context(), toot.Message{Channel: "a", ID: fmt.Sprint(i)}))
			synctest.Wait()
		}
		for i := range 20 {
			if at := got.of(fmt.Sprint(i)); len(at) != 1 || at[0].Sub(began) > time.Millisecond {
				b.Fatalf("event %d came at %v, published at %v", i, at, began)
			}
		}
		stats := must2(publisher.Stats(b.Context()))
		if stats.Waiting != 0 || stats.Scheduled != 1 || stats.Oldest != 0 {
			b.Errorf("stats: %+v", stats)
		}
		time.Sleep(30 * time.Minute)
		stats = must2(publisher.Stats(b.Context()))
		if len(stats.Lanes) != 1 || stats.Lanes[0].Scheduled != 1 || stats.Lanes[0].Waiting != 0 || stats.Lanes[0].Oldest != 0 || stats.Lanes[0].Name != "a (scheduled)" {
			b.Errorf("after half an hour: %+v", stats.Lanes)
		}
		publisher.stop() // nobody works any more, so that it becomes overdue
		idle := b.prepare("", store, toot.Options{}, nil)
		time.Sleep(time.Hour)
		stats = must2(idle.Stats(b.Context()))
		if stats.Waiting != 1 || stats.Scheduled != 0 || stats.Oldest < 29*time.Minute || stats.Oldest > 31*time.Minute {
			b.Errorf("half an hour after it was due: %+v", stats)
		}
	})
}

func TestAnIDIsScheduledOnce(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		publisher := b.launch("publisher", store, toot.Options{}, nil)
		var got arrivals
		subscriber := b.launch("subscriber", memengine.NewStore(), toot.Options{}, subscribes(b, &got))
		must(b, subscriber.RegisterSubscriptions(b.Context()))
		began := time.Now()
		publish := func(id string, after time.Duration) {
			must2(publisher.PublishAll(b.Context(), toot.Message{Channel: "a", ID: id, After: after}))
		}
		publish("twice", 4*time.Hour)
		time.Sleep(3 * time.Hour) // longer than the dedupe window
		publish("twice", time.Hour)
		publish("at once, too", 30*time.Minute)
		publish("at once, too", 0)
		atOnce := time.Now()
		publish("later, too", 0)
		publish("later, too", 30*time.Minute)
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		got.came(b, "twice", began.Add(4*time.Hour))
		got.came(b, "at once, too", atOnce)
		got.came(b, "later, too", atOnce)
	})
}

func TestATimeOfSendingIsChecked(t *testing.T) {
	n := newNode(t, toot.Options{}, false)
	for what, m := range map[string]toot.Message{
		"both":         {After: time.Minute, At: time.Now().Add(time.Minute)},
		"too far":      {After: 11 * 365 * 24 * time.Hour},
		"a far time":   {At: time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC)},
		"the farthest": {After: 1<<63 - 1},
	} {
		m.Channel = "a"
		if e, err := n.PublishAll(t.Context(), m); !errors.Is(err, toot.ErrInvalidDelay) || e != nil {
			t.Errorf("%s: %v, %v", what, e, err)
		}
	}
	must2(n.PublishAll(t.Context(), toot.Message{Channel: "a", After: 10 * 365 * 24 * time.Hour}, toot.Message{Channel: "a", After: -time.Minute}))
}

// On real stores: a process stores what is to be sent later and ends, another
// one sends it.
func TestAScheduledEventSurvivesItsProcess(t *testing.T) {
	onSharedStores(t, func(t *testing.T, open func() store) {
		subscriber := newNode(t, toot.Options{}, true)
		var got arrivals
		must(t, subscriber.AddSource("publisher", toot.Source{SubscriptionURL: subscriber.url, ChannelPrefix: prefix}))
		must(t, subscriber.Subscribe("publisher", "a", &got))
		first := must2(toot.New(open(), &toot.Options{ChannelPrefix: prefix}))
		began := time.Now()
		const soon = 1500 * time.Millisecond
		must2(first.PublishAll(t.Context(),
			toot.Message{Channel: "a", ID: "soon", After: soon}, toot.Message{Channel: "a", ID: "much later", After: time.Hour}, toot.Message{Channel: "a", ID: "at"}))
		must(t, first.Close())

		second := must2(toot.New(open(), &toot.Options{ChannelPrefix: prefix}))
		defer func() { must(t, second.Close()) }()
		stop := start(t, second)
		defer stop()
		stats := must2(second.Stats(t.Context()))
		if stats.Scheduled == 0 || stats.Oldest > 0 {
			t.Errorf("stats: %+v", stats)
		}
		must2(open().AddSubscriber(t.Context(), prefix+"a", subscriber.url+"/callbacks", 0))
		eventually(t, "the event came", func() bool { return len(got.of("soon")) > 0 })
		if at := got.of("soon"); len(at) != 1 || at[0].Sub(began) < soon || len(got.of("much later")) > 0 {
			t.Errorf("came %v after it was published, want %v", at[0].Sub(began), soon)
		}
		if stats := must2(second.Stats(t.Context())); stats.Scheduled != 1 || stats.Waiting != 0 {
			t.Errorf("stats: %+v", stats)
		}
	})
}
