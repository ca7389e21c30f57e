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
	return startCluster(t, false, settings)
}

// StartClusterWithReplicas starts a cluster where each master has a replica in
// sync, which replaces it when it does not answer for a second or so.
func StartClusterWithReplicas(t testing.TB, settings ...string) *Cluster {
	t.Helper()
	return startCluster(t, true, settings)
}

func startCluster(t testing.TB, replicas bool, settings []string) *Cluster {
	t.Helper()
	const masters, slots = 3, 16384
	c := &Cluster{t: t}
	node := func() *Server {
		return Start(t, append([]string{
			"cluster-enabled yes", "cluster-config-file nodes.conf", "cluster-node-timeout 1000", "cluster-port $BUSPORT",
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
