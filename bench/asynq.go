package main

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/hibiken/asynq"
)

// asynqWorkers is how many POSTs asynq has under way.
const asynqWorkers = 64

// asynqPost is what an app does that puts a task for each event into asynq,
// whose handler makes the POST.
func asynqPost(ctx context.Context, b *bench, s *stage) (sample, error) {
	if err := s.needsRedis(ctx); err != nil {
		return sample{}, err
	}
	flow := newLoop(singles, 1)
	receiver, err := serve(&endpoint{urls: 1, arrive: flow.arrive})
	if err != nil {
		return sample{}, err
	}
	defer receiver.close()
	transport := &http.Transport{MaxIdleConns: asynqWorkers, MaxIdleConnsPerHost: asynqWorkers}
	defer transport.CloseIdleConnections()
	httpClient := &http.Client{Transport: transport}

	// Connections enough for all who want one at a time.
	connection := asynq.RedisClientOpt{Addr: s.redis.addr, PoolSize: asynqWorkers + singles.publishers}
	client := asynq.NewClient(connection)
	s.onClose(client.Close)
	inspector := asynq.NewInspector(connection)
	s.onClose(inspector.Close)
	worker := asynq.NewServer(connection, asynq.Config{
		Concurrency: asynqWorkers,
		LogLevel:    asynq.WarnLevel,
		// By default it looks once a second when there was nothing to do,
		// which would make the row one about sleep.
		TaskCheckInterval: time.Millisecond,
	})
	err = worker.Start(asynq.HandlerFunc(func(ctx context.Context, task *asynq.Task) error {
		return post(ctx, httpClient, receiver.url+"/0", task.Payload())
	}))
	if err != nil {
		return sample{}, err
	}
	s.onClose(func() error {
		worker.Shutdown()
		return nil
	})

	flow.publish = func(ctx context.Context, from, _ int) error {
		_, err := client.EnqueueContext(ctx, asynq.NewTask("post", wireEvent(from, 0)))
		return err
	}
	flow.settled = func(context.Context) (bool, error) {
		q, err := inspector.GetQueueInfo("default")
		if err != nil {
			return false, err
		}
		if q.Retry+q.Archived > 0 {
			return false, errors.New("tasks of asynq failed")
		}
		return q.Pending+q.Active == 0, nil
	}
	return b.steady(ctx, s, flow)
}
