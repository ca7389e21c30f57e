package enginetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var followChecks = []check{
	{"ups_appear_with_every_result", 0, followEveryResult},
	{"ups_inherit_the_event", 0, followInherit},
	{"ups_may_have_an_event_of_their_own", 0, followOwnEvent},
	{"ups_keep_their_delay", 0, followDelay},
	{"ups_under_a_lease_give_tickets_that_work", 0, followLeased},
	{"ups_that_are_already_there_are_left_alone", 0, followAlreadyThere},
	{"ups_of_a_stale_outcome_do_not_appear", 0, followStale},
	{"ups_that_are_invalid_stop_the_outcome", 0, followInvalid},
	{"ups_may_be_many", 0, followMany},
}

// fanout pushes an event and claims its FanOut job.
func (c *client) fanout(id string) engine.Claimed {
	c.e.Helper()
	l := engine.Lane{Kind: engine.FanOut, Name: channel}
	c.push(job(id, l))
	return c.one("a pushed job is due", l)
}

func followEveryResult(e *env) {
	a := e.open()
	for _, r := range results {
		j := a.fanout(name(r))
		o := outcome(j, r)
		o.After = long
		l := deliver("lane of " + name(r))
		o.Follow = []engine.Job{{Lane: l}}
		a.none("follow-ups do not appear before the outcome", l)
		a.works(name(r)+" takes effect", o)
		f := a.one("follow-ups appear with every outcome that takes effect, "+name(r)+" too", l)
		if err := same(f.Event, event(name(r))); err != nil {
			e.Errorf("a follow-up without an event must be about the settled job's, after %s too: %v", name(r), err)
		}
		if f.Attempt != 0 || len(f.History) != 0 || f.Claims != 1 {
			e.Errorf("a follow-up must be a new job: got attempt %d, history %q, Claims %d", f.Attempt, f.History, f.Claims)
		}
	}
}

func followInherit(e *env) {
	a := e.open()
	j := a.fanout("e")
	lanes := []engine.Lane{deliver("one"), deliver("two"), {Kind: engine.Handle, Name: "one"}}
	o := outcome(j, engine.Done)
	for _, l := range lanes {
		o.Follow = append(o.Follow, engine.Job{Lane: l})
	}
	a.works("Done with follow-ups takes effect", o)
	for _, l := range lanes {
		f := a.one("every follow-up appears in its lane", l)
		if err := same(f.Event, event("e")); err != nil {
			e.Errorf("a follow-up without an event must be about the settled job's: %v", err)
		}
		// And the follow-up of a follow-up, when the first job is long gone.
		next := engine.Lane{Kind: engine.Handle, Name: "after " + l.Kind.String() + l.Name}
		o := outcome(f, engine.Done)
		o.Follow = []engine.Job{{Lane: next}}
		a.works("Done with follow-ups takes effect", o)
		if err := same(a.one("a follow-up can have one of its own", next).Event, event("e")); err != nil {
			e.Errorf("the follow-up of a follow-up must be about the same event: %v", err)
		}
	}
}

func followOwnEvent(e *env) {
	a := e.open()
	j := a.fanout("e")
	o := outcome(j, engine.Done)
	o.Follow = []engine.Job{job("other", deliver("lane")), {Lane: deliver("lane")}, {Event: j.Event, Lane: deliver("third")}}
	a.works("Done with follow-ups takes effect", o)
	got := a.take(deliver("lane"), deliver("third"))
	if s := sorted(ids(got)); !slices.Equal(s, []string{"e", "e", "other"}) {
		e.Fatalf("follow-ups may be about another event: got %q", s)
	}
	for _, j := range got {
		if err := same(j.Event, event(j.Event.ID)); err != nil {
			e.Errorf("a follow-up must come with its event unchanged: %v", err)
		}
	}
}

func followDelay(e *env) {
	a, l := e.open(), deliver("lane")
	o := outcome(a.fanout("e"), engine.Done)
	o.Follow = []engine.Job{{Lane: l, Delay: brief}}
	called := time.Now()
	a.works("Done with follow-ups takes effect", o)
	a.soon("a follow-up keeps its delay", called, brief, l)
}

