package redisengine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"
	"golang.org/x/sync/singleflight"

	"github.com/watermarkchurch/toot-go/engine"
)

// The name of a channel is the key of its subscribers, in no namespace, where
// the Ruby original has them. So a channel could be named like a key of
// somebody else's. Some names are therefore nobody's channel, see checkName; and
// an app whose channels have no prefix, so that "users" is one, keeps their
// subscribers apart from everybody's keys: under keys of the namespace.

// sidekiqNames and sidekiqPrefixes are keys of Sidekiq's and of what is often
// added to it.
var (
	sidekiqNames    = map[string]bool{"queues": true, "schedule": true, "retry": true, "dead": true, "processes": true, "cron_jobs": true}
	sidekiqPrefixes = []string{"queue:", "stat:", "sidekiq", "cron_job:", "limit_fetch:", "uniquejobs"}
)

// realmSuffix is how the keys of credentials end, in the original too.
const realmSuffix = "toot.auth.credentials_store"

// checkName refuses the names of keys that others use as such.
func (e *Engine) checkName(channel string) error {
	var whose string
	switch {
	case strings.HasPrefix(channel, "{"):
		whose = "names with a brace in front are toot's own keys"
	case channel == e.namespace || strings.HasPrefix(channel, e.namespace+":"):
		whose = "names in the namespace are toot's own keys"
	case strings.HasSuffix(channel, realmSuffix):
		whose = "credentials are kept under such names"
	case sidekiqNames[channel], slices.ContainsFunc(sidekiqPrefixes, func(p string) bool { return strings.HasPrefix(channel, p) }):
		whose = "it is a key of Sidekiq's"
	default:
		return nil
	}
	return fmt.Errorf("%w: %q can't be a channel on Redis: %s", engine.ErrInvalid, channel, whose)
}

// keysOf returns the keys of a channel's subscribers, or the error of a name
// that is no channel's.
func (e *Engine) keysOf(ctx context.Context, channel string) (keys channelKeys, err error) {
	if err := e.settleNames(ctx); err != nil {
		return keys, err
	}
	if !e.channels.apart.Load() {
		if err := e.checkName(channel); err != nil {
			return keys, err
		}
	}
	return e.channels.of(channel), nil
}

// names is whether subscribers are kept apart from everybody's keys.
type names struct {
	wanted   atomic.Bool // by an app whose channels have no prefix
	settled  atomic.Bool
	deciding singleflight.Group
}

// KeepChannelsApart says that the channels of this process have no prefix, as
// engine.ChannelNames says.
func (e *Engine) KeepChannelsApart() { e.names.wanted.Store(true) }

const (
	namesApart  = "apart"
	namesShared = "shared with all"
	// namesPatience is how long looking for subscribers may take that are there
	// already: it goes through all keys of the server.
	namesPatience = time.Minute
)

// settleNames finds out where the subscribers of channels without a prefix are.
// It is decided once for the namespace, when they are first asked for: apart,
// unless there is already a channel among the keys that are shared with all.
func (e *Engine) settleNames(ctx context.Context) error {
	if !e.names.wanted.Load() || e.names.settled.Load() {
		return nil
	}
	where, err := e.get(ctx, e.namesKey())
	if err == nil && where == "" {
		where, err = e.decideNames(ctx)
	}
	if err != nil {
		return err
	}
	e.channels.apart.Store(where == namesApart)
	e.names.settled.Store(true)
	return nil
}

func (e *Engine) namesKey() string { return "{" + e.namespace + "}:channels" }

// decideNames looks through the keys of the server, once for all who wait for
// it, and goes on when they have given up.
func (e *Engine) decideNames(ctx context.Context) (string, error) {
	done := e.names.deciding.DoChan("", func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), namesPatience)
		defer cancel()
		example, err := e.sharedChannel(ctx)
		if err != nil {
			return "", err
		}
		want := namesApart
		if example != "" {
			want = namesShared
		}
		where, err := e.setOnce(ctx, e.namesKey(), want)
		if err == nil {
			e.log.Info("redisengine: settled where the subscribers of channels without a prefix are kept, now that they are first asked for",
				"where", where, "because_of", example, "key", e.namesKey())
		}
		return where, err
	})
	select {
	case r := <-done:
		where, _ := r.Val.(string)
		return where, r.Err
	case <-ctx.Done():
		return "", fmt.Errorf("redisengine: the keys of the server are still being looked through for channels without a prefix: %w", context.Cause(ctx))
	}
}

// get reads a string; empty if there is none.
func (e *Engine) get(ctx context.Context, key string) (value string, err error) {
	err = e.try(ctx, func(ctx context.Context) (err error) {
		value, err = e.client.Do(ctx, e.client.B().Get().Key(key).Build()).ToString()
		if rueidis.IsRedisNil(err) {
			return nil
		}
		return err
	})
	return value, err
}

// setOnce sets a string that was not set before, and returns what it is.
func (e *Engine) setOnce(ctx context.Context, key, value string) (now string, err error) {
	err = e.try(ctx, func(ctx context.Context) error {
		err := e.client.Do(ctx, e.client.B().Set().Key(key).Value(value).Nx().Build()).Error()
		if rueidis.IsRedisNil(err) {
			return nil
		}
		return err
	})
	if err != nil {
		return "", err
	}
	return e.get(ctx, key)
}

// sharedChannel returns the name of a set with a URL in it among the keys that
// are shared with all, or nothing if there is none.
func (e *Engine) sharedChannel(ctx context.Context) (name string, err error) {
	err = e.scanKeys(ctx, "set", escapeGlob(e.shared)+"*", func(ctx context.Context, keys []string) error {
		for _, key := range keys {
			if name != "" || e.checkName(strings.TrimPrefix(key, e.shared)) != nil {
				continue
			}
			members, err := e.client.Do(ctx, e.client.B().Srandmember().Key(key).Count(3).Build()).AsStrSlice()
			if err != nil && !wrongType(err) {
				return err
			}
			for _, m := range members {
				if strings.HasPrefix(m, "http://") || strings.HasPrefix(m, "https://") {
					name = key
				}
			}
		}
		return nil
	})
	return name, err
}
