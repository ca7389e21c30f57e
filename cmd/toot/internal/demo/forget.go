package demo

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/redisclient"
)

const forgetTimeout = 10 * time.Second

// forget deletes every key of a Redis server, or of a cluster, that belongs to
// a namespace, or to a channel, whose name begins like this.
func forget(name, prefix string) error {
	if !strings.Contains(name, "://") {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), forgetTimeout, errors.New("the server did not answer in time"))
	defer cancel()
	client, err := redisclient.Connect(ctx, name)
	if err != nil {
		return err
	}
	defer client.Close()
	for _, node := range client.Nodes() {
		for _, pattern := range []string{"{" + prefix + "*", prefix + ".*"} {
			if err := unlink(ctx, client, node, pattern); err != nil {
				return err
			}
		}
	}
	return nil
}

// unlink deletes the keys of a node that match.
func unlink(ctx context.Context, client, node rueidis.Client, pattern string) error {
	for cursor := uint64(0); ; {
		page, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match(pattern).Count(1000).Build()).AsScanEntry()
		if err != nil {
			return err
		}
		for _, key := range page.Elements {
			if err := client.Do(ctx, client.B().Unlink().Key(key).Build()).Error(); err != nil {
				return err
			}
		}
		if cursor = page.Cursor; cursor == 0 {
			return nil
		}
	}
}
