package enginetest

import (
	"errors"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var deferChecks = []check{
	{"keeps_everyone_out_until_it_is_over", 0, deferEnds},
	{"keeps_other_engines_out", sharing, deferShared},
	{"is_lifted_by_zero_or_less", 0, deferLifted},
	{"replaces_the_call_before", 0, deferReplaced},
	{"of_a_lane_without_jobs_holds", 0, deferEmptyLane},
	{"holds_when_the_lane_runs_empty", 0, deferHolds},
	{"leaves_other_lanes_alone", 0, deferOthers},
	{"lets_claimed_jobs_be_settled", 0, deferClaimed},
	{"lets_jobs_be_pushed", 0, deferPush},
	{"of_an_invalid_lane_is_refused", 0, deferInvalid},
}

func deferEnds(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	called := time.Now()
	a.deferFor(l, brief)
	a.soon("a deferred lane is served again when the time is over", called, brief, l)
}

func deferShared(e *env) {
	a, b, l := e.open(), e.open(), deliver("lane")
	a.push(job("1", l))
	a.done(a.one("a pushed job is due", l))
	a.push(job("2", l))
	called := time.Now()
	a.deferFor(l, brief)
	b.soon("a deferral holds for every engine on the store", called, brief, l)

	a.push(job("3", l))
	a.deferFor(l, long)
	b.none("a deferral holds for every engine on the store", l)
	b.lift(l)
	a.one("a deferral can be lifted by any engine on the store", l)
}

func deferLifted(e *env) {
	a, l := e.open(), deliver("lane")
	for i, d := range []time.Duration{0, -1, -long} {
		a.push(job(string(rune('a'+i)), l))
		a.deferFor(l, long)
		a.none("nobody claims from a deferred lane", l)
		a.deferFor(l, d)
		a.one("Defer with zero or less lifts a deferral", l)
	}
	a.deferFor(deliver("never"), 0)
	a.push(job("e", deliver("never")))
	a.one("lifting a deferral that is not there does nothing", deliver("never"))
}

func deferReplaced(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	a.deferFor(l, long)
	called := time.Now()
	a.deferFor(l, brief)
	a.soon("a later Defer replaces an earlier one, by a shorter time too", called, brief, l)

	o := deliver("other")
	a.push(job("e", o))
	a.deferFor(o, brief)
	short := time.Now()
	a.deferFor(o, long)
	e.pass(short, brief)
	a.none("a later Defer replaces an earlier one, by a longer time too", o)
}

func deferEmptyLane(e *env) {
	a, l := e.open(), deliver("new")
	a.deferFor(l, long)
	a.push(job("e", l))
	a.none("a lane can be deferred before it has jobs", l)
	a.lift(l)
	a.one("lifting the deferral lets the jobs out", l)
}

func deferHolds(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("1", l))
	j := a.one("a pushed job is due", l)
	a.deferFor(l, long)
	a.done(j)
	a.push(job("2", l))
	a.none("a deferral outlives the jobs that were in the lane", l)
}

func deferOthers(e *env) {
	a, l := e.open(), deliver("lane")
	same := engine.Lane{Kind: engine.Handle, Name: "lane"}
	a.push(job("old", l))
	e.tick()
	a.push(job("e", same), job("e", deliver("other")), job("e", deliver("lanes")))
	a.deferFor(l, long)
	a.one("a deferral leaves a lane of another kind and the same name alone", same)
	if got := a.claim(engine.ClaimRequest{Max: 2}).Jobs; len(got) != 2 {
		e.Fatalf("a deferral must leave other lanes alone: claimed %s, want 2 jobs", list(got))
	}
}

func deferClaimed(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(jobs("e", len(results), l)...)
	js := a.takeN(len(results), l)
	a.deferFor(l, long)
	for i, r := range results {
		a.works("a claimed job of a deferred lane can be settled", outcome(js[i], r))
	}
	a.none("a job given back to a deferred lane waits", l)
	a.lift(l)
	// Retry, Release, and Extend with its lease at an end.
	var got []engine.Claimed
	e.eventually("a job given back to a deferred lane is due when it is lifted", func() bool {
		got = append(got, a.take(l)...)
		return len(got) == 3
	})
}

func deferPush(e *env) {
	a, l := e.open(), deliver("lane")
	a.deferFor(l, long)
	a.push(job("plain", l))
	t := a.push(engine.Job{Event: event("leased"), Lane: l, Lease: long}, engine.Job{Event: event("lapsed"), Lane: l, Lease: clockGrain})
	if t[0] == "" {
		e.Fatalf("Push to a deferred lane under a lease must give a ticket")
	}
	a.works("the ticket of a Push to a deferred lane works", engine.Outcome{Ticket: t[0], Result: engine.Done})
	e.pass(time.Now(), clockGrain)
	a.none("nobody claims from a deferred lane, when a lease ends neither", l)
	a.lift(l)
	if got := sorted(ids(a.take(l))); len(got) != 2 || got[0] != "lapsed" || got[1] != "plain" {
		e.Fatalf("Push to a deferred lane must store the jobs: %q were due when it was lifted, want lapsed and plain", got)
	}
}

func deferInvalid(e *env) {
	a := e.open()
	for _, l := range []engine.Lane{{}, {Kind: engine.Deliver}, {Name: "lane"}, {Kind: 77, Name: "lane"}} {
		if err := a.Defer(e.ctx, l, long); !errors.Is(err, engine.ErrInvalid) {
			e.Errorf("Defer of the lane %+v must return ErrInvalid: got %v", l, err)
		}
	}
}
