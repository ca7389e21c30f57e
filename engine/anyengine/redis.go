package anyengine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine/redisengine"
)

const redisForm = "redis://HOST[:PORT][/DB][?namespace=NAME]"

var redis = kind{
	isNamed: isRedis,
	open:    openRedis,
	shown:   []string{"namespace", "redis_namespace", "sentinel_user", "skip_verify"},
}

// openTimeout bounds how long a server is waited for.
const openTimeout = 10 * time.Second

var errNoAnswer = errors.New("the server did not answer within 10 seconds")

// isRedis reports a URL of any of redisengine's forms.
func isRedis(name string) bool {
	scheme, _, isURL := strings.Cut(name, "://")
	scheme, _, _ = strings.Cut(scheme, "+")
	return isURL && slices.Contains([]string{"redis", "rediss", "valkey", "valkeys"}, scheme)
}

func openRedis(ctx context.Context, name string, o *Options) (Store, error) {
	r, err := SplitRedis(name)
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, openTimeout, errNoAnswer)
	defer cancel()
	e, err := redisengine.Open(ctx, r.URL, &redisengine.Options{
		Namespace: cmp.Or(r.Namespace, o.Namespace), RedisNamespace: cmp.Or(r.RedisNamespace, o.RedisNamespace),
		Retention: o.Retention, Logger: o.Logger,
	})
	if err != nil {
		return nil, err
	}
	return e, nil
}

// Redis is what the name of a store on Redis says.
type Redis struct {
	URL            string // of the servers, as redisengine.Open and Connect take it
	Namespace      string // ?namespace=…, "" if there is none
	RedisNamespace string // ?redis_namespace=…, "" if there is none
}

// SplitRedis takes the name of a store on Redis apart, for those who want to look
// at its servers by themselves. Whether the URL is right is not looked at.
func SplitRedis(name string) (Redis, error) {
	rest, query, ok := strings.Cut(name, "?")
	if !ok {
		return Redis{URL: name}, nil
	}
	values, err := url.ParseQuery(query)
	if err != nil {
		return Redis{}, fmt.Errorf("%w: what follows the ? is not escaped as it must be", ErrName)
	}
	r := Redis{Namespace: values.Get("namespace"), RedisNamespace: values.Get("redis_namespace")}
	values.Del("namespace")
	values.Del("redis_namespace")
	if r.URL = rest; len(values) > 0 {
		r.URL += "?" + values.Encode()
	}
	return r, nil
}
