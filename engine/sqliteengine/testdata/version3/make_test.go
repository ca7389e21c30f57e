package sqliteengine

import (
	"context"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// TestMakeVersion3 makes version3.db. It runs in the sources of a toot whose
// files are of version 3: see make.sh. What it leaves in the file, the test of
// the upgrade names one by one.
func TestMakeVersion3(t *testing.T) {
	clock := &fakeClock{t: time.Date(2026, 1, 2, 3, 0, 0, 0, time.UTC)}
	file := tempFile(t)
	ctx := context.Background()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	const (
		a, b, c = "https://a.example.org/", "https://b.example.org/", "https://c.example.org/"
		channel = "org.example.shop.ordered"
		fanUUID = "019b7c5e-6c00-7abc-8def-0123456789ab"
	)
	lane := func(url string) engine.Lane { return engine.Lane{Kind: engine.Deliver, Name: url} }
	event := func(id string) *engine.Event {
		return &engine.Event{ID: id, Channel: channel, Body: []byte(`{"id":"` + id + `"}`), Meta: []byte("meta")}
	}
	job := func(id, url string, delay, lease time.Duration) engine.Job {
		return engine.Job{Event: event(id), Lane: lane(url), Delay: delay, Lease: lease}
	}
	settle := func(e *Engine, o engine.Outcome) engine.Settled {
		t.Helper()
		s, err := e.Settle(ctx, []engine.Outcome{o})
		must(err)
		if !s[0].OK {
			t.Fatal("a stale ticket")
		}
		return s[0]
	}

	closes, err := Open(file, &Options{now: clock.now})
	must(err)
	for _, url := range []string{a, b, c} {
		_, err = closes.AddSubscriber(ctx, channel, url)
		must(err)
	}
	must(closes.PutCredential(ctx, "realm", "user", []byte("proof")))
	_, err = closes.SwapAttribute(ctx, "group", "name", nil, []byte("value"))
	must(err)
	_, err = closes.Remember(ctx, "key", []byte("value"), 10*time.Hour)
	must(err)
	// An hour later the other generation is written.
	settle(closes, engine.Outcome{Ticket: push(t, closes, []engine.Job{job("done-early", a, 0, time.Minute)})[0], Result: engine.Done})
	push(t, closes, []engine.Job{job("waiting-early", a, 2*time.Hour, 0)})
	clock.add(61 * time.Minute)
	settle(closes, engine.Outcome{Ticket: push(t, closes, []engine.Job{job("done-late", a, 0, time.Minute)})[0], Result: engine.Done})
	push(t, closes, []engine.Job{job("waiting-late", a, 0, 0), job("delayed", a, time.Hour, 0)})
	settle(closes, engine.Outcome{
		Ticket: push(t, closes, []engine.Job{job("retrying", b, 0, time.Minute)})[0],
		Result: engine.Retry, After: 10 * time.Minute, Attempt: 3, History: []byte("history"),
	})
	settle(closes, engine.Outcome{
		Ticket: push(t, closes, []engine.Job{job("dead", b, 0, time.Minute)})[0],
		Result: engine.Bury, Attempt: 21, History: []byte("history"), Reason: "HTTP 410",
	})
	push(t, closes, []engine.Job{job("leased-closed", b, 0, 30*time.Minute)})
	must(closes.Defer(ctx, lane(c), 20*time.Minute))
	push(t, closes, []engine.Job{job("deferred", c, 0, 0)})
	must(closes.Close())

	// This process dies with a lease, and with a fan-out that has reached two
	// of three subscribers; to one of them the event is delivered already.
	dies, err := Open(file, &Options{now: clock.now})
	must(err)
	push(t, dies, []engine.Job{job("leased-died", b, 0, 30*time.Minute)})
	fan := push(t, dies, []engine.Job{{Event: event(fanUUID), Lane: engine.Lane{Kind: engine.FanOut, Name: channel}, Lease: 30 * time.Minute}})[0]
	first := settle(dies, engine.Outcome{Ticket: fan, Result: engine.Extend, After: 30 * time.Minute, Follow: []engine.Job{
		{Lane: lane(a), Lease: time.Minute}, {Lane: lane(b)},
	}})
	settle(dies, engine.Outcome{Ticket: first.Follow[0], Result: engine.Done})

	raw, err := openConn(file, openExisting)
	must(err)
	must(raw.exec("VACUUM INTO 'version3.db'"))
	must(raw.close())
	must(dies.Close())
}
