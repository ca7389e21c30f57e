package enginetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var inspectorChecks = []check{
	{"of_an_empty_store_has_no_lanes", inspector, lanesEmpty},
	{"counts_what_a_lane_holds", inspector, lanesCount},
	{"lists_lanes_in_order", inspector, lanesOrder},
	{"lists_deferred_lanes", inspector, lanesDeferred},
	{"lists_lanes_with_dead_letters", inspector, lanesDead},
	{"forgets_lanes_that_nothing_refers_to", inspector, lanesForgotten},
	{"tells_what_is_due_later", inspector, lanesLater},
	{"tells_the_age_of_the_oldest_job", inspector, lanesOldest},
}

func (c *client) lanes() []engine.LaneStats {
	c.e.Helper()
	i, ok := c.Engine.(engine.Inspector)
	if !ok {
		c.e.Fatal("the engine must implement engine.Inspector, or the harness say NoInspector")
	}
	lanes, err := i.Lanes(c.e.ctx)
	if err != nil {
		c.e.Fatalf("engine %s: Lanes: %v", c.name, err)
	}
	return lanes
}

// lane is the state of one lane, which is zero if it is not listed.
func (c *client) lane(l engine.Lane) engine.LaneStats {
	c.e.Helper()
	for _, s := range c.lanes() {
		if s.Lane == l {
			return s
		}
	}
	return engine.LaneStats{}
}

// counts are the numbers that must be exact.
func counts(s engine.LaneStats) string {
	return fmt.Sprintf("waiting %d, leased %d, retrying %d, dead %d", s.Waiting, s.Leased, s.Retrying, s.Dead)
}

func lanesEmpty(e *env) {
	if lanes := e.open().lanes(); len(lanes) != 0 {
		e.Fatalf("Lanes of an empty store must be none: got %+v", lanes)
	}
}

func lanesCount(e *env) {
	a, l := e.open(), deliver("lane")
	holds := func(when, want string) {
		e.Helper()
		if s := a.lane(l); counts(s) != want {
			e.Fatalf("Lanes must count what a lane holds: %s %s, want %s", when, counts(s), want)
		}
	}
	a.push(jobs("e", 10, l)...)
	a.push(engine.Job{Event: event("later"), Lane: l, Delay: long}, engine.Job{Event: event("leased"), Lane: l, Lease: long})
	a.push(jobs("e", 3, engine.Lane{Kind: engine.Handle, Name: "lane"})...)
	holds("after pushing 10 due, 1 delayed, 1 leased:", "waiting 11, leased 1, retrying 0, dead 0")
	js := a.claim(engine.ClaimRequest{Max: 7}).Jobs
	if len(js) != 7 {
		e.Fatalf("Claim must hand out due jobs up to Max: got %s, want 7", list(js))
	}
	holds("after claiming 7:", "waiting 4, leased 8, retrying 0, dead 0")
	a.works("outcomes take effect",
		outcome(js[0], engine.Done),
		engine.Outcome{Ticket: js[1].Ticket, Result: engine.Retry, After: long, Attempt: 1},
		engine.Outcome{Ticket: js[2].Ticket, Result: engine.Retry, Attempt: 2},
		engine.Outcome{Ticket: js[3].Ticket, Result: engine.Retry}, // tried, but to be counted as new
		outcome(js[4], engine.Release),
		outcome(js[5], engine.Bury),
		engine.Outcome{Ticket: js[6].Ticket, Result: engine.Extend, After: long})
	holds("after settling 7:", "waiting 8, leased 2, retrying 2, dead 1")
	a.take(l)
	holds("after claiming all that is due:", "waiting 2, leased 8, retrying 1, dead 1")
	if s := a.lane(engine.Lane{Kind: engine.Handle, Name: "lane"}); s.Waiting != 3 || s.Leased != 0 {
		e.Errorf("Lanes must keep kinds apart: %s, want 3 waiting", counts(s))
	}
}

func lanesOrder(e *env) {
	a := e.open()
	var want []engine.Lane
	for _, k := range kinds {
		for _, n := range []string{"A", "a", "b", "ü"} {
			want = append(want, engine.Lane{Kind: k, Name: n})
		}
	}
	for _, i := range []int{5, 3, 11, 0, 8, 2, 9, 1, 10, 4, 7, 6} {
		a.push(job("e", want[i]))
	}
	var got []engine.Lane
	for _, s := range a.lanes() {
		got = append(got, s.Lane)
	}
	if !slices.Equal(got, want) {
		e.Fatalf("Lanes must be in ascending order of kind and name: got %v, want %v", got, want)
	}
}

