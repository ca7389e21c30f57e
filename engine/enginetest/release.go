package enginetest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// A released job is where it was in its lane before it was claimed.
var releaseChecks = []check{
	{"keeps_the_place_in_the_lane", 0, releasePlace},
	{"of_several_keeps_their_order", 0, releaseOrder},
	{"of_a_job_pushed_under_a_lease_keeps_its_place", 0, releasePushed},
	{"of_a_follow_up_under_a_lease_keeps_its_place", 0, releaseFollow},
	{"after_Extend_keeps_the_place", 0, releaseExtended},
	{"after_a_Retry_keeps_the_place_that_the_Retry_gave", 0, releaseRetried},
	{"after_a_takeover_keeps_the_place_that_the_lost_lease_left", 0, releaseTakenOver},
	{"keeps_the_lane_ahead_of_younger_ones", 0, releaseLane},
	{"with_After_moves_the_job_back", 0, releaseAfter},
	{"through_another_engine_keeps_the_place", sharing, releaseElsewhere},
}

// queue pushes jobs one after another, so that each is due after the one
// before.
func (c *client) queue(l engine.Lane, ids ...string) {
	c.e.Helper()
	for _, id := range ids {
		c.push(job(id, l))
		c.e.tick()
	}
}

// nextIs claims the next job of a lane, which must be the one with an ID.
func (c *client) nextIs(rule string, l engine.Lane, id string) engine.Claimed {
	c.e.Helper()
	js := c.claim(engine.ClaimRequest{Kind: l.Kind, Only: []string{l.Name}, Max: 1}).Jobs
	if len(js) != 1 || js[0].Event.ID != id {
		c.e.Fatalf("%s: engine %s claimed %s, want %q", rule, c.name, list(js), id)
	}
	return js[0]
}

// order claims all of a lane, one by one, and holds their order against ids.
func (c *client) order(rule string, l engine.Lane, ids ...string) {
	c.e.Helper()
	var got []string
	for {
		js := c.claim(engine.ClaimRequest{Kind: l.Kind, Only: []string{l.Name}, Max: 1}).Jobs
		if len(js) == 0 {
			break
		}
		got = append(got, js[0].Event.ID)
		c.done(js...)
	}
	if !slices.Equal(got, ids) {
		c.e.Fatalf("%s: engine %s claimed %q one by one, want %q", rule, c.name, got, ids)
	}
}

func releasePlace(e *env) {
	a, l := e.open(), deliver("lane")
	a.queue(l, "1", "2", "3")
	for range 3 {
		j := a.nextIs("a released job comes before those that came later", l, "1")
		e.tick()
		a.works("Release takes effect", outcome(j, engine.Release))
	}
	a.queue(l, "4")
	a.order("a released job is where it was in its lane", l, "1", "2", "3", "4")
}

func releaseOrder(e *env) {
	a, l := e.open(), deliver("lane")
	var ids []string
	for i := range 12 {
		ids = append(ids, fmt.Sprint((i*7)%12)) // not in the order of the IDs
	}
	a.queue(l, ids...)
	js := a.claim(engine.ClaimRequest{Max: 9}).Jobs
	// Not in their order, and not all at once.
	for _, i := range []int{4, 0, 8, 2, 6} {
		a.works("Release takes effect", outcome(js[i], engine.Release))
		e.tick()
	}
	a.works("Release takes effect", outcome(js[7], engine.Release), outcome(js[1], engine.Release), outcome(js[5], engine.Release), outcome(js[3], engine.Release))
	a.order("released jobs are where they were in their lane", l, ids...)
}

func releasePushed(e *env) {
	a, l := e.open(), deliver("lane")
	a.queue(l, "before")
	t := a.push(engine.Job{Event: event("leased"), Lane: l, Lease: long, Delay: long})[0]
	e.tick()
	a.queue(l, "after")
	a.works("Release takes effect", engine.Outcome{Ticket: t, Result: engine.Release})
	a.order("a job that was pushed under a lease and released is where a push without lease would have put it", l, "before", "leased", "after")
}

func releaseFollow(e *env) {
	a, l := e.open(), deliver("lane")
	o := outcome(a.fanout("leased"), engine.Done)
	a.queue(l, "before")
	o.Follow = []engine.Job{{Lane: l, Lease: long}}
	f := a.works("Done with follow-ups takes effect", o)[0].Follow[0]
	e.tick()
	a.queue(l, "after")
	a.works("Release takes effect", engine.Outcome{Ticket: f, Result: engine.Release})
	a.order("a follow-up under a lease that is released is where one without lease would be", l, "before", "leased", "after")
}

