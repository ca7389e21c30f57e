package redisengine

import (
	"context"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// A channel's subscribers are shared with apps that use the Ruby gem, which know
// of no end of a registration: they add and remove members of the SET and
// nothing else. So what the engine knows more about is kept beside it, see
// lua/audience.lua. What others have removed is forgotten when that is noticed.
// A member that others have removed and added again before that, or have added
// once more, cannot be told from one that was left alone.

// AddSubscriber registers a callback URL, as engine.Engine says.
func (e *Engine) AddSubscriber(ctx context.Context, channel, callbackURL string, lease time.Duration) (bool, error) {
	if err := engine.ValidateSubscriber(channel, callbackURL); err != nil {
		return false, err
	}
	return e.changeSubscriber(ctx, registerScript, channel, callbackURL, func(now int64) string {
		if lease <= 0 {
			return ""
		}
		return strconv.FormatInt(now+bounded(lease).Microseconds(), 10)
	})
}

// RemoveSubscriber takes a callback URL off, as engine.Engine says.
func (e *Engine) RemoveSubscriber(ctx context.Context, channel, callbackURL string, olderThan time.Duration) (bool, error) {
	if err := engine.ValidateChannel(channel); err != nil {
		return false, err
	}
	return e.changeSubscriber(ctx, unregisterScript, channel, callbackURL, func(int64) string { return micros(olderThan) })
}

func (e *Engine) changeSubscriber(ctx context.Context, script *rueidis.Lua, channel, callbackURL string, limit func(now int64) string) (changed bool, err error) {
	if err := e.calls.enter(); err != nil {
		return false, err
	}
	defer e.calls.calls.Done()
	keys, err := e.keysOf(ctx, channel)
	if err != nil {
		return false, err
	}
	err = e.try(ctx, func(ctx context.Context) error {
		now, err := e.storeTime(ctx)
		if err != nil {
			return err
		}
		args := []string{callbackURL, strconv.FormatInt(now, 10), limit(now)}
		n, err := script.Exec(ctx, e.client, keys[:], args).AsInt64()
		changed = n > 0
		if wrongType(err) {
			return fmt.Errorf("%w: %q can't be a channel: a key of that name holds something else than subscribers", engine.ErrInvalid, channel)
		}
		if err == nil {
			err = e.dropFormerLease(ctx, channel, callbackURL)
		}
		return err
	})
	return changed, err
}

// Subscribers returns a channel's callback URLs, as engine.Engine says.
func (e *Engine) Subscribers(ctx context.Context, channel string) ([]string, error) {
	if err := e.calls.enter(); err != nil {
		return nil, err
	}
	defer e.calls.calls.Done()
	if err := engine.ValidateChannel(channel); err != nil {
		return nil, err
	}
	a := e.audience(ctx, channel, math.MaxInt32)
	if wrongType(a.Err) {
		return nil, nil // something else of that name: no channel
	}
	return a.CallbackURLs, a.Err
}
