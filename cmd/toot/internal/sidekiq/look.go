package sidekiq

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/rueidis"
)

// Running returns the identities of the Sidekiq processes that have given a
// sign of life within the last minute, such as "web-1:4711:5f0e1c2a3b4d".
func Running(ctx context.Context, client rueidis.Client) ([]string, error) {
	known, err := client.Do(ctx, client.B().Smembers().Key("processes").Build()).AsStrSlice()
	if err != nil {
		return nil, fmt.Errorf("sidekiq: processes: %w", err)
	}
	slices.Sort(known)
	var running []string
	for _, identity := range known {
		// What they beat expires when they don't any more; the name stays.
		n, err := client.Do(ctx, client.B().Exists().Key(identity).Build()).AsInt64()
		if err != nil {
			return nil, fmt.Errorf("sidekiq: processes: %w", err)
		}
		if n > 0 {
			running = append(running, identity)
		}
	}
	return running, nil
}

// Size returns how many jobs Import will look at, those of others included.
func Size(ctx context.Context, client rueidis.Client, queues []string) (int, error) {
	queues, err := queueNames(ctx, client, queues)
	if err != nil {
		return 0, fmt.Errorf("sidekiq: %w", err)
	}
	var size int64
	for _, q := range queues {
		n, err := client.Do(ctx, client.B().Llen().Key("queue:"+q).Build()).AsInt64()
		if err != nil {
			return 0, fmt.Errorf("sidekiq: queue:%s: %w", q, err)
		}
		size += n
	}
	for _, set := range []string{"schedule", "retry", "dead"} {
		n, err := client.Do(ctx, client.B().Zcard().Key(set).Build()).AsInt64()
		if err != nil {
			return 0, fmt.Errorf("sidekiq: %s: %w", set, err)
		}
		size += n
	}
	return int(size), nil
}

// queueNames returns the queues that were asked for, or all that there are.
func queueNames(ctx context.Context, client rueidis.Client, asked []string) ([]string, error) {
	if len(asked) > 0 {
		return asked, nil
	}
	all, err := client.Do(ctx, client.B().Smembers().Key("queues").Build()).AsStrSlice()
	if err != nil {
		return nil, fmt.Errorf("queues: %w", err)
	}
	slices.Sort(all)
	return all, nil
}
