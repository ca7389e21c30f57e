package enginetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// What LanePage says may be some seconds old, so that every check waits for
// it to become true.
var lanePageChecks = []check{
	{"of_an_empty_store_has_no_lanes", inspector, pageEmpty},
	{"is_in_order_of_kind_and_name", inspector, pageOrder},
	{"continues_behind_After", inspector, pageAfter},
	{"keeps_to_Kind", inspector, pageKind},
	{"has_a_hundred_lanes_unless_told_otherwise", inspector, pageMax},
	{"counts_the_jobs_of_a_lane", inspector, pageCounts},
	{"tells_of_deferrals", inspector, pageDeferred},
	{"tells_when_the_next_job_is_due", inspector, pageNext},
	{"leaves_out_lanes_that_hold_no_jobs", inspector, pageForgotten},
	{"is_the_same_for_every_engine", inspector | sharing, pageShared},
}

func (c *client) page(q engine.LaneQuery) []engine.LaneSummary {
	c.e.Helper()
	i, ok := c.Engine.(engine.Inspector)
	if !ok {
		c.e.Fatal("the engine must implement engine.Inspector, or the harness say NoInspector")
	}
	page, err := i.LanePage(c.e.ctx, q)
	if err != nil {
		c.e.Fatalf("engine %s: LanePage(%+v): %v", c.name, q, err)
	}
	most := q.Max
	if most == 0 {
		most = 100
	}
	if len(page) > most {
		c.e.Fatalf("LanePage must return no more than Max: got %d of %d", len(page), most)
	}
	for _, l := range page {
		if l.Jobs == 0 && l.Next != 0 {
			c.e.Fatalf("Next must be zero for a lane without jobs: got %v for %v", l.Next, l.Lane)
		}
		if l.Jobs == 0 && l.Deferred == 0 {
			c.e.Fatalf("LanePage must list only lanes that have jobs or are deferred: got %v", l.Lane)
		}
	}
	return page
}

// names are the lanes on a page, in order.
func names(page []engine.LaneSummary) []engine.Lane {
	var lanes []engine.Lane
	for _, l := range page {
		lanes = append(lanes, l.Lane)
	}
	return lanes
}

// listsLanes waits until a page has just these lanes.
func (c *client) listsLanes(rule string, q engine.LaneQuery, want ...engine.Lane) {
	c.e.Helper()
	var got []engine.Lane
	c.e.eventuallySo(rule, func() (bool, string) {
		got = names(c.page(q))
		return slices.Equal(got, want), fmt.Sprintf("%+v has %v, want %v", q, got, want)
	})
}

// summary waits until a lane is as ok says.
func (c *client) summary(rule string, l engine.Lane, ok func(engine.LaneSummary) bool) engine.LaneSummary {
	c.e.Helper()
	var found engine.LaneSummary
	c.e.eventuallySo(rule, func() (bool, string) {
		found = engine.LaneSummary{}
		for _, s := range c.page(engine.LaneQuery{Max: 1000}) {
			if s.Lane == l {
				found = s
			}
		}
		return ok(found), fmt.Sprintf("%+v", found)
	})
	return found
}

// crowd are lanes of every kind, in order.
func crowd(perKind int) (lanes []engine.Lane) {
	for _, k := range kinds {
		for _, n := range append([]string{"A", "a", "a ", "b", "ü", "🦉"}, numbered(perKind-6)...) {
			lanes = append(lanes, engine.Lane{Kind: k, Name: n})
		}
	}
	return sortedLanes(lanes)
}

func numbered(n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("https://subscriber%03d.example.org", i))
	}
	return names
}

// fill pushes a job to each lane, not in their order.
func (c *client) fill(lanes []engine.Lane) {
	c.e.Helper()
	js := make([]engine.Job, 0, len(lanes))
	for _, l := range lanes {
		js = append(js, job("e", l))
	}
	for i := range js {
		k := (i * 7919) % len(js)
		js[i], js[k] = js[k], js[i]
	}
	c.push(js...)
}

func pageEmpty(e *env) {
	a := e.open()
	for _, q := range []engine.LaneQuery{{}, {Kind: engine.Deliver}, {After: deliver("lane")}, {Max: 1}} {
		if page := a.page(q); len(page) != 0 {
			e.Errorf("LanePage of an empty store must be empty: got %v", names(page))
		}
	}
}

func pageOrder(e *env) {
	a := e.open()
	all := crowd(8)
	a.fill(all)
	a.listsLanes("LanePage lists lanes in ascending order of kind and name", engine.LaneQuery{}, all...)
}