func lanesDeferred(e *env) {
	a, l := e.open(), deliver("lane")
	called := time.Now()
	a.deferFor(l, long)
	s := a.lane(l)
	if s.Deferred > long+clockGrain || s.Deferred < long-time.Since(called)-clockGrain {
		e.Errorf("Lanes must list a lane that is deferred, with how much longer: got %v, want about %v", s.Deferred, long)
	}
	a.push(job("e", l))
	if s := a.lane(l); s.Deferred <= 0 || s.Waiting != 1 {
		e.Errorf("a lane may be deferred and have jobs: got %v, %s", s.Deferred, counts(s))
	}
	a.lift(l)
	if s := a.lane(l); s.Deferred > 0 {
		e.Errorf("Lanes must not show a deferral that was lifted: got %v", s.Deferred)
	}
	a.deferFor(deliver("brief"), clockGrain)
	e.pass(time.Now(), clockGrain)
	if s := a.lane(deliver("brief")); s.Deferred != 0 {
		e.Errorf("Lanes must not show a deferral that is over: got %v", s.Deferred)
	}
}

func lanesDead(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(jobs("e", 3, l)...)
	for _, j := range a.take(l) {
		a.works("Bury takes effect", outcome(j, engine.Bury))
	}
	s := a.lane(l)
	if want := "waiting 0, leased 0, retrying 0, dead 3"; counts(s) != want {
		e.Errorf("Lanes must list a lane that has dead letters only: %s, want %s", counts(s), want)
	}
	if s.Oldest != 0 {
		e.Errorf("Oldest must be about jobs that are not dead: got %v", s.Oldest)
	}
}

func lanesForgotten(e *env) {
	a := e.open()
	for i := range 5 {
		a.push(jobs("e", 4, deliver(fmt.Sprint("lane", i)))...)
	}
	a.done(a.take()...)
	a.deferFor(deliver("deferred"), clockGrain)
	e.pass(time.Now(), clockGrain)
	if lanes := a.lanes(); len(lanes) != 0 {
		e.Fatalf("Lanes must not list a lane that has nothing: got %+v", lanes)
	}
}

// lanesLater holds what is due against what is due later.
func lanesLater(e *env) {
	a, l := e.open(), deliver("lane")
	holds := func(when string, later int, overdue time.Duration, since time.Time) {
		e.Helper()
		s := a.lane(l)
		if s.Later != later {
			e.Errorf("Later must count the jobs that wait and are not due yet: %s %d, want %d", when, s.Later, later)
		}
		if most := overdue + time.Since(since) + clockGrain; s.Overdue < overdue-clockGrain || overdue < 0 && s.Overdue != 0 || s.Overdue > most && overdue >= 0 {
			e.Errorf("Overdue must be since when the first of those that wait is due: %s %v, want %v", when, s.Overdue, overdue)
		}
	}
	a.push(engine.Job{Event: event("later"), Lane: l, Delay: long}, engine.Job{Event: event("leased"), Lane: l, Lease: long})
	holds("with one delayed and one leased", 1, -1, time.Now())
	before := time.Now()
	a.push(job("due", l))
	e.pass(time.Now(), brief)
	holds("with one that is due for a while", 1, brief, before.Add(brief))
	j := a.one("a job is due", l)
	holds("with that one claimed", 1, -1, time.Now())
	o := outcome(j, engine.Retry)
	o.After = long
	a.works("Retry takes effect", o)
	holds("with that one to be retried", 2, -1, time.Now())
}

func lanesOldest(e *env) {
	a, l := e.open(), deliver("lane")
	before := time.Now()
	a.push(job("old", l))
	after := time.Now()
	old := a.one("a pushed job is due", l)
	e.pass(after, brief)
	a.push(job("new", l))
	oldest := func(when string, low, high time.Duration) {
		e.Helper()
		if s := a.lane(l); s.Oldest < low-2*clockGrain || s.Oldest > high+time.Since(before)+clockGrain {
			e.Errorf("Oldest must be the age of the oldest job, by the time it was pushed: %s %v, want %v or more", when, s.Oldest, low)
		}
	}
	oldest("with the oldest leased", brief, 0)
	o := outcome(old, engine.Retry)
	o.After = long
	a.works("Retry takes effect", o)
	oldest("with the oldest to be retried", brief, 0)
}
