package main

import "context"

// backlog measures how fast what has piled up is worked off: the publisher's
// workers stand still while events are published, then they drain them, full
// life. The rate of the same stores with an empty queue is measured before.
func backlog(where store, size int) func(context.Context, *bench, *stage) (sample, error) {
	return func(ctx context.Context, b *bench, s *stage) (sample, error) {
		p, flow, err := s.newLife(ctx, where, batches, 0)
		if err != nil {
			return sample{}, err
		}
		empty, err := b.steady(ctx, s, flow)
		if err != nil {
			return sample{}, err
		}
		if err := p.publisher.halt(); err != nil {
			return sample{}, err
		}
		profile := s.profile
		s.profile = "" // of the drain alone
		flow.room.give(size)
		filled, err := s.measure(ctx, func(ctx context.Context) (int, error) {
			ctx, stop := flow.watched(ctx)
			defer stop()
			return 0, flow.floodWith(ctx, size)
		})
		if err != nil {
			return sample{}, err
		}
		s.profile = profile
		drained, err := s.measure(ctx, func(ctx context.Context) (int, error) {
			ctx, stop := flow.watched(ctx)
			defer stop()
			before := int(flow.ledger.arrived.Load())
			p.publisher.run()
			err := flow.finish(ctx)
			return flow.published() - before, err
		})
		drained.emptyRate = empty.rate()
		drained.rss = max(empty.rss, filled.rss, drained.rss)
		return drained, err
	}
}
