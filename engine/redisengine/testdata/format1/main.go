// Command format1 fills a Redis server with everything that the engine of
// format 1 keeps. make.sh builds it in a checkout of a version that wrote that
// format. What it writes is listed in format_test.go, which reads it.
//
// Whatever ends (leases, windows, memory) does so in a lifetime, so that it can
// still be tested when the dump is old.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
)

const lifetime = 50 * 365 * 24 * time.Hour

var ctx = context.Background()

func main() {
	log.SetFlags(0)
	for namespace, shards := range map[string]int{"one": 1, "three": 3} {
		e, err := redisengine.Open(ctx, os.Args[1], &redisengine.Options{
			Namespace: namespace, Shards: shards, Logger: slog.New(slog.NewTextHandler(io.Discard, nil)),
			Retention: engine.Retention{Dedupe: lifetime, DeadAge: lifetime},
		})
		check(err)
		fill(e)
		check(e.Close())
	}
	fmt.Println("filled")
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func must[T any](v T, err error) T {
	check(err)
	return v
}

func event(id string) *engine.Event {
	return &engine.Event{ID: id, Channel: "channel", Body: []byte("body of " + id), Meta: []byte("meta")}
}

func deliver(name string) engine.Lane { return engine.Lane{Kind: engine.Deliver, Name: name} }

func fill(e *redisengine.Engine) {
	push := func(jobs ...engine.Job) []engine.Ticket { return must(e.Push(ctx, jobs)) }
	settle := func(outcomes ...engine.Outcome) {
		for _, s := range must(e.Settle(ctx, outcomes)) {
			if !s.OK {
				log.Fatal("an outcome did not take effect")
			}
		}
	}
	// claim claims from a lane what was pushed to it just now.
	claim := func(lane engine.Lane, lease time.Duration) []engine.Claimed {
		for {
			res := must(e.Claim(ctx, engine.ClaimRequest{Kind: lane.Kind, Max: 10, MaxPerLane: 10, Only: []string{lane.Name}, Lease: lease}))
			if len(res.Jobs) > 0 {
				return res.Jobs
			}
		}
	}

	// Two subscribers of two events, one of which has a UUID.
	for _, id := range []string{"85f05e61-9b14-4062-a0a6-f9dd7272587d", "waiting"} {
		ev := event(id)
		push(engine.Job{Event: ev, Lane: deliver("waiting-1")}, engine.Job{Event: ev, Lane: deliver("waiting-2")})
	}
	push(engine.Job{Event: event("delayed"), Lane: deliver("delayed"), Delay: lifetime})

	// Another event of that ID.
	other := event("waiting")
	other.Body = []byte("another body")
	push(engine.Job{Event: other, Lane: deliver("other")})

	// Leased by a process that may still be at work, and by one that is gone.
	push(engine.Job{Event: event("leased"), Lane: deliver("leased"), Lease: lifetime})
	push(engine.Job{Event: event("claimed"), Lane: deliver("claimed")})
	claim(deliver("claimed"), lifetime)
	push(engine.Job{Event: event("lapsed"), Lane: deliver("lapsed"), Lease: time.Millisecond})

	// To be tried again.
	for id, after := range map[string]time.Duration{"retrying": time.Millisecond, "later": lifetime} {
		push(engine.Job{Event: event(id), Lane: deliver(id)})
		for _, j := range claim(deliver(id), time.Hour) {
			settle(engine.Outcome{Ticket: j.Ticket, Result: engine.Retry, After: after, Attempt: 2, History: []byte("history")})
		}
	}

	// Over.
	for id, o := range map[string]engine.Outcome{
		"done": {Result: engine.Done},
		"dead": {Result: engine.Bury, Attempt: 3, History: []byte("history"), Reason: "reason"},
	} {
		push(engine.Job{Event: event(id), Lane: engine.Lane{Kind: engine.Handle, Name: id}})
		for _, j := range claim(engine.Lane{Kind: engine.Handle, Name: id}, time.Hour) {
			o.Ticket = j.Ticket
			settle(o)
		}
	}

	// Of four subscribers two have got a delivery when the process dies; of
	// those one is done.
	fanned := event("fanned")
	push(engine.Job{Event: fanned, Lane: engine.Lane{Kind: engine.FanOut, Name: "channel"}, Lease: time.Millisecond})
	push(engine.Job{Event: fanned, Lane: deliver("fanned-1")}, engine.Job{Event: fanned, Lane: deliver("fanned-2")})
	for _, j := range claim(deliver("fanned-1"), time.Hour) {
		settle(engine.Outcome{Ticket: j.Ticket, Result: engine.Done})
	}

	check(e.Defer(ctx, deliver("deferred"), lifetime))
	push(engine.Job{Event: event("deferred"), Lane: deliver("deferred")})

	for _, url := range []string{"http://a", "http://b"} {
		must(e.AddSubscriber(ctx, "org.example.channel", url))
	}
	must(e.SwapAttribute(ctx, "signing", "http://a", nil, []byte("secret")))
	must(e.SwapAttribute(ctx, "lease:org.example.channel", "http://a", nil, []byte("1700000000")))
	check(e.PutCredential(ctx, "org.example.toot.auth.credentials_store", "user", []byte("proof")))
	must(e.Remember(ctx, "key", []byte("value"), lifetime))
}
