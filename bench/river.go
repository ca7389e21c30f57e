package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/rivermigrate"
)

const (
	// riverWorkers is how many POSTs River has under way: 100, as in its docs.
	riverWorkers = 100
	// riverConnections are enough for all who publish at a time.
	riverConnections = 80
)

// riverTask is a job of River's: an event that is to be sent.
type riverTask struct {
	Event []byte `json:"event"` // as jsonb it would not be sent byte for byte
}

func (riverTask) Kind() string { return "post" }

// riverPoster makes the POSTs.
type riverPoster struct {
	river.WorkerDefaults[riverTask]
	client *http.Client
	url    string
}

func (w *riverPoster) Work(ctx context.Context, job *river.Job[riverTask]) error {
	return post(ctx, w.client, w.url, job.Args.Event)
}

// riverPost is what an app does that puts a job for each event into River, whose
// worker makes the POST.
func riverPost(l load) func(context.Context, *bench, *stage) (sample, error) {
	return func(ctx context.Context, b *bench, s *stage) (sample, error) {
		pool, err := s.pool(ctx, riverConnections)
		if err != nil {
			return sample{}, err
		}
		driver := riverpgxv5.New(pool)
		migrator, err := rivermigrate.New(driver, nil)
		if err != nil {
			return sample{}, err
		}
		if _, err := migrator.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
			return sample{}, err
		}
		flow := newLoop(l, 1)
		receiver, err := serve(&endpoint{urls: 1, arrive: flow.arrive})
		if err != nil {
			return sample{}, err
		}
		s.onClose(func() error { receiver.close(); return nil })
		transport := &http.Transport{MaxIdleConns: riverWorkers, MaxIdleConnsPerHost: riverWorkers}
		s.onClose(func() error { transport.CloseIdleConnections(); return nil })
		workers := river.NewWorkers()
		river.AddWorker(workers, &riverPoster{client: &http.Client{Transport: transport}, url: receiver.url + "/0"})
		client, err := river.NewClient(driver, &river.Config{
			Logger:  logger,
			Queues:  map[string]river.QueueConfig{river.QueueDefault: {MaxWorkers: riverWorkers}},
			Workers: workers,
			// "Throughput is limited by this value", which is 100 ms by default.
			FetchCooldown: river.FetchCooldownMin,
		})
		if err != nil {
			return sample{}, err
		}
		if err := client.Start(context.WithoutCancel(ctx)); err != nil {
			return sample{}, err
		}
		s.onClose(func() error {
			ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
			defer cancel()
			return client.Stop(ctx)
		})
		flow.publish = func(ctx context.Context, from, count int) error {
			if count == 1 {
				return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
					_, err := client.InsertTx(ctx, tx, riverTask{wireEvent(from, 0)}, nil)
					return err
				})
			}
			jobs := make([]river.InsertManyParams, count)
			for i := range jobs {
				jobs[i].Args = riverTask{wireEvent(from+i, 0)}
			}
			_, err := client.InsertManyFast(ctx, jobs)
			return err
		}
		flow.settled = func(ctx context.Context) (bool, error) { return riverSettled(ctx, pool) }
		return b.steady(ctx, s, flow)
	}
}

func riverSettled(ctx context.Context, pool *pgxpool.Pool) (bool, error) {
	var open, failed int
	err := pool.QueryRow(ctx, `SELECT count(*) FILTER (WHERE state <> 'completed'),
		count(*) FILTER (WHERE state IN ('retryable', 'discarded', 'cancelled')) FROM river_job`).Scan(&open, &failed)
	if err == nil && failed > 0 {
		err = errors.New("jobs of River failed")
	}
	return open == 0, err
}