func pageAfter(e *env) {
	a := e.open()
	all := crowd(15)
	a.fill(all)
	a.deferFor(engine.Lane{Kind: engine.Handle, Name: "deferred, no jobs"}, long)
	all = append(all, engine.Lane{Kind: engine.Handle, Name: "deferred, no jobs"})
	all = sortedLanes(all)
	a.listsLanes("LanePage lists every lane", engine.LaneQuery{Max: 1000}, all...)
	for _, size := range []int{1, 7, len(all), len(all) + 1} {
		a.listsLanes("LanePage returns up to Max lanes", engine.LaneQuery{Max: size}, all[:min(size, len(all))]...)
		var got []engine.Lane
		for after := (engine.Lane{}); len(got) <= len(all); {
			page := a.page(engine.LaneQuery{After: after, Max: size})
			if len(page) == 0 {
				break
			}
			got = append(got, names(page)...)
			after = got[len(got)-1]
		}
		if !slices.Equal(got, all) {
			e.Fatalf("After must continue a listing behind that lane: pages of %d were %v, want %v", size, got, all)
		}
	}
	// Behind a lane that is not there, and behind all.
	a.listsLanes("After may name a lane that is not there", engine.LaneQuery{After: engine.Lane{Kind: engine.Deliver, Name: "aa"}, Max: 2},
		engine.Lane{Kind: engine.Deliver, Name: "b"}, engine.Lane{Kind: engine.Deliver, Name: "https://subscriber000.example.org"})
	a.listsLanes("behind the last lane there is none", engine.LaneQuery{After: engine.Lane{Kind: engine.Handle, Name: "\U0010FFFF"}})
}

func sortedLanes(lanes []engine.Lane) []engine.Lane {
	return slices.SortedFunc(slices.Values(lanes), func(a, b engine.Lane) int {
		switch {
		case a.Kind != b.Kind:
			return int(a.Kind) - int(b.Kind)
		case a.Name < b.Name:
			return -1
		case a.Name > b.Name:
			return 1
		}
		return 0
	})
}

func pageKind(e *env) {
	a := e.open()
	all := crowd(7)
	a.fill(all)
	a.listsLanes("LanePage lists every lane", engine.LaneQuery{}, all...)
	for i, k := range kinds {
		of := all[i*7 : i*7+7]
		a.listsLanes("LanePage keeps to a kind", engine.LaneQuery{Kind: k}, of...)
		a.listsLanes("LanePage keeps to a kind, up to Max", engine.LaneQuery{Kind: k, Max: 2}, of[:2]...)
		a.listsLanes("LanePage keeps to a kind behind After", engine.LaneQuery{Kind: k, After: of[2], Max: 3}, of[3:6]...)
		a.listsLanes("LanePage keeps to a kind behind its last lane", engine.LaneQuery{Kind: k, After: of[6]})
	}
	a.listsLanes("After may be of an earlier kind", engine.LaneQuery{Kind: engine.Handle, After: all[3], Max: 1}, all[14])
	a.listsLanes("After may be of a later kind", engine.LaneQuery{Kind: engine.Deliver, After: all[20]})
}

func pageMax(e *env) {
	a := e.open()
	all := crowd(50)
	a.fill(all)
	a.listsLanes("Max 0 means a hundred lanes", engine.LaneQuery{}, all[:100]...)
	a.listsLanes("Max 0 means a hundred lanes, behind After too", engine.LaneQuery{After: all[39]}, all[40:140]...)
	a.listsLanes("LanePage returns up to Max lanes", engine.LaneQuery{Max: 1000}, all...)
}

func pageCounts(e *env) {
	a, l := e.open(), deliver("lane")
	holds := func(when string, want int) {
		e.Helper()
		a.summary(fmt.Sprintf("LanePage counts the jobs of a lane, waiting or claimed: %s there are %d", when, want), l, func(s engine.LaneSummary) bool { return s.Jobs == want })
	}
	a.push(jobs("e", 10, l)...)
	a.push(engine.Job{Event: event("later"), Lane: l, Delay: long}, engine.Job{Event: event("leased"), Lane: l, Lease: long})
	a.push(jobs("e", 3, engine.Lane{Kind: engine.Handle, Name: "lane"})...)
	a.push(jobs("e", 2, l)...) // again
	holds("after pushing 10 due, 1 delayed and 1 leased", 12)
	js := a.claim(engine.ClaimRequest{Max: 7}).Jobs
	holds("after claiming 7", 12)
	a.works("outcomes take effect",
		outcome(js[0], engine.Done), outcome(js[1], engine.Done), outcome(js[2], engine.Bury),
		engine.Outcome{Ticket: js[3].Ticket, Result: engine.Retry, After: long, Attempt: 1},
		outcome(js[4], engine.Release), engine.Outcome{Ticket: js[5].Ticket, Result: engine.Extend, After: long})
	holds("after 2 were done and 1 buried", 9)
	o := outcome(js[6], engine.Done)
	o.Follow = []engine.Job{{Lane: deliver("other")}, {Lane: deliver("other")}, {Event: event("new"), Lane: l}}
	a.works("Done with follow-ups takes effect", o)
	holds("after 1 was done and another followed", 9)
	a.summary("LanePage counts follow-ups", deliver("other"), func(s engine.LaneSummary) bool { return s.Jobs == 1 })
	a.summary("LanePage keeps kinds apart", engine.Lane{Kind: engine.Handle, Name: "lane"}, func(s engine.LaneSummary) bool { return s.Jobs == 3 })
	if !e.h.NoDeadLetters {
		a.redrive(1, a.deadN(1, engine.DeadQuery{})[0].ID)
		holds("after a dead letter was redriven", 10)
	}
}

