package redisengine

import (
	"context"
	"fmt"
	"strings"

	"github.com/redis/rueidis"
)

// masters returns a client for each server that has keys of its own.
func (e *Engine) masters(ctx context.Context) ([]rueidis.Client, error) {
	if e.client.Mode() != rueidis.ClientModeCluster {
		return []rueidis.Client{e.client}, nil
	}
	// CLUSTER SLOTS names the master first. The client knows nodes that have
	// failed, too.
	slots, err := e.client.Do(ctx, e.client.B().ClusterSlots().Build()).ToArray()
	if err != nil {
		return nil, err
	}
	nodes := e.client.Nodes()
	found := make(map[string]rueidis.Client)
	for _, s := range slots {
		addr, err := masterOf(s)
		if err != nil {
			return nil, err
		}
		node := nodes[addr]
		if node == nil {
			// Named otherwise than here, say by a host name: ask them all.
			return e.mastersByRole(ctx, nodes)
		}
		found[addr] = node
	}
	all := make([]rueidis.Client, 0, len(found))
	for _, node := range found {
		all = append(all, node)
	}
	return all, nil
}

func masterOf(slots rueidis.RedisMessage) (string, error) {
	parts, err := slots.ToArray()
	if err != nil || len(parts) < 3 {
		return "", errForeign
	}
	master, err := parts[2].ToArray()
	if err != nil || len(master) < 2 {
		return "", errForeign
	}
	host, err1 := master[0].ToString()
	port, err2 := master[1].AsInt64()
	if err1 != nil || err2 != nil {
		return "", nil
	}
	if strings.Contains(host, ":") {
		host = "[" + host + "]"
	}
	return fmt.Sprintf("%s:%d", host, port), nil
}

func (e *Engine) mastersByRole(ctx context.Context, nodes map[string]rueidis.Client) ([]rueidis.Client, error) {
	var all []rueidis.Client
	for _, node := range nodes {
		role, err := node.Do(ctx, node.B().Role().Build()).ToArray()
		if err != nil {
			return nil, err
		}
		if name, err := role[0].ToString(); err == nil && name == "master" {
			all = append(all, node)
		}
	}
	return all, nil
}
