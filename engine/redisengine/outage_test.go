package redisengine_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// Nothing that such a server has acknowledged may be lost.
var durable = []string{"appendonly yes", "appendfsync always"}

func TestOutages(t *testing.T) {
	for _, o := range []struct {
		name    string
		config  []string
		disturb func(t *testing.T, s *redistest.Server)
	}{
		{"killed_and_restarted", nil, func(_ *testing.T, s *redistest.Server) {
			s.Kill()
			time.Sleep(time.Second)
			s.Restart()
		}},
		{"killed_again_and_again", nil, func(_ *testing.T, s *redistest.Server) {
			for range 5 {
				s.Kill()
				s.Restart()
				time.Sleep(200 * time.Millisecond)
			}
		}},
		{"slow_to_load", []string{"key-load-delay 10000", "loading-process-events-interval-bytes 1024"}, func(t *testing.T, s *redistest.Server) {
			s.Kill()
			s.Restart()
			redistest.Eventually(t, "the server has loaded", func() bool { return s.Info("loading") == "0" })
		}},
		{"stopped_for_seconds", nil, func(_ *testing.T, s *redistest.Server) {
			s.Pause()
			time.Sleep(7 * time.Second) // longer than any time-out of the client's
			s.Resume()
		}},
		{"paused_for_clients", nil, func(_ *testing.T, s *redistest.Server) {
			s.Do("CLIENT", "PAUSE", "3000", "ALL")
			time.Sleep(3 * time.Second)
		}},
		{"dropping_connections", nil, func(_ *testing.T, s *redistest.Server) {
			for range 20 {
				s.Do("CLIENT", "KILL", "TYPE", "normal")
				s.Do("CLIENT", "KILL", "TYPE", "pubsub")
				time.Sleep(50 * time.Millisecond)
			}
		}},
		{"out_of_memory", nil, func(_ *testing.T, s *redistest.Server) {
			s.Do("CONFIG", "SET", "maxmemory", "1")
			time.Sleep(time.Second)
			s.Do("CONFIG", "SET", "maxmemory", "0")
		}},
		{"read_only", nil, func(_ *testing.T, s *redistest.Server) {
			s.Do("REPLICAOF", "127.0.0.1", "1")
			time.Sleep(time.Second)
			s.Do("REPLICAOF", "NO", "ONE")
		}},
		{"without_replicas", nil, func(_ *testing.T, s *redistest.Server) {
			s.Do("CONFIG", "SET", "min-replicas-to-write", "1")
			time.Sleep(time.Second)
			s.Do("CONFIG", "SET", "min-replicas-to-write", "0")
		}},
		{"busy", []string{"busy-reply-threshold 50"}, func(t *testing.T, s *redistest.Server) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				s.Try("EVAL", "while true do end", "0")
			}()
			time.Sleep(time.Second)
			redistest.Eventually(t, "the script is killed", func() bool { return s.Try("SCRIPT", "KILL").Error() == nil })
			<-done
		}},
		{"without_scripts", nil, func(_ *testing.T, s *redistest.Server) {
			for range 20 {
				s.Do("SCRIPT", "FLUSH")
				time.Sleep(20 * time.Millisecond)
			}
		}},
	} {
		t.Run(o.name, func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t, append(o.config, durable...)...)
			tr := startTraffic(t, s.URL())
			o.disturb(t, s)
			tr.recovers()
			tr.reconcile()
		})
	}
}

func TestSentinelFailover(t *testing.T) {
	t.Parallel()
	p := redistest.StartPair(t, durable...)
	tr := startTraffic(t, p.URL())
	// What the master acknowledged may not have reached the replica when it
	// dies; that much the server loses. So the check is of what did.
	tr.hold(func() {
		redistest.AwaitReplica(t, p.Master, p.Replica)
		p.Master.Kill()
	})
	p.AwaitFailover()
	tr.recovers()
	tr.reconcile()
	// The old master comes back, as a replica, and takes over again.
	p.Master.Restart()
	redistest.Eventually(t, "the old master is a replica", func() bool { return p.Master.Info("master_link_status") == "up" })
	tr.hold(func() {
		redistest.AwaitReplica(t, p.Replica, p.Master)
		redistest.Eventually(t, "the Sentinel starts a failover", func() bool { return p.Sentinel.Try("SENTINEL", "FAILOVER", "master").Error() == nil })
		redistest.Eventually(t, "the old master is master again", func() bool { return p.Current() == p.Master && p.Master.Info("role") == "master" })
		// Until it is told, the other one takes what clients send that have not
		// heard of the change either, and then throws it away.
		redistest.Eventually(t, "the other one is a replica", func() bool { return p.Replica.Info("role") == "slave" })
	})
	tr.recovers()
	tr.reconcile()
}

func TestClusterNodeKilled(t *testing.T) {
	t.Parallel()
	c := redistest.StartClusterWithReplicas(t, durable...)
	tr := startTraffic(t, c.URL())
	for i, m := range c.Masters[:2] {
		tr.hold(func() {
			redistest.AwaitReplica(t, m, c.Replicas[i])
			m.Kill()
		})
		c.AwaitOK()
		tr.recovers()
		tr.reconcile()
		m.Restart()
		redistest.Eventually(t, "the node is back as a replica", func() bool { return m.Info("master_link_status") == "up" })
	}
}

// Slots of a cluster may move between nodes at any time.
func TestClusterSlotsMove(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, durable...)
	tr := startTraffic(t, c.URL())
	c.MoveSlots(0, 1)
	tr.recovers()
	tr.reconcile()
}

func TestErrorsAreClear(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	e := open(t, s.URL(), nil)
	job := func(id string) []engine.Job {
		return []engine.Job{{Event: &engine.Event{ID: id, Channel: "c"}, Lane: deliver("l")}}
	}
	if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: job("1")}); err != nil {
		t.Fatal(err)
	}
	s.Do("CONFIG", "SET", "maxmemory", "1")
	if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: job("2")}); err == nil || !strings.Contains(err.Error(), "out of memory") {
		t.Errorf("a Push into a full server must say so: %v", err)
	}
	// Work goes on, so that memory becomes free.
	res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 1, MaxPerLane: 1, Lease: time.Minute})
	if err != nil || len(res.Jobs) != 1 {
		t.Fatalf("Claim must work on a full server: %d jobs, %v", len(res.Jobs), err)
	}
	settled, err := e.Settle(t.Context(), []engine.Outcome{{Ticket: res.Jobs[0].Ticket, Result: engine.Done}})
	if err != nil || !settled[0].OK {
		t.Fatalf("Settle must work on a full server: %v, %v", settled, err)
	}
	s.Do("CONFIG", "SET", "maxmemory", "0")

	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	began := time.Now()
	if _, err := e.Push(ctx, engine.PushRequest{Jobs: job("3")}); err == nil || ctx.Err() == nil {
		t.Errorf("a Push must wait for its context and then say why: %v", err)
	}
	if d := time.Since(began); d > 4*time.Second { // a command without an answer ends after five
		t.Errorf("a call must end with its context: it took %v", d)
	}
	s.Resume()
}
