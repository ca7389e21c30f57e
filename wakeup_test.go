package toot_test

import (
	"io"
	"net/http"
	"strconv"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/internal/testing/faultengine"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// TestNothingWaitsForAPoll holds that work goes on as soon as there is room
// for it. Under a clock of its own, whatever had to wait for the next look
// into the store would take seconds.
func TestNothingWaitsForAPoll(t *testing.T) {
	answerIn := func(took time.Duration, batch string, answerBatch int) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			time.Sleep(took)
			if batch != "" {
				w.Header().Set("X-Toot-Batch", batch)
			}
			if r.Header.Get("Content-Type") == wire.BatchType && answerBatch != 0 {
				w.WriteHeader(answerBatch)
			}
		})
	}
	publish := func(b *bubble, p *process, n int) {
		messages := make([]toot.Message, n)
		for i := range messages {
			messages[i].Channel = "a"
		}
		_, err := p.PublishAll(b.Context(), messages...)
		must(b, err)
	}
	for _, tc := range []struct {
		name     string
		endpoint http.Handler
		opts     toot.Options
	}{
		{"one by one", answerIn(time.Millisecond, "", 0), toot.Options{}},
		{"one at a time", answerIn(100*time.Microsecond, "", 0), toot.Options{MaxDeliveriesPerURL: 1}},
		{"in batches", answerIn(time.Millisecond, "100", 0), toot.Options{}},
		{"batches refused", answerIn(100*time.Microsecond, "100", 415), toot.Options{MaxDeliveriesPerURL: 1}},
		{"few workers", answerIn(100*time.Microsecond, "", 0), toot.Options{MaxDeliveries: 1}},
	} {
		for i, when := range []string{"waiting already", "while it runs", "from another process", "a few waiting already"} {
			t.Run(tc.name+", "+when, func(t *testing.T) {
				events := 1200 // more than one claim brings
				if i == 3 {
					events = 100
				}
				inBubble(t, func(b *bubble) {
					store := memengine.NewStore()
					b.net.serve("endpoint", tc.endpoint)
					p := b.prepare("", store, tc.opts, nil)
					// As on a disk: what happens meanwhile is seen by the next call.
					p.engine.Play(faultengine.Only(faultengine.Fault{Delay: 3 * time.Millisecond}))
					_, err := p.engine.AddSubscriber(b.Context(), "a", "http://endpoint/", 0)
					must(b, err)
					switch when {
					case "waiting already", "a few waiting already":
						publish(b, p, events)
						p.run()
					case "while it runs":
						p.run()
						for range 10 {
							publish(b, p, events/10)
						}
					default:
						p.run()
						other := b.prepare("", store, toot.Options{}, nil)
						for range 10 {
							publish(b, other, events/10)
						}
					}
					b.empty(4*time.Second, store)
				})
			})
		}
	}
	t.Run("handlers", func(t *testing.T) {
		inBubble(t, func(b *bubble) {
			store := memengine.NewStore()
			var got runs
			b.launch("subscriber", store, toot.Options{MaxHandlers: 2}, subscribes(b, &got, &got, &got))
			eng := store.Open(engine.Retention{})
			const events = 1200
			for i := range events {
				var jobs []engine.Job
				e := &engine.Event{ID: strconv.Itoa(i), Channel: "a", Body: []byte(`{"channel":"a"}`)}
				for _, lane := range []string{"a", "a#2", "a#3"} {
					jobs = append(jobs, engine.Job{Event: e, Lane: engine.Lane{Kind: engine.Handle, Name: lane}})
				}
				_, err := eng.Push(b.Context(), engine.PushRequest{Jobs: jobs})
				must(b, err)
			}
			b.empty(500*time.Millisecond, store)
			if got.all() != 3*events {
				b.Errorf("handlers ran %d times, want %d", got.all(), 3*events)
			}
		})
	})
}
