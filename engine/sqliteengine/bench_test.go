package sqliteengine_test

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

// The figures to look at are jobs/s. Eight callers share the engine, as they
// do in an app under load; IDs are of version 7, as the app's own are, or 4.

const benchCallers = 8

var (
	benchBatches = []int{1, 64, 512}
	benchBody    = make([]byte, 300)
)

func BenchmarkPushSettle(b *testing.B) {
	for _, ids := range []string{"v7", "v4"} {
		for _, n := range benchBatches {
			b.Run(fmt.Sprintf("%s/%d", ids, n), func(b *testing.B) {
				bench(b, n, func(ctx context.Context, e engine.Engine) error {
					jobs := benchJobs(ids, n, time.Minute)
					res, err := e.Push(ctx, engine.PushRequest{Jobs: jobs})
					if err != nil {
						return err
					}
					return benchDone(ctx, e, res.Tickets)
				})
			})
		}
	}
}

func BenchmarkPushClaimSettle(b *testing.B) {
	for _, n := range benchBatches {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			bench(b, n, func(ctx context.Context, e engine.Engine) error {
				if _, err := e.Push(ctx, engine.PushRequest{Jobs: benchJobs("v7", n, 0)}); err != nil {
					return err
				}
				for left := n; left > 0; {
					res, err := e.Claim(ctx, engine.ClaimRequest{Kind: engine.Deliver, Max: left, MaxPerLane: left, Lease: time.Minute})
					if err != nil {
						return err
					}
					tickets := make([]engine.Ticket, len(res.Jobs))
					for i, j := range res.Jobs {
						tickets[i] = j.Ticket
					}
					if err := benchDone(ctx, e, tickets); err != nil {
						return err
					}
					left -= len(tickets)
				}
				return nil
			})
		})
	}
}

// BenchmarkFanOut counts the deliveries: an event is pushed, fans out to ten
// lanes, and is done there.
func BenchmarkFanOut(b *testing.B) {
	const lanes = 10
	for _, n := range benchBatches {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			bench(b, n*lanes, func(ctx context.Context, e engine.Engine) error {
				jobs := benchJobs("v7", n, time.Minute)
				for i := range jobs {
					jobs[i].Lane = engine.Lane{Kind: engine.FanOut, Name: "channel"}
				}
				res, err := e.Push(ctx, engine.PushRequest{Jobs: jobs})
				if err != nil {
					return err
				}
				outcomes := make([]engine.Outcome, n)
				for i, t := range res.Tickets {
					follow := make([]engine.Job, lanes)
					for k := range follow {
						follow[k] = engine.Job{Lane: engine.Lane{Kind: engine.Deliver, Name: fmt.Sprint("lane", k)}, Lease: time.Minute}
					}
					outcomes[i] = engine.Outcome{Ticket: t, Result: engine.Done, Follow: follow}
				}
				settled, err := e.Settle(ctx, outcomes)
				if err != nil {
					return err
				}
				for k := range lanes {
					tickets := make([]engine.Ticket, n)
					for i := range settled {
						tickets[i] = settled[i].Follow[k]
					}
					if err := benchDone(ctx, e, tickets); err != nil {
						return err
					}
				}
				return nil
			})
		})
	}
}

func bench(b *testing.B, jobs int, turn func(ctx context.Context, e engine.Engine) error) {
	e, err := sqliteengine.Open(filepath.Join(b.TempDir(), "toot.db"), nil)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = e.Close() }()
	var turns atomic.Int64
	var wg sync.WaitGroup
	b.ResetTimer()
	for range benchCallers {
		wg.Go(func() {
			for turns.Add(1) <= int64(b.N) {
				if err := turn(b.Context(), e); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ReportMetric(float64(b.N*jobs)/b.Elapsed().Seconds(), "jobs/s")
}

func benchJobs(ids string, n int, lease time.Duration) []engine.Job {
	jobs := make([]engine.Job, n)
	for i := range jobs {
		id := uuid.New()
		if ids == "v7" {
			id = uuid.Must(uuid.NewV7())
		}
		jobs[i] = engine.Job{
			Event: &engine.Event{ID: id.String(), Channel: "users.updated.v1", Body: benchBody},
			Lane:  engine.Lane{Kind: engine.Deliver, Name: "https://example.com/callbacks"},
			Lease: lease,
		}
	}
	return jobs
}

func benchDone(ctx context.Context, e engine.Engine, tickets []engine.Ticket) error {
	outcomes := make([]engine.Outcome, len(tickets))
	for i, t := range tickets {
		outcomes[i] = engine.Outcome{Ticket: t, Result: engine.Done}
	}
	settled, err := e.Settle(ctx, outcomes)
	for _, s := range settled {
		if !s.OK {
			return fmt.Errorf("a ticket is stale")
		}
	}
	return err
}
