package redistest

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
)

// Cluster is a Redis Cluster of three masters.
type Cluster struct {
	Masters  []*Server // as they were at the start
	Replicas []*Server // one of each master, or none at all
	t        testing.TB
}

// StartCluster starts a cluster without replicas.
func StartCluster(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	return startCluster(t, Start, false, settings)
}

// StartClusterWithClocks is StartCluster for servers whose clocks can be set.
func StartClusterWithClocks(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	return startCluster(t, StartWithClock, false, settings)
}

// StartClusterWithReplicas starts a cluster where each master has a replica in
// sync, which replaces it when it does not answer for a second or so.
func StartClusterWithReplicas(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	return startCluster(t, Start, true, settings)
}

func startCluster(t testing.TB, start func(testing.TB, ...string) *Server, replicas bool, settings []string) *Cluster {
	t.Helper()
	const masters, slots = 3, 16384
	c := &Cluster{t: t}
	timeout := 15000 // a node that a busy machine lets wait is not taken for dead
	if replicas {
		timeout = 1000
	}
	node := func() *Server {
		return start(t, append([]string{
			"cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout " + strconv.Itoa(timeout), "cluster-port $BUSPORT",
		}, settings...)...)
	}
	for i := range masters {
		s := node()
		s.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1))
		s.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(i*slots/masters), strconv.Itoa((i+1)*slots/masters-1))
		c.Masters = append(c.Masters, s)
	}
	if replicas {
		for range masters {
			c.Replicas = append(c.Replicas, node())
		}
	}
	all := append(append([]*Server(nil), c.Masters...), c.Replicas...)
	for _, s := range all[1:] {
		all[0].Do("CLUSTER", "MEET", "127.0.0.1", strconv.Itoa(s.port), strconv.Itoa(s.busPort))
	}
	knowsAll := func(s *Server) bool {
		nodes, err := s.Try("CLUSTER", "NODES").ToString()
		return err == nil && strings.Count(nodes, " connected") == len(all) && !strings.Contains(nodes, "handshake")
	}
	for _, s := range all {
		Eventually(t, "the nodes know each other", func() bool { return knowsAll(s) })
	}
	for i, s := range c.Replicas {
		id, err := c.Masters[i].Try("CLUSTER", "MYID").ToString()
		if err != nil {
			t.Fatal(err)
		}
		s.Do("CLUSTER", "REPLICATE", id)
	}
	for _, s := range c.Replicas {
		Eventually(t, "the replica is in sync", func() bool { return s.Info("master_link_status") == "up" })
	}
	c.AwaitOK()
	for _, s := range c.Masters {
		Eventually(t, "every node knows the replicas", func() bool {
			text, err := s.Try("CLUSTER", "NODES").ToString()
			return err == nil && strings.Count(text, "slave ") == len(c.Replicas)
		})
	}
	return c
}

// AwaitOK waits until every node that is alive finds the cluster complete.
func (c *Cluster) AwaitOK() {
	c.t.Helper()
	for _, s := range append(append([]*Server(nil), c.Masters...), c.Replicas...) {
		select {
		case <-s.gone:
			continue
		default:
		}
		Eventually(c.t, "the cluster is complete", func() bool {
			info, err := s.Try("CLUSTER", "INFO").ToString()
			return err == nil && strings.Contains(info, "cluster_state:ok")
		})
	}
}

// URL is that of the cluster for the engine.
func (c *Cluster) URL() string {
	var addrs []string
	for _, s := range c.Masters {
		addrs = append(addrs, s.Addr())
	}
	return fmt.Sprintf("redis+cluster://%s", strings.Join(addrs, ","))
}

// MoveSlots hands every slot of one master that has keys to another, as
// redis-cli --cluster reshard does.
func (c *Cluster) MoveSlots(from, to int) {
	c.t.Helper()
	source, target := c.Masters[from], c.Masters[to]
	sourceID, err1 := source.Try("CLUSTER", "MYID").ToString()
	targetID, err2 := target.Try("CLUSTER", "MYID").ToString()
	if err1 != nil || err2 != nil {
		c.t.Fatal(err1, err2)
	}
	slots := map[string]bool{}
	keys, err := source.Try("KEYS", "*").AsStrSlice()
	if err != nil {
		c.t.Fatal(err)
	}
	for _, key := range keys {
		slot := source.Do("CLUSTER", "KEYSLOT", key)
		n, _ := slot.AsInt64()
		slots[strconv.FormatInt(n, 10)] = true
	}
	for slot := range slots {
		target.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", sourceID)
		source.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", targetID)
		for {
			keys, err := source.Try("CLUSTER", "GETKEYSINSLOT", slot, "10").AsStrSlice()
			if err != nil {
				c.t.Fatal(err)
			}
			if len(keys) == 0 {
				break
			}
			for _, key := range keys {
				source.Do("MIGRATE", "127.0.0.1", strconv.Itoa(target.port), key, "0", "5000")
			}
		}
		for _, s := range []*Server{target, source} {
			s.Do("CLUSTER", "SETSLOT", slot, "NODE", targetID)
		}
	}
}
