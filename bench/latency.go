package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// slowRate is the rate at which latency is measured: far from what is
// possible, so that nothing queues.
const slowRate = 500 // events a second

// latency measures the time from the call of Publish to the call of the
// handler, with everything durable in between, while events come at an even
// pace, whether the earlier ones have been handled or not.
func latency(where store) func(context.Context, *bench, *stage) (sample, error) {
	return func(ctx context.Context, b *bench, s *stage) (sample, error) {
		length := 2 * b.length // for tails of some hundred samples at least
		warm := int(slowRate * b.length.Seconds() / 3)
		total := warm + int(slowRate*length.Seconds())
		published := make([]time.Time, total)
		took := make([]atomic.Int64, total)
		ledger := newLedger()
		p, err := s.newPair(ctx, where, unchanged, func(n int) {
			if n >= 0 && n < total {
				took[n].Store(int64(time.Since(published[n])))
			}
			ledger.mark(n)
		})
		if err != nil {
			return sample{}, err
		}
		flow := &loop{fan: 1, ledger: ledger, settled: p.settled, room: newRoom(0, 1)}
		pace := func(ctx context.Context, count int) (int, error) {
			ctx, stop := flow.watched(ctx)
			defer stop()
			from := flow.published()
			begin := time.Now()
			var calls sync.WaitGroup
			var failed atomic.Pointer[error]
			for i := range count {
				// A goroutine for each, so that a slow one delays no other.
				time.Sleep(time.Until(begin.Add(time.Duration(i) * time.Second / slowRate)))
				flow.next.Add(1)
				calls.Go(func() {
					published[from+i] = time.Now()
					if err := p.publisher.publish(ctx, from+i, 1, 0); err != nil {
						failed.Store(&err)
					}
				})
			}
			calls.Wait()
			if err := failed.Load(); err != nil {
				return 0, *err
			}
			return count, flow.finish(ctx)
		}
		if _, err := pace(ctx, warm); err != nil {
			return sample{}, err
		}
		m, err := s.measure(ctx, func(ctx context.Context) (int, error) { return pace(ctx, total-warm) })
		for i := warm; i < total; i++ {
			m.latencies = append(m.latencies, time.Duration(took[i].Load()))
		}
		return m, err
	}
}
