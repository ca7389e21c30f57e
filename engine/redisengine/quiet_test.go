package redisengine_test

import (
	"context"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// calls counts the commands that a server has run, by name.
func calls(t testing.TB, s *redistest.Server) map[string]int {
	t.Helper()
	text, err := s.Try("INFO", "commandstats").ToString()
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for line := range strings.Lines(text) {
		name, rest, ok := strings.Cut(line, ":calls=")
		if !ok {
			continue
		}
		n, _, _ := strings.Cut(rest, ",")
		counts[strings.TrimPrefix(name, "cmdstat_")], err = strconv.Atoi(n)
		if err != nil {
			t.Fatal(err)
		}
	}
	return counts
}

// An app that has nothing to do claims for three kinds every two seconds, at
// the most.
func TestIdleSystemIsQuiet(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func(testing.TB) (string, []*redistest.Server){
		"on_a_single_server": func(t testing.TB) (string, []*redistest.Server) {
			s := redistest.Start(t)
			return s.URL(), []*redistest.Server{s}
		},
		"on_a_cluster": func(t testing.TB) (string, []*redistest.Server) {
			c := redistest.StartCluster(t)
			return c.URL(), c.Masters
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url, servers := start(t)
			e := open(t, url, nil)
			defer e.Watch(func(engine.Kind) {})()
			idle := func() {
				for _, k := range []engine.Kind{engine.FanOut, engine.Deliver, engine.Handle} {
					if _, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: k, Max: 10, MaxPerLane: 10, Lease: time.Minute}); err != nil {
						t.Fatal(err)
					}
				}
			}
			idle()
			for _, s := range servers {
				s.Do("CONFIG", "RESETSTAT")
			}
			began := time.Now()
			for range 3 {
				time.Sleep(2 * time.Second)
				idle()
			}
			seconds := time.Since(began).Seconds()
			// What a script calls is counted too; a client sends these.
			sent := 0
			all := map[string]int{}
			for _, s := range servers {
				for name, n := range calls(t, s) {
					all[name] += n
					switch name {
					case "evalsha", "ping", "cluster|slots", "cluster|shards", "subscribe", "get", "smembers":
						sent += n
					}
				}
			}
			t.Logf("%.1f commands a second: %v", float64(sent)/seconds, all)
			if float64(sent) > 5*seconds {
				t.Errorf("an idle process must send fewer than 5 commands a second: it sent %d in %.1f seconds: %v", sent, seconds, all)
			}
		})
	}
}

// Where other software keeps its keys, or the original its credentials.
func TestChannelsIgnoreOtherKeys(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	e := open(t, s.URL(), nil)
	s.Do("HSET", "org.*.[x]toot.auth.credentials_store", "user", "secret")
	s.Do("SET", "org.*.[x]string", "1")
	s.Do("ZADD", "org.*.[x]zset", "1", "1")
	s.Do("RPUSH", "org.*.[x]list", "1")
	s.Do("SADD", "org.*.xother", "http://pattern.example") // that a careless pattern would match
	s.Do("SADD", "org.*.[x]users", "http://b", "http://a")
	s.Do("EVAL", "for i = 1, 20000 do redis.call('SET', 'noise:' .. i, 1) end", "0")
	got, err := e.Channels(t.Context(), "org.*.[x]")
	if err != nil || len(got) != 1 || strings.Join(got["org.*.[x]users"], " ") != "http://a http://b" {
		t.Errorf("Channels returned %v, %v", got, err)
	}
	if n := calls(t, s)["keys"]; n > 0 {
		t.Error("KEYS must not be used")
	}
	// Such a key is no channel.
	if urls, err := e.Subscribers(t.Context(), "org.*.[x]string"); err != nil || len(urls) != 0 {
		t.Errorf("Subscribers of a key that is no SET: %v, %v", urls, err)
	}
}

func TestNamespacesDoNotTouch(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a, b := open(t, s.URL(), &redisengine.Options{Namespace: "a"}), open(t, s.URL(), &redisengine.Options{Namespace: "b"})
	var woken atomic.Int32
	defer b.Watch(func(engine.Kind) { woken.Add(1) })()
	job := []engine.Job{{Event: &engine.Event{ID: "1", Channel: "c"}, Lane: deliver("l")}}
	for _, e := range []*redisengine.Engine{a, b} {
		if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: job}); err != nil {
			t.Fatal(err)
		}
	}
	for _, e := range []*redisengine.Engine{a, b} {
		res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 10, MaxPerLane: 10, Lease: time.Minute})
		if err != nil || len(res.Jobs) != 1 {
			t.Fatalf("each namespace must have its own job: %d, %v", len(res.Jobs), err)
		}
	}
	keys, err := s.Try("KEYS", "*").AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if !strings.HasPrefix(key, "{a") && !strings.HasPrefix(key, "{b") {
			t.Errorf("the key %q is in no namespace", key)
		}
	}
}

// The server's clock counts, not that of the machine a process runs on.
func TestServerClockCounts(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	e := open(t, s.URL(), nil)
	res, err := e.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{{Event: &engine.Event{ID: "1", Channel: "c"}, Lane: deliver("l"), Delay: time.Hour}}})
	if err != nil || res.Tickets[0] != "" {
		t.Fatal(res, err)
	}
	score, err := s.Try("ZSCORE", "{toot:0}:2:lane:deliver:l", redisengine.JobKey("c", "1", "")).AsFloat64()
	if err != nil {
		t.Fatal(err)
	}
	now, err := s.Try("TIME").AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	seconds, _ := strconv.ParseFloat(now[0], 64)
	if due := score/2e6 - seconds; due < 3590 || due > 3601 {
		t.Errorf("a job delayed by an hour is due in %v s of the server's time", due)
	}
}

func TestHintsCrossProcessesAndOutages(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	a, b := open(t, s.URL(), nil), open(t, s.URL(), nil)
	wakes := make(chan engine.Kind, 1000)
	defer b.Watch(func(k engine.Kind) {
		select {
		case wakes <- k:
		default:
		}
	})()
	claim := func() {
		if _, err := b.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 10, MaxPerLane: 10, Lease: time.Minute}); err != nil {
			t.Fatal(err)
		}
	}
	await := func(what string) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		for {
			select {
			case k := <-wakes:
				if k == engine.Deliver {
					return
				}
			case <-ctx.Done():
				t.Fatalf("no hint %s", what)
			}
		}
	}
	drain := func() {
		for len(wakes) > 0 {
			<-wakes
		}
	}
	await("when the watching began")
	for i := range 20 {
		claim()
		time.Sleep(20 * time.Millisecond)
		drain()
		push(t, a, strconv.Itoa(i))
		await("of a push of another process")
	}
	claim()
	time.Sleep(50 * time.Millisecond)
	drain()
	s.Do("CLIENT", "KILL", "TYPE", "pubsub")
	await("after an outage")
	claim()
	push(t, a, "after the outage")
	await("of a push after an outage")
}

func push(t testing.TB, e *redisengine.Engine, id string) {
	t.Helper()
	if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{{Event: &engine.Event{ID: id, Channel: "c"}, Lane: deliver("l")}}}); err != nil {
		t.Fatal(err)
	}
}
