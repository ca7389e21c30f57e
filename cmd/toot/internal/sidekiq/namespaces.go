package sidekiq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/rueidis"
)

// Elsewhere returns how many jobs of the original there are on the same Redis
// in other namespaces than this one, by namespace, where there are some. The
// empty one stands for a Sidekiq that uses Redis without redis-namespace. It
// goes through the names of all keys, a part at a time.
func (s *Installation) Elsewhere(ctx context.Context) (map[string]int, error) {
	namespaces, err := s.namespaces(ctx)
	if err != nil {
		return nil, fmt.Errorf("sidekiq: looking for namespaces: %w", err)
	}
	count := Options{DryRun: true, Subscriptions: func(channel string) []string { return []string{channel} }}
	found := map[string]int{}
	for _, namespace := range namespaces {
		if namespace == s.Namespace {
			continue
		}
		other := &Installation{s.Client, namespace}
		counts, err := other.Import(ctx, nil, count)
		var answer *rueidis.RedisError
		if errors.As(err, &answer) && strings.HasPrefix(answer.Error(), "WRONGTYPE") {
			continue // its keys only look like Sidekiq's
		}
		if err != nil {
			return nil, err
		}
		if counts.Moved() > 0 {
			found[namespace] = counts.Moved()
		}
	}
	return found, nil
}

// namespaces returns what stands before keys that are named as Sidekiq's are.
func (s *Installation) namespaces(ctx context.Context) ([]string, error) {
	var namespaces []string
	for _, node := range s.Client.Nodes() {
		for cursor := uint64(0); ; {
			page, err := node.Do(ctx, node.B().Scan().Cursor(cursor).Match("*[qrsd][uec][etah]*").Count(scanCount).Build()).AsScanEntry()
			if err != nil {
				return nil, err
			}
			for _, key := range page.Elements {
				if namespace, ok := namespaceOf(key); ok && !slices.Contains(namespaces, namespace) {
					namespaces = append(namespaces, namespace)
				}
			}
			if cursor = page.Cursor; cursor == 0 {
				break
			}
		}
	}
	slices.Sort(namespaces)
	return namespaces, nil
}

// scanCount is how many keys the server looks at in one step.
const scanCount = 1000

// namespaceOf returns what stands before the name of a key of Sidekiq's. Those
// of this project's own queues, which have braces, are none.
func namespaceOf(key string) (namespace string, ok bool) {
	for _, name := range []string{"queues", "retry", "schedule", "dead"} {
		if key == name {
			return "", true
		}
		if namespace, ok := strings.CutSuffix(key, ":"+name); ok && !strings.ContainsAny(namespace, "{}") {
			return namespace, true
		}
	}
	return "", false
}
