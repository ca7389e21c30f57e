package main

import (
	"context"
	"fmt"
	"time"

	"github.com/google/uuid"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/engine"
)

// stuckJobs is how many jobs are stuck in two lanes: a tenth of the backlog.
func (o *options) stuckJobs() int { return o.backlog / 10 }

// besideStuck is the full life in batches beside two endpoints that nobody can
// connect to, for each of which half of the stuck jobs wait.
func besideStuck(ctx context.Context, b *bench, s *stage) (sample, error) {
	stuck := b.stuckJobs()
	p, flow, err := s.newLife(ctx, onPostgres, batches, 0)
	if err != nil {
		return sample{}, err
	}
	l, err := listen()
	if err != nil {
		return sample{}, err
	}
	closed := "http://" + l.Addr().String()
	if err := l.Close(); err != nil {
		return sample{}, err
	}
	for i := range 2 {
		if _, err := p.publisher.engine.AddSubscriber(ctx, prefix+"stuck", fmt.Sprintf("%s/%d", closed, i), 0); err != nil {
			return sample{}, err
		}
	}
	messages := make([]toot.Message, 100)
	for i := range messages {
		messages[i] = toot.Message{Channel: "stuck", Payload: payload(i, 0)}
	}
	for range stuck / 2 / len(messages) {
		if _, err := p.publisher.app.PublishAll(ctx, messages...); err != nil {
			return sample{}, err
		}
	}
	flow.settled = func(ctx context.Context) (bool, error) {
		stats, err := p.publisher.app.Stats(ctx)
		if err != nil || stats.Waiting+stats.InFlight+stats.Dead > stuck {
			return false, err
		}
		return p.subscriber.settled(ctx)
	}
	return b.steady(ctx, s, flow)
}

// longRun is the full life in batches of as many events as the backlog has: enough
// for vacuum to matter. While a snapshot is held, no vacuum can remove what was
// deleted since.
func longRun(snapshot bool) func(context.Context, *bench, *stage) (sample, error) {
	return func(ctx context.Context, b *bench, s *stage) (sample, error) {
		_, flow, err := s.newLife(ctx, onPostgres, batches, 0)
		if err != nil {
			return sample{}, err
		}
		if _, err := flow.run(ctx, b.length/5); err != nil {
			return sample{}, err
		}
		if snapshot {
			pool, err := s.pool(ctx, 1)
			if err != nil {
				return sample{}, err
			}
			tx, err := pool.Begin(ctx)
			if err != nil {
				return sample{}, err
			}
			s.onClose(func() error { return tx.Rollback(context.Background()) })
			if _, err := tx.Exec(ctx, "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"); err != nil {
				return sample{}, err
			}
			if _, err := tx.Exec(ctx, "SELECT count(*) FROM pg_class"); err != nil { // takes it
				return sample{}, err
			}
		}
		return s.measure(ctx, func(ctx context.Context) (int, error) {
			ctx, stop := flow.watched(ctx)
			defer stop()
			before := flow.published()
			if err := flow.floodWith(ctx, b.backlog); err != nil {
				return 0, err
			}
			err := flow.finish(ctx)
			return flow.published() - before, err
		})
	}
}

// claims is how fast jobs that wait in so many lanes are claimed and settled,
// without the work itself.
func claims(lanes int) func(context.Context, *bench, *stage) (sample, error) {
	return func(ctx context.Context, b *bench, s *stage) (sample, error) {
		e, err := s.open(ctx, onPostgres, "claims")
		if err != nil {
			return sample{}, err
		}
		const perCall = 500
		n := max(int(20_000*b.length.Seconds())/perCall, 8) * perCall
		jobs := make([]engine.Job, perCall)
		for i := 0; i < n; i += perCall {
			for j := range jobs {
				jobs[j] = engine.Job{
					Event: &engine.Event{ID: uuid.Must(uuid.NewV7()).String(), Channel: prefix + channel, Body: wireEvent(i+j, 0)},
					Lane:  engine.Lane{Kind: engine.Deliver, Name: fmt.Sprintf("https://%d.example.org/", (i+j)%lanes)},
				}
			}
			if _, err := e.Push(ctx, engine.PushRequest{Jobs: jobs}); err != nil {
				return sample{}, err
			}
		}
		return s.measure(ctx, func(ctx context.Context) (int, error) {
			outcomes := make([]engine.Outcome, 0, perCall)
			for settled := 0; settled < n; settled += len(outcomes) {
				claimed, err := e.Claim(ctx, engine.ClaimRequest{Kind: engine.Deliver, Max: perCall, MaxPerLane: perCall, Lease: time.Minute})
				if err != nil {
					return 0, err
				}
				outcomes = outcomes[:0]
				for _, j := range claimed.Jobs {
					outcomes = append(outcomes, engine.Outcome{Ticket: j.Ticket, Result: engine.Done})
				}
				if _, err := e.Settle(ctx, outcomes); err != nil {
					return 0, err
				}
			}
			return n, nil
		})
	}
}
