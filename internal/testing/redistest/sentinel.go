package redistest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"
)

// Pair is a master with a replica, and the Sentinel that watches them.
type Pair struct {
	Master, Replica *Server // as they were at the start
	Sentinel        *Server
	t               testing.TB
}

// StartPair starts a pair that is in sync. A master that does not answer for
// a second is replaced.
func StartPair(t testing.TB, settings ...string) *Pair {
	t.Helper()
	return startPair(t, time.Second, Start, settings)
}

// StartPairWithClocks is StartPair for servers whose clocks can be set.
func StartPairWithClocks(t testing.TB, settings ...string) *Pair {
	t.Helper()
	return startPair(t, time.Second, StartWithClock, settings)
}

// StartSteadyPair starts a pair in which nothing is replaced, however long a
// busy machine lets a server wait.
func StartSteadyPair(t testing.TB, settings ...string) *Pair {
	t.Helper()
	return startPair(t, 24*time.Hour, Start, settings)
}

// StartSteadyPairWithClocks is StartSteadyPair for servers whose clocks can be
// set.
func StartSteadyPairWithClocks(t testing.TB, settings ...string) *Pair {
	t.Helper()
	return startPair(t, 24*time.Hour, StartWithClock, settings)
}

func startPair(t testing.TB, downAfter time.Duration, start func(testing.TB, ...string) *Server, settings []string) *Pair {
	t.Helper()
	p := &Pair{t: t}
	p.Master = start(t, settings...)
	p.Replica = start(t, append([]string{"replicaof 127.0.0.1 " + strconv.Itoa(p.Master.port)}, settings...)...)
	p.Sync(p.Replica)
	p.Sentinel = newServer(t, nil)
	p.Sentinel.program = append(p.Sentinel.program, "--sentinel")
	p.Sentinel.config = []string{
		"bind 127.0.0.1",
		fmt.Sprintf("sentinel monitor master 127.0.0.1 %d 1", p.Master.port),
		fmt.Sprintf("sentinel down-after-milliseconds master %d", downAfter.Milliseconds()),
		"sentinel failover-timeout master 3000",
	}
	p.Sentinel.launchOnFreePort()
	Eventually(t, "the Sentinel knows the replica", func() bool {
		replicas, err := p.Sentinel.Try("SENTINEL", "REPLICAS", "master").ToArray()
		return err == nil && len(replicas) == 1
	})
	return p
}

// Sync waits until a replica has all of its master's data.
func (p *Pair) Sync(replica *Server) {
	p.t.Helper()
	Eventually(p.t, "the replica is in sync", func() bool { return replica.Info("master_link_status") == "up" })
}

// URL is that of the pair for the engine.
func (p *Pair) URL() string { return "redis+sentinel://" + p.Sentinel.Addr() + "/master" }

// Current returns the server that is the master now, in the Sentinel's view.
func (p *Pair) Current() *Server {
	addr, err := p.Sentinel.Try("SENTINEL", "GET-MASTER-ADDR-BY-NAME", "master").AsStrSlice()
	if err == nil && strings.Join(addr, ":") == p.Replica.Addr() {
		return p.Replica
	}
	return p.Master
}

// AwaitFailover waits until the replica has become the master.
func (p *Pair) AwaitFailover() {
	p.t.Helper()
	Eventually(p.t, "the replica takes over", func() bool {
		return p.Current() == p.Replica && p.Replica.Info("role") == "master"
	})
}