func followLeased(e *env) {
	a, l := e.open(), deliver("lane")
	o := outcome(a.fanout("e"), engine.Done)
	o.Follow = []engine.Job{{Lane: l, Lease: long}, {Lane: deliver("plain")}, {Lane: deliver("other"), Lease: brief}}
	called := time.Now()
	f := a.works("Done with follow-ups takes effect", o)[0].Follow
	if f[0] == "" || f[1] != "" || f[2] == "" {
		e.Fatalf("Settled.Follow must have tickets for leased follow-ups, in order: got %q for leased, not leased, leased", f)
	}
	a.none("a follow-up under a lease is claimed already", l)
	a.works("the ticket of a follow-up works", engine.Outcome{Ticket: f[0], Result: engine.Release})
	a.done(a.one("the ticket of a follow-up is its own job's", l))
	j := a.soon("a follow-up under a lease is due when the lease ends", called, brief, deliver("other"))
	if j.Claims != 2 {
		e.Errorf("the lease of a follow-up must count as a claim: Claims is %d at the next one, want 2", j.Claims)
	}
	a.stale("the ticket of a follow-up is stale when somebody else has claimed the job", engine.Outcome{Ticket: f[2], Result: engine.Done})
}

func followAlreadyThere(e *env) {
	a := e.open()
	waiting, leased, done := deliver("waiting"), deliver("leased"), deliver("done")
	a.push(job("e", waiting), job("e", leased), job("e", done))
	// Only a job that was left as it was comes with this history.
	o := outcome(a.one("a pushed job is due", waiting), engine.Retry)
	o.Attempt, o.History = 2, []byte("two")
	a.works("Retry takes effect", o)
	a.done(a.one("a pushed job is due", done))
	held := a.one("a pushed job is due", leased)

	o = outcome(a.fanout("e"), engine.Done)
	o.Follow = []engine.Job{{Lane: waiting, Lease: long}, {Lane: leased, Lease: long}, {Lane: done, Lease: long}, {Lane: deliver("new"), Lease: long}, {Lane: deliver("new"), Lease: long}}
	f := a.works("Done with follow-ups takes effect though some are already there", o)[0].Follow
	if f[0] != "" || f[1] != "" || f[2] != "" || f[3] == "" || f[4] != "" {
		e.Fatalf("a follow-up that is already there must be left alone: tickets %q for waiting, leased, done, new, again", f)
	}
	if j := a.one("a follow-up that is already there is left as it was", waiting); j.Attempt != 2 || string(j.History) != "two" {
		e.Errorf("a follow-up that is already there must be left as it was: attempt and history became %d, %q", j.Attempt, j.History)
	}
	a.none("a follow-up that is leased is left alone", leased)
	a.done(held)
	a.none("a follow-up that was done within the window is not stored again", done)
}

func followStale(e *env) {
	a, l := e.open(), deliver("lane")
	for _, r := range results {
		j := a.fanout(name(r))
		a.done(j)
		o := outcome(j, r)
		o.Follow = []engine.Job{{Lane: l}, job("other", l), {Lane: l, Lease: brief}}
		a.stale("a ticket is spent after Done", o)
	}
	o := outcome(engine.Claimed{Ticket: "garbage"}, engine.Done)
	o.Follow = []engine.Job{job("other", l)}
	a.stale("a ticket that no claim gave is stale", o)
	stale := time.Now()
	a.none("follow-ups of a stale outcome do not appear", l)
	e.pass(stale, brief)
	a.none("follow-ups of a stale outcome do not appear, leased ones neither", l)
}

func followInvalid(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("neighbour", l))
	neighbour := a.one("a pushed job is due", l)
	j := a.fanout("e")
	for what, bad := range invalidJobs {
		o := outcome(j, engine.Done)
		o.Follow = []engine.Job{{Lane: l}, bad, {Lane: deliver("other")}}
		if _, err := a.Settle(e.ctx, []engine.Outcome{outcome(neighbour, engine.Release), o}); !errors.Is(err, engine.ErrInvalid) {
			e.Errorf("Settle with a follow-up %s must return ErrInvalid: got %v", what, err)
		}
		a.none("a Settle that fails changes nothing", l, deliver("other"))
	}
	a.done(j, neighbour)
}

func followMany(e *env) {
	a := e.open()
	const n = 2000
	o := outcome(a.fanout("e"), engine.Done)
	for i := range n {
		f := engine.Job{Lane: deliver(fmt.Sprintf("https://subscriber%d.example.org/callbacks", i))}
		if i%2 == 1 {
			f.Lease = long
		}
		o.Follow = append(o.Follow, f)
	}
	f := a.works("Done with many follow-ups takes effect", o)[0].Follow
	for i, t := range f {
		if (t != "") != (i%2 == 1) {
			e.Fatalf("Settled.Follow must have a ticket for each leased follow-up, in order: the one at %d is %q", i, t)
		}
	}
	seen := map[string]bool{}
	for {
		js := a.claim(engine.ClaimRequest{}).Jobs
		if len(js) == 0 {
			break
		}
		for _, j := range js {
			seen[j.Lane.Name] = true
		}
	}
	if len(seen) != n/2 {
		e.Fatalf("of %d follow-ups, half of them leased, %d were due, want %d", n, len(seen), n/2)
	}
}
