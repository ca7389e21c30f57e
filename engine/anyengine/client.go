package anyengine

import (
	"cmp"
	"context"
	"errors"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine/redisengine"
)

// Client connects to the Redis server, or servers, of a store's name.
func Client(ctx context.Context, name string) (rueidis.Client, error) {
	url, _, err := cutSettings(name, redisSettings...)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, errNoAnswer)
	defer cancel()
	return redisengine.Connect(ctx, url)
}

// Namespace returns the setting ?namespace=… of a store's name, or ?schema=…, which
// is as much on PostgreSQL.
func Namespace(name string) string {
	_, settings, _ := cutSettings(name, "namespace", "schema")
	return cmp.Or(settings.Get("namespace"), settings.Get("schema"))
}

// RedisNamespace returns the setting ?redis_namespace=… of a store's name.
func RedisNamespace(name string) string {
	_, settings, _ := cutSettings(name, redisSettings...)
	return settings.Get("redis_namespace")
}

var errNoAnswer = errors.New("the server did not answer within 10 seconds")
