package redisengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// A channel's subscribers are the members of the SET whose key is the name of
// the channel, in no namespace: where the Ruby original keeps them, so that
// both may be at work on one Redis.

const (
	// cacheTTL bounds for how long a channel's members are remembered without
	// asking. The server tells of changes at once.
	cacheTTL = 10 * time.Minute
	// ownChange is for how long after a change of this process its channel
	// is not read from the cache: the change is answered on one connection,
	// the word of it may come on another.
	ownChange = 2 * time.Second

	scanCount = 1000
)

// AddSubscriber registers a callback URL, as engine.Engine says.
func (e *Engine) AddSubscriber(ctx context.Context, channel, callbackURL string) (bool, error) {
	return e.changeSubscriber(ctx, channel, callbackURL, func(b rueidis.Builder) rueidis.Completed {
		return b.Sadd().Key(channel).Member(callbackURL).Build()
	})
}

// RemoveSubscriber takes a callback URL off, as engine.Engine says.
func (e *Engine) RemoveSubscriber(ctx context.Context, channel, callbackURL string) (bool, error) {
	return e.changeSubscriber(ctx, channel, callbackURL, func(b rueidis.Builder) rueidis.Completed {
		return b.Srem().Key(channel).Member(callbackURL).Build()
	})
}

func (e *Engine) changeSubscriber(ctx context.Context, channel, callbackURL string, command func(rueidis.Builder) rueidis.Completed) (bool, error) {
	if err := e.calls.enter(); err != nil {
		return false, err
	}
	defer e.calls.calls.Done()
	if channel == "" || callbackURL == "" {
		return false, invalid("a subscriber without channel or callback URL")
	}
	var n int64
	err := e.try(ctx, func(ctx context.Context) (err error) {
		e.changes.note(channel) // before: another goroutine may read meanwhile
		n, err = e.client.Do(ctx, command(e.client.B())).AsInt64()
		e.changes.note(channel)
		return err
	})
	return n > 0, err
}

// Subscribers returns a channel's callback URLs, as engine.Engine says: from
// memory, save for the first time.
func (e *Engine) Subscribers(ctx context.Context, channel string) ([]string, error) {
	if err := e.calls.enter(); err != nil {
		return nil, err
	}
	defer e.calls.calls.Done()
	if channel == "" {
		return nil, invalid("a channel without a name")
	}
	var urls []string
	err := e.try(ctx, func(ctx context.Context) (err error) {
		smembers := e.client.B().Smembers().Key(channel)
		if e.changes.recent(channel) {
			urls, err = e.client.Do(ctx, smembers.Build()).AsStrSlice()
		} else {
			urls, err = e.client.DoCache(ctx, smembers.Cache(), cacheTTL).AsStrSlice()
		}
		return err
	})
	if wrongType(err) {
		return nil, nil // something else of that name: no channel
	}
	return urls, err
}

// Channels returns the channels with a prefix, as engine.Engine says. It goes
// through all keys of the server, a part at a time.
func (e *Engine) Channels(ctx context.Context, prefix string) (map[string][]string, error) {
	if err := e.calls.enter(); err != nil {
		return nil, err
	}
	defer e.calls.calls.Done()
	var nodes []rueidis.Client
	err := e.try(ctx, func(ctx context.Context) (err error) {
		nodes, err = e.masters(ctx)
		return err
	})
	if err != nil {
		return nil, err
	}
	channels := make(map[string][]string)
	for _, node := range nodes {
		for cursor := uint64(0); ; {
			var page rueidis.ScanEntry
			err := e.try(ctx, func(ctx context.Context) (err error) {
				page, err = node.Do(ctx, node.B().Scan().Cursor(cursor).Match(escapeGlob(prefix)+"*").Count(scanCount).Type("set").Build()).AsScanEntry()
				return err
			})
			if err != nil {
				return nil, err
			}
			if err := e.addMembers(ctx, page.Elements, channels); err != nil {
				return nil, err
			}
			if cursor = page.Cursor; cursor == 0 {
				break
			}
		}
	}
	return channels, nil
}

func (e *Engine) addMembers(ctx context.Context, keys []string, channels map[string][]string) error {
	keys = slices.DeleteFunc(keys, func(key string) bool { return channels[key] != nil })
	if len(keys) == 0 {
		return nil
	}
	return e.try(ctx, func(ctx context.Context) error {
		commands := make([]rueidis.Completed, len(keys))
		for i, key := range keys {
			commands[i] = e.client.B().Smembers().Key(key).Build()
		}
		for i, r := range e.client.DoMulti(ctx, commands...) {
			urls, err := r.AsStrSlice()
			switch {
			case wrongType(err):
			case err != nil:
				return err
			case len(urls) > 0:
				slices.Sort(urls)
				channels[keys[i]] = urls
			}
		}
		return nil
	})
}

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

func wrongType(err error) bool {
	var redisErr *rueidis.RedisError
	return errors.As(err, &redisErr) && strings.HasPrefix(redisErr.Error(), "WRONGTYPE")
}

// escapeGlob makes a pattern that matches nothing but s.
func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}

// changes remembers which channels this process has changed of late.
type changes struct {
	mu sync.Mutex
	at map[string]time.Time
}

func (c *changes) note(channel string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.at == nil {
		c.at = make(map[string]time.Time)
	}
	now := time.Now()
	if len(c.at) > 1000 {
		for name, at := range c.at {
			if now.Sub(at) > ownChange {
				delete(c.at, name)
			}
		}
	}
	c.at[channel] = now
}

func (c *changes) recent(channel string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	at, ok := c.at[channel]
	if ok && time.Since(at) > ownChange {
		delete(c.at, channel)
		ok = false
	}
	return ok
}
