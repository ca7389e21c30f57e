// Package redisclient connects to the servers of a store on Redis, for what the
// command does there beside the store.
package redisclient

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine/anyengine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
)

// timeout bounds how long the servers are waited for.
const timeout = 10 * time.Second

var errNoAnswer = errors.New("the server did not answer within 10 seconds")

// Connect connects to the Redis server, or servers, of a store's name.
func Connect(ctx context.Context, store string) (rueidis.Client, error) {
	r, err := anyengine.SplitRedis(store)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, errNoAnswer)
	defer cancel()
	return redisengine.Connect(ctx, r.URL)
}
