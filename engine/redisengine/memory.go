package redisengine

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// Remember keeps a value for a while, as engine.Memory says. The server could
// let it expire by itself, but would do so by its clock as it is set.
func (e *Engine) Remember(ctx context.Context, key string, value []byte, d time.Duration) (kept []byte, err error) {
	if err := engine.ValidateMemory(key, value, d); err != nil {
		return nil, err
	}
	prefix := "{" + e.namespace + "}:remembered:"
	err = e.call(ctx, func(ctx context.Context) error {
		now, err := e.storeTime(ctx)
		if err != nil {
			return err
		}
		first, err := e.rememberFormerly(ctx, key, value, d)
		if err != nil {
			return err
		}
		kept, err = rememberScript.Exec(ctx, e.client, []string{prefix + "values", prefix + "ends"}, []string{
			key, rueidis.BinaryString(first), strconv.FormatInt(now, 10), span(d),
		}).AsBytes()
		return err
	})
	if err != nil {
		return nil, err
	}
	return kept, nil
}
