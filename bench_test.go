package toot_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/watermarkchurch/toot-go"
)

var benchPayload = map[string]any{"id": 123, "name": "someone", "email": "someone@example.org"}

// BenchmarkRawHTTP is the limit: a POST of the same body to a server in the
// same process.
func BenchmarkRawHTTP(b *testing.B) {
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	defer server.Close()
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	body := bytes.Repeat([]byte("x"), 220)
	b.SetParallelism(32)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			res, err := client.Post(server.URL, "application/json", bytes.NewReader(body))
			if err != nil {
				b.Error(err)
				return
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
		}
	})
}

// BenchmarkFullLife is an event's whole life: published, durable, delivered,
// durable again, handled, settled on both sides.
func BenchmarkFullLife(b *testing.B) {
	for name, batch := range map[string]int{"single": 1, "batch": 100} {
		b.Run(name, func(b *testing.B) {
			publisher := newNode(b, toot.Options{ChannelPrefix: prefix}, true)
			subscriber := newNode(b, toot.Options{}, true)
			var handled atomic.Int64
			done := make(chan struct{})
			total := int64(b.N) * int64(batch)
			must(b, subscriber.AddSource("publisher", toot.Source{SubscriptionURL: publisher.url + "/subscriptions", ChannelPrefix: prefix}))
			must(b, subscriber.AddSubscription(toot.Subscription{Source: "publisher", Channel: "a", Concurrency: 64, Handler: toot.HandlerFunc(func(context.Context, *toot.Event) error {
				if handled.Add(1) == total {
					close(done)
				}
				return nil
			})}))
			must(b, subscriber.RegisterSubscriptions(context.Background()))
			messages := make([]toot.Message, batch)
			for i := range messages {
				messages[i] = toot.Message{Channel: "a", Payload: benchPayload}
			}
			b.ResetTimer()
			var wg sync.WaitGroup
			var next atomic.Int64
			slots := make(chan struct{}, 256)
			for range 64 {
				wg.Go(func() {
					for next.Add(1) <= int64(b.N) {
						slots <- struct{}{}
						_, err := publisher.PublishAll(context.Background(), messages...)
						<-slots
						if err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			<-done
			publisher.settled(b)
			subscriber.settled(b)
			b.StopTimer()
			b.ReportMetric(float64(total)/b.Elapsed().Seconds(), "events/s")
		})
	}
}
