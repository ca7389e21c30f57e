package pgengine

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
)

// TestNothingIsMissedWhileHouseIsKept has the keeper raise floors, add up counts and
// change generations without a pause, far more often than it ever does, while several
// engines push, claim, release, retry and settle: no job may end up below its lane's
// floor, in a lane that is gone, or be forgotten and stored twice.
func TestNothingIsMissedWhileHouseIsKept(t *testing.T) {
	t.Parallel()
	url := postgrestest.Database(t)
	keeper := open(t, url, nil)
	const lanes, perLane = 4, 150
	var working, keeping sync.WaitGroup
	stop := make(chan struct{})
	var raised, rotated atomic.Int64
	keeping.Go(func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(5 * time.Millisecond):
			}
			keepHouseOnce(t, keeper, &raised, &rotated)
		}
	})
	var mu sync.Mutex
	done := map[string]int{}
	var pushers, finished atomic.Int64
	for l := range lanes {
		e := open(t, url, nil)
		pushers.Add(1)
		working.Go(func() {
			defer pushers.Add(-1)
			for i := range perLane {
				pushOneOf(t, e, l, i)
			}
		})
		working.Go(func() {
			end := time.Now().Add(time.Minute)
			for n := 0; (pushers.Load() > 0 || finished.Load() < lanes*perLane) && time.Now().Before(end); n++ {
				res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 20, MaxPerLane: 20, Lease: time.Minute})
				if err != nil {
					t.Error(err)
					return
				}
				outcomes := mixedOutcomes(res.Jobs)
				settled, err := e.Settle(t.Context(), outcomes)
				if err != nil {
					t.Error(err)
					return
				}
				for k, s := range settled {
					if !s.OK {
						t.Errorf("the ticket of %s is stale", res.Jobs[k].Event.ID)
					}
					if outcomes[k].Result == engine.Done {
						mu.Lock()
						done[res.Jobs[k].Event.ID]++
						mu.Unlock()
						finished.Add(1)
					}
				}
				if len(res.Jobs) == 0 {
					time.Sleep(5 * time.Millisecond)
				}
			}
		})
	}
	working.Wait()
	close(stop)
	keeping.Wait()
	for l := range lanes {
		for i := range perLane {
			if id := fmt.Sprintf("%d-%d", l, i); done[id] != 1 {
				t.Errorf("%s was done %d times", id, done[id])
			}
		}
	}
	if n := count(t, keeper); n != 0 {
		t.Errorf("%d jobs are left", n)
	}
	var wrong int
	if err := keeper.pool.QueryRow(t.Context(), keeper.sql(`SELECT count(*) FROM toot.lanes l
		WHERE jobs + COALESCE((SELECT sum(t.n) FROM toot.counts c, unnest(c.lanes, c.jobs) AS t(lane, n) WHERE t.lane = l.id), 0) <> 0`)).Scan(&wrong); err != nil || wrong != 0 {
		t.Errorf("%d lanes without jobs are said to have some (%v)", wrong, err)
	}
	if raised.Load() < 3 || rotated.Load() < 3 {
		t.Errorf("floors were raised %d times and generations changed %d times: too seldom to show anything", raised.Load(), rotated.Load())
	}
	t.Logf("floors were raised %d times, generations changed %d times", raised.Load(), rotated.Load())
}

// keepHouseOnce raises floors, and changes generations as if a window had passed.
func keepHouseOnce(t *testing.T, keeper *Engine, raised, rotated *atomic.Int64) {
	t.Helper()
	keeper.house.lowFloors.Store(true)
	some, err := keeper.raiseFloors(t.Context())
	if err != nil {
		t.Error(err)
	}
	if some {
		raised.Add(1)
	}
	keeper.house.uncounted.Store(true)
	if _, err := keeper.sumCounts(t.Context()); err != nil {
		t.Error(err)
	}
	var gen int64
	if err := keeper.pool.QueryRow(t.Context(), keeper.sql("UPDATE toot.state SET gen_start = 1 RETURNING gen"), keeper.mode).Scan(&gen); err != nil {
		t.Error(err)
	}
	keeper.house.gen.Store(gen)
	keeper.house.genStart.Store(1)
	keeper.house.dedupe.Store(int64(time.Hour / time.Microsecond))
	if some, err = keeper.rotate(t.Context()); err != nil {
		t.Error(err)
	}
	if some {
		rotated.Add(1)
	}
}

// pushOneOf pushes a job that is due now, or later, or leased and left alone.
func pushOneOf(t *testing.T, e *Engine, lane, i int) {
	t.Helper()
	j := job(fmt.Sprintf("%d-%d", lane, i), fmt.Sprint("lane", lane))
	switch i % 3 {
	case 1:
		j.Delay = time.Duration(i) * time.Millisecond
	case 2:
		j.Lease = time.Duration(i) * time.Millisecond
	}
	if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{j}}); err != nil {
		t.Error(err)
	}
}

// mixedOutcomes are Done, save for some of the jobs that were not tried before.
func mixedOutcomes(jobs []engine.Claimed) (outcomes []engine.Outcome) {
	for k, j := range jobs {
		o := engine.Outcome{Ticket: j.Ticket, Result: engine.Done}
		switch {
		case j.Attempt == 0 && k%3 == 1:
			o = engine.Outcome{Ticket: j.Ticket, Result: engine.Retry, Attempt: 1}
		case j.Attempt == 0 && k%7 == 2:
			o.Result = engine.Release
		}
		outcomes = append(outcomes, o)
	}
	return outcomes
}

// What waits is known for as long as it waits, however many windows pass.
func TestWhatWaitsIsNotForgotten(t *testing.T) {
	t.Parallel()
	e := open(t, postgrestest.Database(t), &Options{Retention: engine.Retention{Dedupe: 300 * time.Millisecond}})
	ev := &engine.Event{ID: "shared", Channel: "channel"}
	jobs := []engine.Job{job("alone", "lane"), {Event: ev, Lane: deliver("one")}, {Event: ev, Lane: deliver("two")}}
	for i := range jobs {
		jobs[i].Delay = time.Hour
	}
	if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: jobs}); err != nil {
		t.Fatal(err)
	}
	if _, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 1, MaxPerLane: 1, Lease: time.Minute}); err != nil {
		t.Fatal(err) // from here on the engine keeps house
	}
	var first, gen int64
	if _, first, _ = e.storeTime(t.Context(), e.pool); first < 0 {
		t.Fatal(first)
	}
	eventually(t, "three generations pass", func() bool {
		_, gen, _ = e.storeTime(t.Context(), e.pool)
		return gen >= first+3
	})
	if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: jobs}); err != nil {
		t.Fatal(err)
	}
	if n := count(t, e); n != 3 {
		t.Errorf("%d jobs are there, want 3", n)
	}
}
