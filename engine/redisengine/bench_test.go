package redisengine_test

import (
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// body is as long as that of a usual event.
var body = []byte(`{"id":"85f05e61-9b14-4062-a0a6-f9dd7272587d","payload":"` + strings.Repeat("x", 400) + `"}`)

func uuid() string {
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", rand.Uint32(), rand.Uint32()>>16, rand.Uint32()>>20, rand.Uint32()>>20, rand.Uint64()>>16)
}

func newEvent() *engine.Event {
	return &engine.Event{ID: uuid(), Channel: "org.example.publisher.users.updated.v1", Body: body}
}

func subscriber(i int) engine.Lane {
	return deliver(fmt.Sprintf("https://subscriber-%d.example.org/callbacks/toot", i))
}

// report tells jobs per second, and what a job costs the server's one thread:
// that does not depend on what else the machine is doing.
func report(b *testing.B, s *redistest.Server, n int, before float64) {
	b.ReportMetric(float64(n)*float64(b.N)/b.Elapsed().Seconds(), "jobs/s")
	b.ReportMetric((serverCPU(s)-before)*1e6/float64(n)/float64(b.N), "server-µs/job")
	b.ReportMetric(0, "ns/op")
}

func serverCPU(s *redistest.Server) float64 {
	user, _ := strconv.ParseFloat(s.Info("used_cpu_user_main_thread"), 64)
	sys, _ := strconv.ParseFloat(s.Info("used_cpu_sys_main_thread"), 64)
	return user + sys
}

// BenchmarkHandOff is the way of an event that is worked on at once: Push with
// a lease, then Settle.
func BenchmarkHandOff(b *testing.B) {
	for _, c := range []struct{ lanes, perEvent, callers int }{{1, 1, 1}, {1, 1, 2}, {50, 1, 2}, {50, 10, 2}, {1, 1, 4}} {
		b.Run(fmt.Sprintf("lanes=%d/jobs=%d/callers=%d", c.lanes, c.perEvent, c.callers), func(b *testing.B) {
			const batch = 500
			s := redistest.Start(b)
			e := open(b, s.URL(), nil)
			before := serverCPU(s)
			b.SetParallelism(max(1, c.callers/2))
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					jobs := make([]engine.Job, 0, batch)
					for len(jobs) < batch {
						ev := newEvent()
						for i := range c.perEvent {
							jobs = append(jobs, engine.Job{Event: ev, Lane: subscriber((len(jobs)/c.perEvent*c.perEvent + i) % c.lanes), Lease: time.Minute})
						}
					}
					pushed, err := e.Push(b.Context(), engine.PushRequest{Jobs: jobs})
					if err != nil {
						b.Fatal(err)
					}
					outcomes := make([]engine.Outcome, batch)
					for i := range outcomes {
						outcomes[i] = engine.Outcome{Ticket: pushed.Tickets[i], Result: engine.Done}
					}
					settled, err := e.Settle(b.Context(), outcomes)
					if err != nil || !settled[0].OK || !settled[batch-1].OK {
						b.Fatal(err)
					}
				}
			})
			report(b, s, batch, before)
		})
	}
}

// BenchmarkQueue is the way of an event that waits: Push, Claim, Settle.
func BenchmarkQueue(b *testing.B) {
	for _, lanes := range []int{1, 50} {
		b.Run(fmt.Sprintf("lanes=%d", lanes), func(b *testing.B) {
			const batch = 500
			s := redistest.Start(b)
			e := open(b, s.URL(), nil)
			before := serverCPU(s)
			for b.Loop() {
				jobs := make([]engine.Job, batch)
				for i := range jobs {
					jobs[i] = engine.Job{Event: newEvent(), Lane: subscriber(i % lanes)}
				}
				if _, err := e.Push(b.Context(), engine.PushRequest{Jobs: jobs}); err != nil {
					b.Fatal(err)
				}
				res, err := e.Claim(b.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: batch, MaxPerLane: batch, Lease: time.Minute})
				if err != nil || len(res.Jobs) != batch {
					b.Fatal(len(res.Jobs), err)
				}
				outcomes := make([]engine.Outcome, batch)
				for i := range outcomes {
					outcomes[i] = engine.Outcome{Ticket: res.Jobs[i].Ticket, Result: engine.Done}
				}
				if _, err := e.Settle(b.Context(), outcomes); err != nil {
					b.Fatal(err)
				}
			}
			report(b, s, batch, before)
		})
	}
}

// BenchmarkFanOut is an event with many subscribers, settled with as many
// follow-up jobs in one atomic step.
func BenchmarkFanOut(b *testing.B) {
	for _, n := range []int{10, 2000, 10000} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			s := redistest.Start(b)
			e := open(b, s.URL(), nil)
			before := serverCPU(s)
			follow := make([]engine.Job, n)
			for i := range follow {
				follow[i].Lane = subscriber(i)
			}
			for b.Loop() {
				pushed, err := e.Push(b.Context(), engine.PushRequest{Jobs: []engine.Job{{Event: newEvent(), Lane: engine.Lane{Kind: engine.FanOut, Name: "c"}, Lease: time.Minute}}})
				if err != nil {
					b.Fatal(err)
				}
				if _, err := e.Settle(b.Context(), []engine.Outcome{{Ticket: pushed.Tickets[0], Result: engine.Done, Follow: follow}}); err != nil {
					b.Fatal(err)
				}
			}
			report(b, s, n, before)
		})
	}
}

// BenchmarkAudience is what it costs a push to be told who gets its events: 50
// events of one channel with so many subscribers. With none the channel is not
// asked about.
func BenchmarkAudience(b *testing.B) {
	for _, n := range []int{0, 1, 10, 100, 1000} {
		b.Run(fmt.Sprintf("subscribers=%d", n), func(b *testing.B) {
			const batch = 50
			s := redistest.Start(b)
			e := open(b, s.URL(), nil)
			for i := range n {
				if _, err := e.AddSubscriber(b.Context(), "c", subscriber(i).Name, time.Hour); err != nil {
					b.Fatal(err)
				}
			}
			before := serverCPU(s)
			b.ReportAllocs()
			for b.Loop() {
				req := engine.PushRequest{MaxSubscribers: 1000}
				if n > 0 {
					req.Channels = []string{"c"}
				}
				for range batch {
					req.Jobs = append(req.Jobs, engine.Job{Event: newEvent(), Lane: subscriber(0), Lease: time.Minute})
				}
				res, err := e.Push(b.Context(), req)
				if err != nil || n > 0 && len(res.Audiences[0].CallbackURLs) != n {
					b.Fatal(res.Audiences, err)
				}
				outcomes := make([]engine.Outcome, batch)
				for i := range outcomes {
					outcomes[i] = engine.Outcome{Ticket: res.Tickets[i], Result: engine.Done}
				}
				if _, err := e.Settle(b.Context(), outcomes); err != nil {
					b.Fatal(err)
				}
			}
			report(b, s, batch, before)
		})
	}
}
