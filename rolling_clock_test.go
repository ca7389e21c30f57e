package toot_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/internal/testing/faultengine"
)

// with returns what declares handlers of channels that do nothing.
func with(b *bubble, channels ...string) func(*toot.App) {
	return func(app *toot.App) {
		must(b, app.AddSource("publisher", toot.Source{SubscriptionURL: "http://publisher/subscriptions"}))
		for _, channel := range channels {
			must(b, app.Subscribe("publisher", channel, &runs{}))
		}
	}
}

// callback sends an event to a host, and says whether it was taken or wants no
// more of them.
func (b *bubble) callback(host, channel, id string) string {
	b.Helper()
	req, err := http.NewRequestWithContext(b.Context(), http.MethodPost, "http://"+host+"/callbacks", strings.NewReader(fmt.Sprintf(`{"id":%q,"channel":%q}`, id, channel)))
	must(b, err)
	res, err := b.net.RoundTrip(req)
	must(b, err)
	switch {
	case res.StatusCode != http.StatusOK:
		return res.Status
	case res.Header["X-Toot-Unsubscribe"] != nil:
		return "unwanted"
	}
	return "taken"
}

func TestASubscriptionIsRetiredADayAfterItsLastProcess(t *testing.T) {
	inBubble(t, func(b *bubble) {
		var log lockedBuffer
		store := memengine.NewStore()
		logged := toot.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))}
		old := b.launch("old", store, toot.Options{}, with(b, "a", "b"))
		b.launch("new", store, logged, with(b, "a"))
		time.Sleep(25 * time.Hour) // longer than the day
		if got := b.callback("new", "b", "1"); got != "taken" {
			b.Errorf("while a process has it: %s", got)
		}
		b.empty(time.Minute, store) // the old process handles it
		old.stop()
		unhandled := func() bool {
			for _, l := range must2(b.apps[1].Stats(b.Context())).Lanes {
				if l.Name == "b" {
					return l.Unhandled
				}
			}
			return false
		}
		if got := b.callback("new", "b", "2"); got != "taken" || unhandled() {
			b.Errorf("just after its last process: %s, unhandled %v", got, unhandled())
		}
		time.Sleep(45 * time.Minute)
		if !unhandled() {
			b.Error("after three quarters of an hour it is not shown that nobody handles it")
		}
		time.Sleep(23 * time.Hour)
		if got := b.callback("new", "b", "3"); got != "taken" || strings.Contains(log.String(), "retired") {
			b.Errorf("within the day: %s, logged %s", got, log.String())
		}
		time.Sleep(time.Hour)
		if got := b.callback("new", "b", "4"); got != "unwanted" {
			b.Errorf("after the day: %s", got)
		}
		if line := log.String(); !strings.Contains(line, "retired") || !strings.Contains(line, "subscription=b") || !strings.Contains(line, "waiting=2") {
			b.Errorf("logged %s", line)
		}
		if got := b.callback("new", "a", "5"); got != "taken" || !unhandled() {
			b.Errorf("the other channel: %s; unhandled %v", got, unhandled())
		}
	})
}

func TestReadsOfTheStoreAreShared(t *testing.T) {
	inBubble(t, func(b *bubble) {
		p := b.launch("subscriber", memengine.NewStore(), toot.Options{}, with(b, "a"))
		time.Sleep(time.Minute)
		for channel, most := range map[string]int{"a": 4, "unknown": 11} {
			before := p.engine.Calls(faultengine.Attributes)
			for i := range 10 {
				var asking sync.WaitGroup
				for j := range 100 {
					asking.Go(func() {
						want := map[string]string{"a": "taken", "unknown": "unwanted"}[channel]
						if got := b.callback("subscriber", channel, fmt.Sprint(i, "-", j)); got != want {
							b.Errorf("channel %s: %s, want %s", channel, got, want)
						}
					})
				}
				began := time.Now()
				asking.Wait()
				if took := time.Since(began); took > time.Second {
					b.Errorf("channel %s: an answer took %v", channel, took)
				}
				time.Sleep(time.Second - time.Since(began))
			}
			if reads := p.engine.Calls(faultengine.Attributes) - before; reads > most {
				b.Errorf("%d reads for 1,000 events within 10 s on channel %s, want %d at most", reads, channel, most)
			}
			time.Sleep(time.Minute)
		}
	})
}

// A channel that a process has never heard of may have been subscribed to a
// moment ago, after somebody else had asked.
func TestANewChannelIsKnownEverywhereAtOnce(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		b.launch("publisher", memengine.NewStore(), toot.Options{}, nil)
		b.launch("old", store, toot.Options{}, with(b, "a"))
		for i := range 20 {
			channel := fmt.Sprint("new", i)
			if got := b.callback("old", "unknown", "1"); got != "unwanted" {
				b.Errorf("unknown: %s", got)
			}
			p := b.launch(fmt.Sprint("process", i), store, toot.Options{}, with(b, channel))
			must(b, p.RegisterSubscriptions(b.Context()))
			if got := b.callback("old", channel, "1"); got != "taken" {
				b.Errorf("%s: %s", channel, got)
			}
		}
	})
}

// A further subscription to a channel gets what is published once it is
// registered, though the other processes know its channel.
func TestAFurtherSubscriptionIsKnownOnceItIsRegistered(t *testing.T) {
	inBubble(t, func(b *bubble) {
		store := memengine.NewStore()
		b.launch("publisher", memengine.NewStore(), toot.Options{}, nil)
		b.launch("old", store, toot.Options{}, with(b, "a"))
		b.callback("old", "a", "1")
		var second runs
		p := b.launch("new", store, toot.Options{}, func(app *toot.App) {
			with(b, "a")(app)
			must(b, app.Subscribe("publisher", "a", &second))
		})
		began := time.Now()
		must(b, p.RegisterSubscriptions(b.Context()))
		if took := time.Since(began); took > 5*time.Second {
			b.Errorf("registering took %v", took)
		}
		b.callback("old", "a", "2")
		b.within(time.Second, "the further subscription handles it", func() bool { return second.of("2") == 1 })
		began = time.Now()
		must(b, p.RegisterSubscriptions(b.Context()))
		b.launch("newer", store, toot.Options{}, func(app *toot.App) {
			with(b, "a")(app)
			must(b, app.Subscribe("publisher", "a", &second))
			must(b, app.RegisterSubscriptions(b.Context()))
		})
		if took := time.Since(began); took > time.Second {
			b.Errorf("registering again what is known took %v", took)
		}
	})
}
