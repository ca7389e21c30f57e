package redisengine_test

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// fill pushes n jobs: events with ten subscribers each, of which some have far
// more waiting than others.
func fill(t testing.TB, e *redisengine.Engine, n int) {
	t.Helper()
	const perEvent, lanes, perCall = 10, 200, 50
	for i := 0; i < n; {
		var jobs []engine.Job
		for range perCall {
			ev := newEvent()
			for j := range perEvent {
				lane := j
				if j >= perEvent/2 {
					lane = (i*7+j*13)%lanes + perEvent
				}
				jobs = append(jobs, engine.Job{Event: ev, Lane: subscriber(lane)})
				i++
			}
		}
		if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: jobs}); err != nil {
			t.Fatal(err)
		}
	}
}

// No call may keep the server from others for long, however much is waiting: with
// four times as much, no step of a call does more, and the largest has a bound.
// With TOOT_TEST_LONG set, it is timed, too.
func TestNoCallIsSlow(t *testing.T) {
	const few, many, most = 5_000, 20_000, 20_000
	work := map[string][]int{} // of each call, with few and many jobs
	for _, n := range []int{few, many} {
		s := redistest.Start(t)
		e := open(t, s.URL(), nil)
		fill(t, e, n)
		eachCall(t, e, n, func(call string, f func()) {
			work[call] = append(work[call], greatestWork(t, s, f))
		})
	}
	for _, call := range slices.Sorted(maps.Keys(work)) {
		w := work[call]
		t.Logf("%s: %d with %d jobs, %d with %d", call, w[0], few, w[1], many)
		const sometimes = 50 // such as a note of the time, or a hint
		if w[1] > w[0]+w[0]/10+sometimes || w[1] > most {
			t.Errorf("the work of %s is %d beside %d jobs and %d beside %d, want as much, and at most %d", call, w[0], few, w[1], many, most)
		}
	}
	if !long {
		return
	}
	s := redistest.Start(t)
	e := open(t, s.URL(), nil)
	const n = 1_000_000
	fill(t, e, n)
	s.Do("CONFIG", "SET", "slowlog-log-slower-than", "10000")
	eachCall(t, e, n, func(call string, f func()) { neverSlow(t, s, call, f) })
}

// eachCall measures what an engine does for each call, beside n jobs of fill.
func eachCall(t *testing.T, e *redisengine.Engine, n int, measure func(call string, f func())) {
	t.Helper()
	ctx := t.Context()
	var jobs []engine.Claimed
	claim := func(limits map[string]int) func() {
		return func() {
			res, err := e.Claim(ctx, engine.ClaimRequest{Kind: engine.Deliver, Max: 500, MaxPerLane: 500, Limits: limits, Lease: time.Minute})
			if err != nil || len(res.Jobs) < 200 {
				t.Fatalf("claimed %d jobs, %v", len(res.Jobs), err)
			}
			jobs = res.Jobs
		}
	}
	measure("Push", func() { fill(t, e, 5000) })
	busy := make(map[string]int)
	for l := range 100 {
		busy[subscriber(l).Name] = 0
	}
	measure("Claim beside busy lanes", claim(busy))
	for _, r := range []engine.Result{engine.Done, engine.Retry, engine.Bury, engine.Release, engine.Extend} {
		measure(fmt.Sprintf("Claim and Settle with result %d", r), func() {
			claim(nil)()
			outcomes := make([]engine.Outcome, len(jobs))
			for j := range outcomes {
				outcomes[j] = engine.Outcome{Ticket: jobs[j].Ticket, Result: r, After: time.Hour, Reason: "no", Attempt: 1}
			}
			if _, err := e.Settle(ctx, outcomes); err != nil {
				t.Fatal(err)
			}
		})
	}
	measure("Defer", func() {
		if err := e.Defer(ctx, subscriber(0), time.Minute); err != nil {
			t.Fatal(err)
		}
	})
	measure("Dead", func() {
		if _, err := e.Dead(ctx, engine.DeadQuery{Reason: "nothing"}); err != nil {
			t.Fatal(err)
		}
	})
	measure("Lanes", func() {
		stats, err := e.Lanes(ctx)
		if err != nil {
			t.Fatal(err)
		}
		waiting := 0
		for _, l := range stats {
			waiting += l.Waiting
		}
		if waiting < n*9/10 {
			t.Errorf("Lanes counts %d waiting jobs, want about %d", waiting, n)
		}
	})
	// This has to be one step, however long it takes.
	follow := make([]engine.Job, 1000)
	for i := range follow {
		follow[i].Lane = subscriber(100_000 + i)
	}
	measure("an outcome with 1000 follow-up jobs", func() {
		pushed, err := e.Push(ctx, engine.PushRequest{Jobs: []engine.Job{{Event: newEvent(), Lane: engine.Lane{Kind: engine.FanOut, Name: "c"}, Lease: time.Minute}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Settle(ctx, []engine.Outcome{{Ticket: pushed.Tickets[0], Result: engine.Done, Follow: follow}}); err != nil {
			t.Fatal(err)
		}
	})
	measure("Claim from many lanes", claim(nil))
}

// neverSlow fails the test if something keeps the server busy for more than 10
// ms. The server may be slow for want of a processor: what is slow for itself
// is so every time.
func neverSlow(t testing.TB, s *redistest.Server, what string, f func()) {
	t.Helper()
	var slow []string
	for range 10 {
		s.Do("SLOWLOG", "RESET")
		f()
		entries, err := s.Try("SLOWLOG", "GET", "-1").ToArray()
		if err != nil {
			t.Fatal(err)
		}
		if len(entries) == 0 {
			return
		}
		for _, entry := range entries {
			parts, _ := entry.ToArray()
			took, _ := parts[2].AsInt64()
			slow = append(slow, (time.Duration(took) * time.Microsecond).String())
		}
	}
	t.Errorf("%s kept the server busy for more than 10ms each time: %s", what, strings.Join(slow, " "))
}

// TestMemory measures what docs/operating.md says.
func TestMemory(t *testing.T) {
	t.Parallel()
	for _, perEvent := range []int{1, 10} {
		t.Run(fmt.Sprintf("events_with_%d_subscribers", perEvent), func(t *testing.T) {
			t.Parallel()
			s := redistest.Start(t)
			e := open(t, s.URL(), nil)
			used := func() int {
				n, err := strconv.Atoi(s.Info("used_memory_dataset"))
				if err != nil {
					t.Fatal(err)
				}
				return n
			}
			n := 25_000 // as full as with 100,000 are the hash tables, whose sizes are powers of two
			if long {
				n = 100_000
			}
			jobs := make([]engine.Job, 0, n)
			for len(jobs) < n {
				ev := &engine.Event{ID: uuid(), Channel: "c", Body: []byte("{}")} // all but the body
				for i := range perEvent {
					jobs = append(jobs, engine.Job{Event: ev, Lane: subscriber(i)})
				}
			}
			before := used()
			if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: jobs}); err != nil {
				t.Fatal(err)
			}
			waiting := used() - before
			for done := 0; done < n; {
				res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 500, MaxPerLane: 500, Lease: time.Minute})
				if err != nil {
					t.Fatal(err)
				}
				outcomes := make([]engine.Outcome, len(res.Jobs))
				for i := range outcomes {
					outcomes[i] = engine.Outcome{Ticket: res.Jobs[i].Ticket, Result: engine.Done}
				}
				if _, err := e.Settle(t.Context(), outcomes); err != nil {
					t.Fatal(err)
				}
				done += len(res.Jobs)
			}
			remembered := used() - before
			t.Logf("bytes a waiting delivery: %d, of which for remembering it: %d (for up to two dedupe windows)", waiting/n, remembered/n)
			if waiting/n > 450 {
				t.Errorf("a waiting delivery takes %d bytes", waiting/n)
			}
		})
	}
}

