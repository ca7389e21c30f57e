package store

import (
	"context"
	"strings"

	"github.com/redis/rueidis"
)

// Namespace returns the setting ?namespace=… of a store's name.
func Namespace(name string) string {
	_, namespace, _ := cutNamespace(name)
	return namespace
}

// Forget deletes every key of a Redis server, or of a cluster, that belongs to
// a namespace, or to a channel, whose name begins like this.
func Forget(name, prefix string) error {
	if !strings.Contains(name, "://") {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), openTimeout, errNoAnswer)
	defer cancel()
	client, err := Client(ctx, name)
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
