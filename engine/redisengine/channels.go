package redisengine

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// scanCount is how many keys the server looks at in one step.
const scanCount = 1000

// Channels returns the channels with a prefix, as engine.Engine says. It goes
// through all keys of the server, a part at a time.
func (e *Engine) Channels(ctx context.Context, prefix string) (map[string][]string, error) {
	if err := e.calls.enter(); err != nil {
		return nil, err
	}
	defer e.calls.calls.Done()
	if err := e.settleNames(ctx); err != nil {
		return nil, err
	}
	now, err := e.storeTime(ctx)
	if err != nil {
		return nil, err
	}
	pattern, name := escapeGlob(e.shared+prefix)+"*", func(key string) (string, bool) {
		channel := strings.TrimPrefix(key, e.shared)
		return channel, e.checkName(channel) == nil
	}
	if e.channels.apart.Load() {
		pattern = escapeGlob("{"+e.namespace+":c") + "*}" + apartInfix + escapeGlob(prefix) + "*"
		name = func(key string) (string, bool) {
			_, channel, ok := strings.Cut(key, "}"+apartInfix)
			return channel, ok
		}
	}
	channels := make(map[string][]string)
	err = e.scanKeys(ctx, "set", pattern, func(ctx context.Context, keys []string) error {
		var names []string
		for _, key := range keys {
			if channel, ok := name(key); ok {
				names = append(names, channel)
			}
		}
		return e.addMembers(ctx, names, now, channels)
	})
	if err != nil {
		return nil, err
	}
	return channels, nil
}

// scanKeys calls do with the keys of a type that match a pattern, a part at a
// time, some perhaps twice.
func (e *Engine) scanKeys(ctx context.Context, kind, pattern string, do func(ctx context.Context, keys []string) error) error {
	var nodes []rueidis.Client
	err := e.try(ctx, func(ctx context.Context) (err error) {
		nodes, err = e.masters(ctx)
		return err
	})
	if err != nil {
		return err
	}
	for _, node := range nodes {
		for cursor := uint64(0); ; {
			var page rueidis.ScanEntry
			err := e.try(ctx, func(ctx context.Context) (err error) {
				page, err = node.Do(ctx, node.B().Scan().Cursor(cursor).Match(pattern).Count(scanCount).Type(kind).Build()).AsScanEntry()
				return err
			})
			if err != nil {
				return err
			}
			if err := do(ctx, page.Elements); err != nil {
				return err
			}
			if cursor = page.Cursor; cursor == 0 {
				break
			}
		}
	}
	return nil
}

// addMembers reads the subscribers of channels. It leaves out those whose
// registration has ended: whoever publishes takes them off.
func (e *Engine) addMembers(ctx context.Context, names []string, now int64, channels map[string][]string) error {
	names = slices.DeleteFunc(names, func(name string) bool { return channels[name] != nil })
	if len(names) == 0 {
		return nil
	}
	return e.try(ctx, func(ctx context.Context) error {
		commands := make([]rueidis.Completed, 0, 2*len(names))
		for _, name := range names {
			keys := e.channels.make(name)
			commands = append(commands,
				e.client.B().Smembers().Key(keys[0]).Build(),
				e.client.B().Zrange().Key(keys[2]).Min("-inf").Max(strconv.FormatInt(now, 10)).Byscore().Build())
		}
		results := e.client.DoMulti(ctx, commands...)
		for i, name := range names {
			urls, err := results[2*i].AsStrSlice()
			if wrongType(err) {
				continue
			}
			var over []string
			if err == nil {
				over, err = results[2*i+1].AsStrSlice()
			}
			if err != nil {
				return err
			}
			if len(over) > 0 {
				urls = slices.DeleteFunc(urls, func(url string) bool { return slices.Contains(over, url) })
			}
			if len(urls) > 0 {
				slices.Sort(urls)
				channels[name] = urls
			}
		}
		return nil
	})
}

// escapeGlob makes a pattern that matches nothing but s.
func escapeGlob(s string) string {
	return strings.NewReplacer(`\`, `\\`, `*`, `\*`, `?`, `\?`, `[`, `\[`, `]`, `\]`).Replace(s)
}
