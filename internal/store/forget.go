package store

import (
	"context"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// Forget deletes every key of a Redis server that belongs to a namespace, or
// to a channel, whose name begins like this.
func Forget(name, prefix string) error {
	ctx, cancel := context.WithTimeout(context.Background(), openTimeout)
	defer cancel()
	name, _, err := cutNamespace(name)
	if err != nil {
		return err
	}
	scheme, _, _ := strings.Cut(name, "://")
	if scheme != "redis" && scheme != "rediss" {
		return nil // through Sentinels or to a cluster: a handful of small keys stay
	}
	o, err := rueidis.ParseURL(name)
	if err != nil {
		return nil // as above; the engine takes some URLs that this does not
	}
	o.Dialer.Timeout = 3 * time.Second
	client, err := rueidis.NewClient(o)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, pattern := range []string{"{" + prefix + "*", prefix + ".*"} {
		for cursor := uint64(0); ; {
			page, err := client.Do(ctx, client.B().Scan().Cursor(cursor).Match(pattern).Count(1000).Build()).AsScanEntry()
			if err != nil {
				return err
			}
			for _, key := range page.Elements {
				if err := client.Do(ctx, client.B().Unlink().Key(key).Build()).Error(); err != nil {
					return err
				}
			}
			if cursor = page.Cursor; cursor == 0 {
				break
			}
		}
	}
	return nil
}
