package main

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/watermarkchurch/toot-go/outbox/pgxoutbox"
)

// transactionConnections is how many transactions are under way at a time.
const transactionConnections = 32

// note writes what a transaction writes beside its own work.
type note func(ctx context.Context, tx pgx.Tx, i int) error

// plainInsert is what a caller would do at the least: a row of as many bytes.
func plainInsert(context.Context, *stage, *pgxpool.Pool) (note, func(context.Context) (bool, error), error) {
	return func(ctx context.Context, tx pgx.Tx, i int) error {
		_, err := tx.Exec(ctx, "INSERT INTO notes (body) VALUES ($1)", wireEvent(i, 0))
		return err
	}, func(context.Context) (bool, error) { return true, nil }, nil
}

// outboxPublish publishes an event with one subscriber. Nobody delivers it.
func outboxPublish(ctx context.Context, s *stage, pool *pgxpool.Pool) (note, func(context.Context) (bool, error), error) {
	n, err := s.newNode(ctx, onPostgres, "publisher", unchanged)
	if err != nil {
		return nil, nil, err
	}
	if _, err := n.engine.AddSubscriber(ctx, prefix+channel, n.server.url+callbacksPath, 0); err != nil {
		return nil, nil, err
	}
	box, err := pgxoutbox.New(n.app, pool, nil)
	if err != nil {
		return nil, nil, err
	}
	if err := box.Migrate(ctx); err != nil {
		return nil, nil, err
	}
	running, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- box.Run(running) }()
	s.onClose(func() error {
		cancel()
		return <-ended
	})
	write := func(ctx context.Context, tx pgx.Tx, i int) error {
		_, err := box.Publish(ctx, tx, channel, payload(i, 0))
		return err
	}
	moved := func(ctx context.Context) (bool, error) {
		stats, err := box.Stats(ctx)
		return stats.Waiting == 0, err
	}
	return write, moved, nil
}

// transactions measures transactions that write a row of the caller's and a note,
// until nothing is left to be done for them.
func transactions(notes func(context.Context, *stage, *pgxpool.Pool) (note, func(context.Context) (bool, error), error)) func(context.Context, *bench, *stage) (sample, error) {
	return func(ctx context.Context, b *bench, s *stage) (sample, error) {
		pool, err := s.pool(ctx, transactionConnections)
		if err != nil {
			return sample{}, err
		}
		if _, err := pool.Exec(ctx, `CREATE TABLE orders (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, amount bigint NOT NULL);
			CREATE TABLE notes (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, body bytea NOT NULL)`); err != nil {
			return sample{}, err
		}
		write, done, err := notes(ctx, s, pool)
		if err != nil {
			return sample{}, err
		}
		transact := func(ctx context.Context, i int) error {
			return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
				if _, err := tx.Exec(ctx, "INSERT INTO orders (amount) VALUES ($1)", i); err != nil {
					return err
				}
				return write(ctx, tx, i)
			})
		}
		if _, err := concurrently(ctx, b.length/5, transact); err != nil {
			return sample{}, err
		}
		return s.measure(ctx, func(ctx context.Context) (int, error) {
			n, err := concurrently(ctx, b.length, transact)
			for ok := false; err == nil && !ok; {
				if ok, err = done(ctx); err == nil && !ok {
					err = nap(ctx)
				}
			}
			return n, err
		})
	}
}

// concurrently calls f by as many goroutines as publish single events, until the
// time is over, and returns how often.
func concurrently(ctx context.Context, d time.Duration, f func(ctx context.Context, i int) error) (int, error) {
	var next atomic.Int64
	var failed atomic.Pointer[error]
	end := time.Now().Add(d)
	var callers sync.WaitGroup
	for range singles.publishers {
		callers.Go(func() {
			for time.Now().Before(end) && failed.Load() == nil {
				if err := f(ctx, int(next.Add(1))); err != nil {
					failed.Store(&err)
				}
			}
		})
	}
	callers.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return int(next.Load()), ctx.Err()
}
