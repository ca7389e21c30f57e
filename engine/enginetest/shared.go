package enginetest

import (
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// That an engine's tickets, deferrals, subscribers and hints are known to
// others is checked with each of these.
var sharedChecks = []check{
	{"engines_claim_what_the_other_pushed", sharing, sharedPush},
	{"engines_never_have_the_same_job", sharing, sharedClaim},
	{"engines_take_over_when_a_lease_ends", sharing, sharedTakeover},
	{"engines_keep_an_event_that_the_other_needs", sharing, sharedEvent},
	{"engines_may_be_closed_one_by_one", sharing, sharedClose},
}

func sharedPush(e *env) {
	a, b := e.open(), e.open()
	a.push(jobs("a", 3, deliver("lane"))...)
	b.push(jobs("b", 3, deliver("lane"))...)
	b.push(jobs("b", 3, deliver("other"))...)
	if got := b.take(deliver("lane")); len(got) != 6 {
		e.Fatalf("an engine must claim what any engine on the store pushed: got %s, want 6 jobs", list(got))
	}
	if got := a.take(); len(got) != 3 {
		e.Fatalf("an engine must claim what any engine on the store pushed: got %s, want 3 jobs", list(got))
	}
}

func sharedClaim(e *env) {
	a, b := e.open(), e.open()
	a.push(jobs("e", 40, deliver("lane"))...)
	var got []string
	for range 4 {
		got = append(got, ids(a.claim(engine.ClaimRequest{Max: 5}).Jobs)...)
		got = append(got, ids(b.claim(engine.ClaimRequest{Max: 5}).Jobs)...)
	}
	if n := len(slices.Compact(sorted(got))); len(got) != 40 || n != 40 {
		e.Fatalf("two engines must never have the same job: %d jobs were handed out, %d different ones, of 40", len(got), n)
	}
	a.none("a job that one engine has is nobody else's", deliver("lane"))
	b.none("a job that one engine has is nobody else's", deliver("lane"))
}

func sharedTakeover(e *env) {
	a, b, l := e.open(), e.open(), deliver("lane")
	a.push(job("e", l))
	called := time.Now()
	j := a.oneOf("a pushed job is due", engine.ClaimRequest{Lease: brief})
	a.abandon()
	j2 := b.soon("the job of an engine that died is due when its lease ends", called, brief, l)
	if j2.Claims != 2 {
		e.Errorf("Claims must count the claims of every engine: got %d, want 2", j2.Claims)
	}
	b.stale("the ticket of an engine that died is stale after the takeover", outcome(j, engine.Done))
	b.done(j2)
}

func sharedEvent(e *env) {
	a, b := e.open(), e.open()
	a.push(job("e", deliver("one")))
	b.push(job("e", deliver("two")))
	a.done(a.one("a pushed job is due", deliver("one")))
	if err := same(b.one("a pushed job is due", deliver("two")).Event, event("e")); err != nil {
		e.Fatalf("an event must be kept while a job of any engine needs it: %v", err)
	}
}

func sharedClose(e *env) {
	a, b, l := e.open(), e.open(), deliver("lane")
	held := a.push(engine.Job{Event: event("held"), Lane: l, Lease: long}, job("e", l))[0]
	a.close()
	b.done(b.one("Close leaves the jobs to the other engines", l))
	b.works("a ticket of an engine that was closed works through another", engine.Outcome{Ticket: held, Result: engine.Done})
	c := e.open()
	c.push(job("c", l))
	b.one("an engine opened later works beside one opened earlier", l)
}