// Two processes publish and two work, each with connections of its own: no job
// is lost, none is in two hands.
func TestManyProcesses(t *testing.T) {
	t.Parallel()
	n := 8_000
	if long {
		n = 200_000
	}
	s := redistest.Start(t)
	ctx := t.Context()
	var wg sync.WaitGroup
	const batch = 500
	for p := range 2 {
		e := open(t, s.URL(), nil)
		wg.Go(func() {
			for i := 0; i < n/2; i += batch {
				jobs := make([]engine.Job, batch)
				for j := range jobs {
					id := fmt.Sprintf("%d-%d", p, i+j)
					jobs[j] = engine.Job{Event: &engine.Event{ID: id, Channel: "c", Body: body}, Lane: subscriber((i + j) % 20)}
				}
				if _, err := e.Push(ctx, engine.PushRequest{Jobs: jobs}); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	var mu sync.Mutex
	seen := make(map[string]bool, n)
	for range 2 {
		e := open(t, s.URL(), nil)
		wg.Go(func() {
			for end := time.Now().Add(3 * time.Minute); time.Now().Before(end); {
				res, err := e.Claim(ctx, engine.ClaimRequest{Kind: engine.Deliver, Max: batch, MaxPerLane: batch, Lease: time.Minute})
				if err != nil {
					t.Error(err)
					return
				}
				outcomes := make([]engine.Outcome, len(res.Jobs))
				mu.Lock()
				for i, j := range res.Jobs {
					if seen[j.Event.ID] {
						t.Errorf("%s was handed out twice", j.Event.ID)
					}
					seen[j.Event.ID] = true
					outcomes[i] = engine.Outcome{Ticket: j.Ticket, Result: engine.Done}
				}
				all := len(seen) == n
				mu.Unlock()
				if _, err := e.Settle(ctx, outcomes); err != nil {
					t.Error(err)
					return
				}
				if all {
					return
				}
			}
		})
	}
	began := time.Now()
	wg.Wait()
	t.Logf("%d events in %v", len(seen), time.Since(began))
	if len(seen) != n {
		t.Errorf("lost %d of %d events", n-len(seen), n)
	}
	// Nothing is left behind but what is remembered.
	keys, err := s.Try("KEYS", "*").AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range keys {
		if strings.Contains(key, ":lane:") || strings.HasSuffix(key, ":events") || strings.HasSuffix(key, ":refs") || strings.HasSuffix(key, ":records") {
			t.Errorf("%s is left behind", key)
		}
	}
}
