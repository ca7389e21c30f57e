package sqliteengine

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine/internal/sqlite"
)

// limitPages has SQLite behave as if the disk had room for so many pages more.
func limitPages(t *testing.T, e *Engine, more int) {
	t.Helper()
	err := e.do(context.Background(), "limit", &op{run: func(w *writer) error {
		n, err := w.c.queryInt("PRAGMA page_count")
		if err != nil {
			return err
		}
		return w.c.exec(fmt.Sprintf("PRAGMA max_page_count = %d", int(n)+more))
	}})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAFullDiskIsReportedAndGotOver(t *testing.T) {
	t.Parallel()
	e := open(t, tempFile(t), nil)
	ctx := context.Background()
	leased := push(t, e, newJobs("before", 10, testLane, time.Minute))
	limitPages(t, e, 2)
	big := newJobs("big", 100, testLane, 0)
	for i := range big {
		big[i].Event.Body = make([]byte, 10_000)
	}
	for range 2 {
		_, err := e.Push(ctx, engine.PushRequest{Jobs: big})
		if err == nil {
			t.Fatal("Push succeeded without room")
		}
		if !sqlite.HasCode(err, sqlite.Full) || !strings.Contains(err.Error(), "no room is left") || !strings.Contains(err.Error(), e.path) {
			t.Fatalf("the error does not name the file or say what to do: %v", err)
		}
	}
	if n := settleAll(t, e, leased, engine.Outcome{Result: engine.Done}); n != len(leased) {
		t.Errorf("%d of %d jobs could be settled on the full disk", n, len(leased))
	}
	limitPages(t, e, 10_000)
	push(t, e, big)
	if jobs := claimAll(t, e, engine.Deliver); len(jobs) != len(big) {
		t.Errorf("%d jobs are there once there is room, want %d: none was stored before", len(jobs), len(big))
	}
}

func TestACallThatFailsDoesNotFailItsNeighbours(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	e := open(t, file, nil)
	ctx := context.Background()
	push(t, e, newJobs("warm", 1, testLane, 0))
	limitPages(t, e, 20)
	big := newJobs("big", 1, testLane, 0)
	big[0].Event.Body = make([]byte, 1<<20)

	unlock := lockFile(t, file)
	var wg sync.WaitGroup
	errs := make([]error, 7)
	for i := range errs {
		ctx := newQueuedContext(ctx)
		wg.Go(func() {
			jobs := newJobs(fmt.Sprint("small", i), 3, testLane, 0)
			if i == 3 {
				jobs = big
			}
			_, errs[i] = e.Push(ctx, engine.PushRequest{Jobs: jobs})
		})
		<-ctx.queued
	}
	unlock()
	wg.Wait()
	for i, err := range errs {
		if i == 3 {
			if !sqlite.HasCode(err, sqlite.Full) {
				t.Errorf("the call that is too big: error %v", err)
			}
		} else if err != nil {
			t.Errorf("a neighbour failed: %v", err)
		}
	}
	if jobs := claimAll(t, e, engine.Deliver); len(jobs) != 1+3*(len(errs)-1) {
		t.Errorf("%d jobs were stored, want %d", len(jobs), 1+3*(len(errs)-1))
	}
}

// queuedContext tells when a call has been queued: that is when the call asks
// for the end of its context.
type queuedContext struct {
	context.Context
	once   sync.Once
	queued chan struct{}
}

func newQueuedContext(ctx context.Context) *queuedContext {
	return &queuedContext{Context: ctx, queued: make(chan struct{})}
}

func (c *queuedContext) Done() <-chan struct{} {
	c.once.Do(func() { close(c.queued) })
	return c.Context.Done()
}

func TestACallWhoseContextEndsWhileItWaitsLeavesNothing(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	e := open(t, file, nil)
	push(t, e, newJobs("a", 1, testLane, 0))
	for name, call := range map[string]func(context.Context) error{
		"push": func(ctx context.Context) error {
			_, err := e.Push(ctx, engine.PushRequest{Jobs: newJobs("b", 1, testLane, 0)})
			return err
		},
		"claim": func(ctx context.Context) error {
			_, err := e.Claim(ctx, engine.ClaimRequest{Kind: engine.Deliver, Max: 1, MaxPerLane: 1, Lease: time.Hour})
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			unlock := lockFile(t, file)
			cancelled, cancel := context.WithCancel(t.Context())
			ctx := newQueuedContext(cancelled)
			got := make(chan error)
			go func() { got <- call(ctx) }()
			<-ctx.queued
			cancel()
			if err := <-got; !errors.Is(err, context.Canceled) {
				t.Errorf("error %v, want context.Canceled", err)
			}
			unlock()
		})
	}
	if jobs := claimAll(t, e, engine.Deliver); len(jobs) != 1 || jobs[0].Claims != 1 {
		t.Errorf("%d jobs are due, want the one pushed first, never claimed", len(jobs))
	}
}

func TestALockedFileIsReportedInTime(t *testing.T) {
	t.Parallel()
	file := tempFile(t)
	e := open(t, file, nil)
	unlock := lockFile(t, file)
	_, err := e.Push(context.Background(), engine.PushRequest{Jobs: newJobs("a", 1, testLane, 0)})
	unlock()
	if err == nil || !strings.Contains(err.Error(), "another process kept it locked") {
		t.Errorf("error %v, want one that says who is in the way", err)
	}
	push(t, e, newJobs("a", 1, testLane, 0))
}

func TestRunsWithExceptionsAreExact(t *testing.T) {
	t.Parallel()
	e := open(t, tempFile(t), nil)
	ctx := context.Background()
	known := newJobs("job", 300, testLane, 0)
	push(t, e, []engine.Job{known[7], known[100], known[299]})
	jobs := append(newJobs("job", 300, testLane, time.Minute), newJobs("job", 3, testLane, time.Minute)...)
	tickets := push(t, e, jobs)
	for i, ticket := range tickets {
		if dup := i == 7 || i == 100 || i >= 299; (ticket == "") != dup {
			t.Errorf("job %d: ticket %q, known before: %v", i, ticket, dup)
		}
	}
	if n := settleAll(t, e, tickets[50:60], engine.Outcome{Result: engine.Done}); n != 10 {
		t.Fatalf("%d of 10 are done", n)
	}
	outcomes := make([]engine.Outcome, len(tickets))
	for i := range outcomes {
		outcomes[i] = engine.Outcome{Ticket: tickets[i], Result: engine.Done}
	}
	outcomes = append(outcomes, outcomes[0])
	settled, err := e.Settle(ctx, outcomes)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range settled {
		stale := i >= 300 || tickets[i] == "" || i >= 50 && i < 60
		if s.OK == stale {
			t.Errorf("outcome %d: OK %v", i, s.OK)
		}
	}
	if jobs := claimAll(t, e, engine.Deliver); len(jobs) != 3 {
		t.Errorf("%d jobs are left, want the 3 pushed first", len(jobs))
	}
}
