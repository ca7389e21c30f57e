package main

import (
	"context"
	"fmt"
	"time"
)

// publishOnly is Publish until it returns: the event is durable then, with a
// delivery to one subscriber. Nothing is delivered.
func publishOnly(where store) func(context.Context, *bench, *stage) (sample, error) {
	return func(ctx context.Context, b *bench, s *stage) (sample, error) {
		n, err := s.newNode(ctx, where, "publisher", unchanged)
		if err != nil {
			return sample{}, err
		}
		if _, err := n.engine.AddSubscriber(ctx, prefix+channel, n.server.url+callbacksPath, 0); err != nil {
			return sample{}, err
		}
		flow := newLoop(singles, 1)
		flow.publish = func(ctx context.Context, from, count int) error {
			if err := n.publish(ctx, from, count, 0); err != nil {
				return err
			}
			flow.arrive(from)
			return nil
		}
		publish := func(d time.Duration) func(context.Context) (int, error) {
			return func(ctx context.Context) (int, error) {
				before, end := flow.published(), time.Now().Add(d)
				err := flow.flood(ctx, func() bool { return time.Now().Before(end) })
				return flow.published() - before, err
			}
		}
		if _, err := publish(b.length / 5)(ctx); err != nil {
			return sample{}, err
		}
		m, err := s.measure(ctx, publish(b.length))
		if err != nil {
			return sample{}, err
		}
		stats, err := n.app.Stats(ctx)
		if err == nil && stats.Waiting != flow.published() {
			err = fmt.Errorf("%d events were published and %d are in the store", flow.published(), stats.Waiting)
		}
		return m, err
	}
}
