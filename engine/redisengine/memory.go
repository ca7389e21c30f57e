package redisengine

import (
	"context"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// Remember implements engine.Memory. A value is a STRING that expires.
func (e *Engine) Remember(ctx context.Context, key string, value []byte, d time.Duration) (kept []byte, err error) {
	if err := engine.ValidateMemory(key, value, d); err != nil {
		return nil, err
	}
	err = e.call(ctx, func(ctx context.Context) (err error) {
		kept, err = e.client.Do(ctx, e.client.B().Set().Key("{"+e.namespace+"}:memory:"+key).Value(rueidis.BinaryString(value)).
			Nx().Get().PxMilliseconds(max(d.Milliseconds(), 1)).Build()).AsBytes()
		if rueidis.IsRedisNil(err) { // nothing was there
			kept, err = value, nil
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}