func releaseExtended(e *env) {
	a, l := e.open(), deliver("lane")
	a.queue(l, "1", "2")
	ticket := a.nextIs("jobs come in order", l, "1").Ticket
	leased := a.push(engine.Job{Event: event("3"), Lane: l, Lease: long})[0]
	e.tick()
	a.queue(l, "4")
	for range 2 {
		s := a.works("Extend takes effect",
			engine.Outcome{Ticket: ticket, Result: engine.Extend, After: long},
			engine.Outcome{Ticket: leased, Result: engine.Extend, After: 2 * long, History: []byte("noted")})
		ticket, leased = s[0].Ticket, s[1].Ticket
	}
	a.works("Release takes effect", engine.Outcome{Ticket: leased, Result: engine.Release}, engine.Outcome{Ticket: ticket, Result: engine.Release})
	a.order("a job whose lease was extended and that is released is where it was in its lane", l, "1", "2", "3", "4")
}

func releaseRetried(e *env) {
	a, l := e.open(), deliver("lane")
	a.queue(l, "1", "2")
	a.works("Retry takes effect", outcome(a.nextIs("jobs come in order", l, "1"), engine.Retry))
	e.tick()
	a.queue(l, "3")
	two := a.nextIs("a retried job is due when the Retry says", l, "2")
	one := a.nextIs("a retried job is due when the Retry says", l, "1")
	a.works("Release takes effect", outcome(one, engine.Release), outcome(two, engine.Release))
	a.order("a job that was retried and then released is where the Retry had put it", l, "2", "1", "3")
}

func releaseTakenOver(e *env) {
	a, l := e.open(), deliver("lane")
	a.queue(l, "1", "2")
	j := a.claim(engine.ClaimRequest{Max: 1, Lease: 4 * clockGrain}).Jobs[0]
	e.pass(time.Now(), 4*clockGrain)
	e.tick()
	a.queue(l, "3")
	if j.Event.ID != "1" {
		e.Fatalf("jobs must come in order: got %q first", j.Event.ID)
	}
	two := a.nextIs("a job whose lease ended is due since then", l, "2")
	one := a.nextIs("a job whose lease ended is due since then", l, "1")
	a.works("Release takes effect", outcome(one, engine.Release), outcome(two, engine.Release))
	a.order("a job whose lease ended is due since then, also when it is claimed again and released", l, "2", "1", "3")
}

func releaseLane(e *env) {
	a := e.open()
	a.queue(deliver("old"), "1")
	j := a.one("a pushed job is due", deliver("old"))
	for _, n := range []string{"c", "a", "b"} {
		a.queue(deliver(n), "1")
	}
	a.works("Release takes effect", outcome(j, engine.Release))
	js := a.claim(engine.ClaimRequest{Max: 2}).Jobs
	if got := slices.Sorted(maps.Keys(perLane(js))); !slices.Equal(got, []string{"c", "old"}) {
		e.Fatalf("the lane of a released job must be served as the oldest again: two jobs came from %q, want old and c", got)
	}
}

func releaseAfter(e *env) {
	a := e.open()
	var l engine.Lane
	for attempt := 0; ; attempt++ { // on a slow machine the third job may come too late
		l = deliver("lane " + strconv.Itoa(attempt))
		a.queue(l, "1", "2")
		o := outcome(a.nextIs("jobs come in order", l, "1"), engine.Release)
		o.After = brief
		called := time.Now()
		a.works("Release takes effect", o)
		a.queue(l, "3")
		two := a.nextIs("a job released with an After is not due before that", l, "2")
		a.works("Release takes effect", outcome(two, engine.Release))
		if time.Since(called) < brief {
			break
		}
	}
	e.pass(time.Now(), brief)
	a.queue(l, "4")
	a.order("a job released with an After is due since that time", l, "2", "3", "1", "4")
}

func releaseElsewhere(e *env) {
	a, b, l := e.open(), e.open(), deliver("lane")
	a.queue(l, "1", "2")
	leased := b.push(engine.Job{Event: event("3"), Lane: l, Lease: long})[0]
	e.tick()
	b.queue(l, "4")
	one := a.nextIs("jobs come in order", l, "1")
	b.works("a ticket works through any engine on the store", outcome(one, engine.Release))
	a.works("a ticket works through any engine on the store", engine.Outcome{Ticket: leased, Result: engine.Release})
	b.order("a job that was released through another engine is where it was in its lane", l, "1", "2", "3", "4")
}
