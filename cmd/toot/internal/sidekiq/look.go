package sidekiq

import (
	"context"
	"fmt"
	"slices"

	"github.com/redis/rueidis"
)

// Installation is a Sidekiq and where it keeps its jobs.
type Installation struct {
	Client rueidis.Client
	// Namespace is what the redis-namespace gem puts before every key there,
	// without the colon between. Empty: Sidekiq uses Redis without it.
	Namespace string
}

func (s *Installation) key(name string) string {
	if s.Namespace == "" {
		return name
	}
	return s.Namespace + ":" + name
}

// Running returns the identities of the Sidekiq processes that have given a
// sign of life within the last minute, such as "web-1:4711:5f0e1c2a3b4d".
func (s *Installation) Running(ctx context.Context) ([]string, error) {
	known, err := s.Client.Do(ctx, s.Client.B().Smembers().Key(s.key("processes")).Build()).AsStrSlice()
	if err != nil {
		return nil, fmt.Errorf("sidekiq: processes: %w", err)
	}
	slices.Sort(known)
	var running []string
	for _, identity := range known {
		// What they beat expires when they don't any more; the name stays.
		n, err := s.Client.Do(ctx, s.Client.B().Exists().Key(s.key(identity)).Build()).AsInt64()
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
func (s *Installation) Size(ctx context.Context, queues []string) (int, error) {
	queues, err := s.queueNames(ctx, queues)
	if err != nil {
		return 0, fmt.Errorf("sidekiq: %w", err)
	}
	var size int64
	for _, q := range queues {
		n, err := s.Client.Do(ctx, s.Client.B().Llen().Key(s.key("queue:"+q)).Build()).AsInt64()
		if err != nil {
			return 0, fmt.Errorf("sidekiq: queue:%s: %w", q, err)
		}
		size += n
	}
	for _, set := range []string{"schedule", "retry", "dead"} {
		n, err := s.Client.Do(ctx, s.Client.B().Zcard().Key(s.key(set)).Build()).AsInt64()
		if err != nil {
			return 0, fmt.Errorf("sidekiq: %s: %w", set, err)
		}
		size += n
	}
	return int(size), nil
}

// queueNames returns the queues that were asked for, or all that there are.
func (s *Installation) queueNames(ctx context.Context, asked []string) ([]string, error) {
	if len(asked) > 0 {
		return asked, nil
	}
	all, err := s.Client.Do(ctx, s.Client.B().Smembers().Key(s.key("queues")).Build()).AsStrSlice()
	if err != nil {
		return nil, fmt.Errorf("queues: %w", err)
	}
	slices.Sort(all)
	return all, nil
}
