package redisengine_test

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// traffic is processes that push and processes that work, as long as a test
// disturbs the server. In the end it reconciles every ID.
type traffic struct {
	t      testing.TB
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu     sync.Mutex
	last   int
	acked  map[string]bool
	worked map[string]bool
	errs   map[string]int

	gate sync.RWMutex // held for reading by whoever calls the store
}

// lease is longer than it takes a worker to settle, but outages end leases.
const lease = 2 * time.Second

func startTraffic(t testing.TB, url string) *traffic {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	tr := &traffic{
		t: t, cancel: cancel,
		acked: make(map[string]bool), worked: make(map[string]bool), errs: make(map[string]int),
	}
	pushing, working := open(t, url, nil), open(t, url, nil)
	for range 3 {
		tr.wg.Go(func() { tr.push(ctx, pushing) })
	}
	for range 2 {
		tr.wg.Go(func() { tr.work(ctx, working) })
	}
	t.Cleanup(func() {
		cancel()
		tr.wg.Wait()
	})
	tr.flows("before the outage")
	return tr
}

func (tr *traffic) push(ctx context.Context, e *redisengine.Engine) {
	for ctx.Err() == nil {
		tr.mu.Lock()
		tr.last++
		id := fmt.Sprintf("event-%d", tr.last)
		tr.mu.Unlock()
		job := engine.Job{Event: &engine.Event{ID: id, Channel: "c", Body: []byte("{}")}, Lane: deliver("http://subscriber.example")}
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		tr.gate.RLock()
		_, err := e.Push(call, engine.PushRequest{Jobs: []engine.Job{job}})
		tr.gate.RUnlock()
		cancel()
		tr.mu.Lock()
		if err == nil {
			tr.acked[id] = true
		}
		tr.note(err)
		tr.mu.Unlock()
		time.Sleep(10 * time.Millisecond)
	}
}

func (tr *traffic) work(ctx context.Context, e *redisengine.Engine) {
	for ctx.Err() == nil {
		call, cancel := context.WithTimeout(ctx, 2*time.Second)
		res, err := e.Claim(call, engine.ClaimRequest{Kind: engine.Deliver, Max: 100, MaxPerLane: 100, Lease: lease})
		cancel()
		tr.mu.Lock()
		tr.note(err)
		tr.mu.Unlock()
		outcomes := make([]engine.Outcome, len(res.Jobs))
		for i, j := range res.Jobs {
			outcomes[i] = engine.Outcome{Ticket: j.Ticket, Result: engine.Done}
		}
		if len(outcomes) == 0 {
			time.Sleep(20 * time.Millisecond)
			continue
		}
		// As the core does: settle until the store has it.
		for ctx.Err() == nil {
			call, cancel := context.WithTimeout(ctx, 2*time.Second)
			_, err := e.Settle(call, outcomes)
			cancel()
			if err == nil {
				break
			}
			tr.mu.Lock()
			tr.note(err)
			tr.mu.Unlock()
			time.Sleep(20 * time.Millisecond)
		}
		tr.mu.Lock()
		for _, j := range res.Jobs {
			tr.worked[j.Event.ID] = true
		}
		tr.mu.Unlock()
	}
}

// note counts an error. tr.mu is held.
func (tr *traffic) note(err error) {
	if err != nil {
		text := err.Error()
		tr.errs[text[:min(len(text), 120)]]++
	}
}

// hold does something while nothing is pushed.
func (tr *traffic) hold(f func()) {
	tr.gate.Lock()
	defer tr.gate.Unlock()
	f()
}

// flows waits until events that are pushed from now on are worked on, and
// returns how long that took.
func (tr *traffic) flows(when string) time.Duration {
	tr.t.Helper()
	began := time.Now()
	tr.mu.Lock()
	first := tr.last + 1
	tr.mu.Unlock()
	redistest.Eventually(tr.t, "events flow "+when, func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		n := 0
		for i := first; i <= tr.last && n < 20; i++ {
			if tr.worked[fmt.Sprintf("event-%d", i)] {
				n++
			}
		}
		return n == 20
	})
	return time.Since(began)
}

// recovers is flows after an outage.
func (tr *traffic) recovers() {
	tr.t.Helper()
	d := tr.flows("after the outage")
	tr.mu.Lock()
	tr.t.Logf("events flowed again after %v; errors meanwhile: %v", d.Round(time.Millisecond), slices.Sorted(maps.Keys(tr.errs)))
	tr.mu.Unlock()
}

// reconcile stops the pushing and makes sure that every event that was
// acknowledged is worked on.
func (tr *traffic) reconcile() {
	tr.t.Helper()
	tr.mu.Lock()
	acked := slices.Collect(maps.Keys(tr.acked))
	tr.mu.Unlock()
	missing := func() (ids []string) {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		for _, id := range acked {
			if !tr.worked[id] {
				ids = append(ids, id)
			}
		}
		return ids
	}
	for end := time.Now().Add(time.Minute); len(missing()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			ids := missing()
			tr.t.Fatalf("%d of %d acknowledged events are lost: %v", len(ids), len(acked), ids[:min(len(ids), 10)])
		}
	}
	tr.t.Logf("%d events acknowledged, lost 0", len(acked))
}
