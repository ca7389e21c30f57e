package pgengine

import (
	"fmt"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
)

// pushMany pushes jobs to a lane, in several calls.
func pushMany(t *testing.T, e *Engine, lane string, n int) {
	t.Helper()
	const each = 500
	for done := 0; done < n; done += each {
		jobs := make([]engine.Job, 0, each)
		for i := range min(each, n-done) {
			jobs = append(jobs, job(fmt.Sprint(lane, done+i), lane))
		}
		if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: jobs}); err != nil {
			t.Fatal(err)
		}
	}
}

// onPage is how many jobs LanePage says that a lane has.
func onPage(t *testing.T, e *Engine, lane string) int {
	t.Helper()
	page, err := e.LanePage(t.Context(), engine.LaneQuery{})
	if err != nil {
		t.Fatal(err)
	}
	for _, l := range page {
		if l.Lane.Name == lane {
			return l.Jobs
		}
	}
	return 0
}

// A page costs as much with many jobs as with few: the server says how many rows
// each step of it has handled.
func TestAPageOfLanesCountsNoJobs(t *testing.T) {
	t.Parallel()
	e := open(t, postgrestest.Database(t), nil)
	actual := regexp.MustCompile(`actual rows=([0-9.]+) loops=(\d+)`)
	handled := func() (rows float64) {
		lines, err := e.pool.Query(t.Context(), "EXPLAIN (ANALYZE, TIMING OFF) "+e.sql(lanePageSQL), pgx.QueryExecModeExec, e.now(), int16(0), []byte{}, int16(0), 100)
		if err != nil {
			t.Fatal(err)
		}
		var line string
		if _, err := pgx.ForEachRow(lines, []any{&line}, func() error {
			for _, m := range actual.FindAllStringSubmatch(line, -1) {
				n, _ := strconv.ParseFloat(m[1], 64)
				loops, _ := strconv.ParseFloat(m[2], 64)
				rows += n * loops
			}
			return nil
		}); err != nil {
			t.Fatal(err)
		}
		return rows
	}
	pushMany(t, e, "lane", 10)
	few := handled()
	pushMany(t, e, "lane", 5000)
	if many := handled(); few == 0 || many > few+100 {
		t.Errorf("with 10 jobs %v rows are handled, with 5,000 %v", few, many)
	}
	if n := onPage(t, e, "lane"); n != 5000 {
		t.Errorf("the lane has %d jobs, want 5,000", n)
	}
}

// Counts are exact, whether the keeper has added them up or not.
func TestCountsAreAddedUp(t *testing.T) {
	t.Parallel()
	e := open(t, postgrestest.Database(t), nil)
	want := func(n int) {
		t.Helper()
		for range 2 {
			if got := onPage(t, e, "lane"); got != n {
				t.Errorf("the lane has %d jobs, want %d", got, n)
			}
			e.house.uncounted.Store(true)
			if _, err := e.sumCounts(t.Context()); err != nil {
				t.Fatal(err)
			}
			var left int
			if err := e.pool.QueryRow(t.Context(), e.sql("SELECT count(*) FROM toot.counts")).Scan(&left); err != nil || left != 0 {
				t.Errorf("%d changes are left (%v)", left, err)
			}
		}
	}
	pushMany(t, e, "lane", 20)
	pushMany(t, e, "lane", 25) // of which 20 are known
	want(25)
	res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 10, MaxPerLane: 10, Lease: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	settle := func(outcomes ...engine.Outcome) {
		t.Helper()
		if _, err := e.Settle(t.Context(), outcomes); err != nil {
			t.Fatal(err)
		}
	}
	done := func(i int) engine.Outcome {
		return engine.Outcome{Ticket: res.Jobs[i].Ticket, Result: engine.Done}
	}
	settle(done(0), done(1), done(0))
	settle(done(1))
	want(23)
	follows, buried := done(2), done(3)
	follows.Follow = []engine.Job{job("follows", "lane"), job("is known", "lane"), {Lane: deliver("other")}}
	buried.Result = engine.Bury
	settle(follows, buried, engine.Outcome{Ticket: res.Jobs[4].Ticket, Result: engine.Retry})
	want(23)
	if n := onPage(t, e, "other"); n != 1 {
		t.Errorf("the follow-up's lane has %d jobs, want 1", n)
	}
	dead, err := e.Dead(t.Context(), engine.DeadQuery{})
	if err != nil || len(dead) != 1 {
		t.Fatal(dead, err)
	}
	if _, err := e.Redrive(t.Context(), []string{dead[0].ID}); err != nil {
		t.Fatal(err)
	}
	want(24)
}