func pageDeferred(e *env) {
	a, l := e.open(), deliver("lane")
	called := time.Now()
	a.deferFor(l, long)
	s := a.summary("LanePage lists a lane that is deferred and has no jobs", l, func(s engine.LaneSummary) bool { return s.Deferred > 0 })
	if s.Deferred > long+clockGrain || s.Deferred < long-time.Since(called)-clockGrain {
		e.Errorf("Deferred must be how much longer nobody claims from the lane: got %v, want about %v", s.Deferred, long)
	}
	called = time.Now()
	a.push(job("e", l))
	returned := time.Now()
	a.next("Next is about jobs, whether the lane is deferred or not", l, called, returned, 0)
	a.summary("a lane may be deferred and have jobs", l, func(s engine.LaneSummary) bool { return s.Deferred > 0 && s.Jobs == 1 })
	a.lift(l)
	a.summary("a deferral that was lifted is not shown", l, func(s engine.LaneSummary) bool { return s.Deferred == 0 && s.Jobs == 1 })
	a.deferFor(deliver("brief"), brief)
	a.summary("a deferral that is over is not shown", deliver("brief"), func(s engine.LaneSummary) bool { return s == engine.LaneSummary{} })
}

// next waits until the Next of a lane tells of a moment d after one between
// called and returned.
func (c *client) next(rule string, l engine.Lane, called, returned time.Time, d time.Duration) {
	c.e.Helper()
	const old = 5 * time.Second // as it may be
	c.summary(rule, l, func(s engine.LaneSummary) bool {
		now := time.Now()
		low, high := called.Add(d).Sub(now)-clockGrain, returned.Add(d).Sub(now)+old+clockGrain
		return s.Jobs > 0 && s.Next >= low && s.Next <= high
	})
}

func pageNext(e *env) {
	a, l := e.open(), deliver("lane")
	timed := func(do func()) (called, returned time.Time) {
		called = time.Now()
		do()
		return called, time.Now()
	}
	called, returned := timed(func() { a.push(engine.Job{Event: event("later"), Lane: l, Delay: long}) })
	a.next("Next tells when a delayed job is due", l, called, returned, long)
	called, returned = timed(func() { a.push(engine.Job{Event: event("sooner"), Lane: l, Delay: long / 2}) })
	a.next("Next tells of the job that is due first", l, called, returned, long/2)
	called, returned = timed(func() { a.push(engine.Job{Event: event("leased"), Lane: l, Lease: long / 4}) })
	a.next("Next tells when a lease ends", l, called, returned, long/4)
	a.push(engine.Job{Event: event("other"), Lane: deliver("other"), Delay: time.Minute})

	called, returned = timed(func() { a.push(job("now", l)) })
	e.pass(returned, brief)
	a.summary("Next is negative when the next job is overdue", l, func(s engine.LaneSummary) bool {
		return s.Next < 0 && s.Next >= time.Until(called)-clockGrain
	})
	j := a.nextIs("what is due is claimed", l, "now")
	o := outcome(j, engine.Retry)
	o.After = long / 8
	called, returned = timed(func() { a.works("Retry takes effect", o) })
	a.next("Next tells when a job is to be retried", l, called, returned, long/8)
}

func pageForgotten(e *env) {
	a := e.open()
	for i := range 5 {
		a.push(jobs("e", 4, deliver(fmt.Sprint("lane", i)))...)
	}
	a.push(job("dead", deliver("dead")))
	a.listsLanes("LanePage lists lanes with jobs", engine.LaneQuery{}, deliver("dead"), deliver("lane0"), deliver("lane1"), deliver("lane2"), deliver("lane3"), deliver("lane4"))
	a.works("Bury takes effect", outcome(a.one("a pushed job is due", deliver("dead")), engine.Bury))
	a.done(a.take()...)
	a.listsLanes("LanePage leaves out lanes whose jobs are all done or dead", engine.LaneQuery{})
	a.push(job("new", deliver("lane3")))
	a.listsLanes("LanePage lists a lane again that has jobs again", engine.LaneQuery{}, deliver("lane3"))
}

func pageShared(e *env) {
	a, b := e.open(), e.open()
	a.push(jobs("e", 3, deliver("one"))...)
	b.push(jobs("e", 2, deliver("two"))...)
	for _, c := range []*client{a, b} {
		c.summary("LanePage tells of what any engine pushed", deliver("one"), func(s engine.LaneSummary) bool { return s.Jobs == 3 })
		c.summary("LanePage tells of what any engine pushed", deliver("two"), func(s engine.LaneSummary) bool { return s.Jobs == 2 })
	}
	a.done(a.take(deliver("two"))...)
	b.deferFor(deliver("three"), long)
	b.listsLanes("LanePage tells of what any engine did", engine.LaneQuery{}, deliver("one"), deliver("three"))
	a.listsLanes("LanePage tells of what any engine did", engine.LaneQuery{}, deliver("one"), deliver("three"))
	a.close()
	b.close()
	e.open().summary("lanes survive", deliver("one"), func(s engine.LaneSummary) bool { return s.Jobs == 3 })
}
