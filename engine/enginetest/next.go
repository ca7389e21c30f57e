package enginetest

import (
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var nextChecks = []check{
	{"is_zero_when_Max_left_jobs_behind", 0, nextMax},
	{"is_zero_when_a_lane_limit_left_jobs_behind", 0, nextLimit},
	{"is_never_later_than_a_delayed_job", 0, nextDelay},
	{"is_never_later_than_the_end_of_a_lease", 0, nextLease},
	{"is_never_later_than_the_end_of_a_deferral", 0, nextDeferral},
	{"does_not_make_callers_spin_for_a_lane_left_out", 0, nextLeftOut},
	{"is_negative_again_when_all_is_done", 0, nextDone},
	{"leads_to_every_job", 0, nextLeads},
}

// within makes sure that the caller of a claim that finds nothing would look
// again neither too late nor at once: Next may be too early, but if it were 0
// each time, the caller would never rest.
func (c *client) within(rule string, d time.Duration, req engine.ClaimRequest) {
	c.e.Helper()
	c.e.eventually(rule+": Next must not be 0 for ever", func() bool {
		res := c.claim(req)
		if len(res.Jobs) != 0 {
			c.e.Fatalf("%s: claimed %s, want nothing", rule, list(res.Jobs))
		}
		if res.Next < 0 || res.Next > d+clockGrain {
			c.e.Fatalf("%s: Next is %v, want no more than %v and not negative", rule, res.Next, d)
		}
		return res.Next > 0
	})
}

// left makes sure that Next is 0 because something was left behind.
func (c *client) left(rule string, want int, req engine.ClaimRequest) {
	c.e.Helper()
	res := c.claim(req)
	if len(res.Jobs) != want || res.Next != 0 {
		c.e.Fatalf("%s: claimed %s with Next %v, want %d jobs with Next 0", rule, list(res.Jobs), res.Next, want)
	}
}

func nextMax(e *env) {
	a := e.open()
	a.push(jobs("e", 5, deliver("one"))...)
	a.left("Next is 0 when Max left jobs of a lane behind", 3, engine.ClaimRequest{Max: 3})
	a.push(jobs("e", 2, deliver("two"))...)
	a.left("Next is 0 when Max left a lane behind", 1, engine.ClaimRequest{Max: 1, Only: []string{"one"}})
	a.left("Next is 0 when Max left a lane behind", 1, engine.ClaimRequest{Max: 1})
	a.push(jobs("e", 20, deliver("three"))...)
	a.left("Next is 0 when Max left many behind", 5, engine.ClaimRequest{Max: 5})
}

func nextLimit(e *env) {
	a := e.open()
	a.push(jobs("e", 5, deliver("one"))...)
	a.left("Next is 0 when MaxPerLane left jobs behind", 2, engine.ClaimRequest{MaxPerLane: 2})
	a.left("Next is 0 when Limits left jobs behind", 1, engine.ClaimRequest{Limits: map[string]int{"one": 1}})
}

func nextDelay(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(engine.Job{Event: event("later"), Lane: l, Delay: long})
	a.within("Next for a delayed job", long, engine.ClaimRequest{})
	a.push(engine.Job{Event: event("sooner"), Lane: l, Delay: long / 2})
	a.within("Next for the earlier of two delayed jobs", long/2, engine.ClaimRequest{})
	a.push(engine.Job{Event: event("soonest"), Lane: deliver("other"), Delay: long / 4})
	a.within("Next for the earliest of several lanes", long/4, engine.ClaimRequest{})
	a.within("Next for the lanes of Only", long/2, engine.ClaimRequest{Only: []string{"lane"}})
	a.push(engine.Job{Event: event("mixed"), Lane: deliver("other")})
	res := a.claim(engine.ClaimRequest{})
	if len(res.Jobs) != 1 || res.Next < 0 || res.Next > long/4+clockGrain {
		e.Fatalf("Next must tell of delayed jobs when others were claimed: got %s and Next %v, want one job and up to %v", list(res.Jobs), res.Next, long/4)
	}

	a.push(engine.Job{Event: event("r"), Lane: engine.Lane{Kind: engine.Handle, Name: "h"}})
	o := outcome(a.one("a pushed job is due", engine.Lane{Kind: engine.Handle, Name: "h"}), engine.Retry)
	o.After = long / 8
	a.works("Retry takes effect", o)
	a.within("Next for a job to be retried", long/8, engine.ClaimRequest{Kind: engine.Handle})
}

func nextLease(e *env) {
	a := e.open()
	a.push(job("e", deliver("lane")))
	// The claim's own lease counts: the job is due when it ends.
	res := a.claim(engine.ClaimRequest{Lease: long})
	if len(res.Jobs) != 1 || res.Next < 0 || res.Next > long+clockGrain {
		e.Fatalf("Next must tell of the end of the lease just given: got %s and Next %v, want one job and up to %v", list(res.Jobs), res.Next, long)
	}
	a.within("Next for a leased job", long, engine.ClaimRequest{})
	a.push(engine.Job{Event: event("pushed"), Lane: deliver("other"), Lease: long / 2})
	a.within("Next for a job pushed under a lease", long/2, engine.ClaimRequest{})
	a.works("Extend takes effect", engine.Outcome{Ticket: res.Jobs[0].Ticket, Result: engine.Extend, After: long / 4})
	a.within("Next for a lease that was extended to an earlier end", long/4, engine.ClaimRequest{})
}

func nextDeferral(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	a.deferFor(l, long)
	a.within("Next for a job in a deferred lane", long, engine.ClaimRequest{})
	a.deferFor(l, long/2)
	a.within("Next for a job in a lane deferred anew", long/2, engine.ClaimRequest{})
	a.push(engine.Job{Event: event("e"), Lane: deliver("other"), Delay: long / 4})
	a.within("Next for a delayed job beside a deferred lane", long/4, engine.ClaimRequest{})
}

func nextLeftOut(e *env) {
	a := e.open()
	a.push(job("e", deliver("out")), job("e", engine.Lane{Kind: engine.Handle, Name: "in"}))
	for rule, req := range map[string]engine.ClaimRequest{
		"Next for a lane with a limit of 0":        {Limits: map[string]int{"out": 0}},
		"Next for a lane that is not in Only":      {Only: []string{"in"}},
		"Next for an empty Only":                   {Only: []string{}},
		"Next for another kind than was asked for": {Kind: engine.FanOut},
	} {
		e.eventually(rule+" must not be 0 for ever", func() bool {
			res := a.claim(req)
			if len(res.Jobs) != 0 {
				e.Fatalf("%s: claimed %s, want nothing", rule, list(res.Jobs))
			}
			return res.Next != 0
		})
	}
}

// An engine may go on waiting for the end of a lease whose job is done, and
// find out then.
func nextDone(e *env) {
	a := e.open()
	a.push(jobs("e", 20, deliver("lane"))...)
	a.push(jobs("e", 20, deliver("other"))...)
	a.done(a.claim(engine.ClaimRequest{Lease: brief}).Jobs...)
	e.eventually("Next is negative when no job is left", func() bool {
		return a.claim(engine.ClaimRequest{}).Next < 0
	})
}

// A caller that looks again only when Next says so gets everything.
func nextLeads(e *env) {
	a, l := e.open(), deliver("lane")
	const n = 20
	for i, j := range jobs("e", n, l) {
		j.Delay = time.Duration(i*17) * time.Millisecond
		if i%5 == 4 {
			j.Lane, j.Lease = deliver("leased"), time.Duration(i*17)*time.Millisecond
		}
		a.push(j)
	}
	a.deferFor(deliver("leased"), brief)
	end := time.Now().Add(e.patience)
	for got := 0; got < n; {
		res := a.claim(engine.ClaimRequest{MaxPerLane: 2})
		got += len(res.Jobs)
		a.done(res.Jobs...)
		if got == n {
			break
		}
		if res.Next < 0 || time.Now().Add(res.Next).After(end) {
			e.Fatalf("a caller that follows Next must get every job: Next is %v with %d of %d jobs still to come", res.Next, n-got, n)
		}
		time.Sleep(res.Next)
	}
}
