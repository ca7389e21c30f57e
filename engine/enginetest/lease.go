package enginetest

import (
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var leaseChecks = []check{
	{"keeps_others_away_until_it_ends", 0, leaseEnds},
	{"that_ended_does_not_matter_before_a_takeover", 0, leaseLate},
	{"taken_over_makes_the_old_ticket_stale", 0, leaseTakeover},
	{"taken_over_and_settled_makes_the_old_ticket_stale", 0, leaseTakenAndSettled},
	{"taken_over_elsewhere_makes_the_old_ticket_stale", sharing, leaseTakeoverElsewhere},
	{"extended_keeps_others_away", 0, leaseExtend},
	{"extended_makes_the_old_ticket_stale", 0, leaseExtendTicket},
	{"extended_may_end_earlier", 0, leaseExtendShorter},
	{"is_had_by_one_of_many", 0, leaseRace},
}

func leaseEnds(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	for i := range 2 {
		called := time.Now()
		j := a.oneOf("a job is due", engine.ClaimRequest{Lease: brief})
		if j.Claims != 2*i+1 {
			e.Errorf("Claims must count a claim whose lease ended: got %d, want %d", j.Claims, 2*i+1)
		}
		j = a.soon("a job is due again when its lease ends", called, brief, l)
		if err := same(j.Event, event("e")); err != nil {
			e.Errorf("a job must survive the end of a lease unchanged: %v", err)
		}
		a.works("Retry takes effect", outcome(j, engine.Retry))
	}
}

// A ticket is stale when somebody else has the job, not when the lease ends:
// work that took a little long counts.
func leaseLate(e *env) {
	a := e.open()
	for _, r := range results {
		l := deliver(name(r))
		a.push(job("e", l))
	}
	js := a.claim(engine.ClaimRequest{Lease: 4 * clockGrain}).Jobs
	if len(js) != len(results) {
		e.Fatalf("Claim must hand out every due job: got %s", list(js))
	}
	e.pass(time.Now(), 4*clockGrain)
	for _, j := range js {
		for _, r := range results {
			if j.Lane.Name == name(r) {
				o := outcome(j, r)
				o.After = long
				a.works("an outcome takes effect after the lease ended, as long as nobody else claimed the job", o)
			}
		}
	}
	a.none("outcomes that come after the end of a lease take effect", deliver("Done"), deliver("Retry"), deliver("Bury"), deliver("Release"), deliver("Extend"))
}

// takeover claims a job under a short lease, and again when it has ended.
func takeover(e *env, first, second *client, l engine.Lane) (lost, held engine.Claimed) {
	e.Helper()
	req := in(l)
	req.Lease = 4 * clockGrain
	called := time.Now()
	lost = first.oneOf("a pushed job is due", req)
	held = second.soon("a job is due again when its lease ends", called, req.Lease, l)
	if lost.Ticket == held.Ticket {
		e.Fatalf("each claim must have a ticket of its own: %q came twice", lost.Ticket)
	}
	return lost, held
}

func leaseTakeover(e *env) { staleAfterTakeover(e, e.open(), nil) }

func leaseTakeoverElsewhere(e *env) { staleAfterTakeover(e, e.open(), e.open()) }

func staleAfterTakeover(e *env, a, b *client) {
	e.Helper()
	if b == nil {
		b = a
	}
	for _, r := range results {
		l := deliver(name(r))
		a.push(job("e", l))
		lost, held := takeover(e, a, b, l)
		o := outcome(lost, r)
		o.Attempt, o.History, o.Reason = 9, []byte("stale"), "stale"
		o.Follow = []engine.Job{job("followed", l)}
		a.stale("a ticket is stale when somebody else has claimed the job", o)
		b.none("a stale ticket changes nothing, and nothing follows", l)
		b.works("a stale ticket leaves the claim of the one who has the job", engine.Outcome{Ticket: held.Ticket, Result: engine.Release})
		j := a.one("a stale ticket changes nothing", l)
		if j.Attempt != 0 || len(j.History) != 0 {
			e.Fatalf("a stale %s must change nothing: attempt and history are %d, %q", name(r), j.Attempt, j.History)
		}
		a.done(j)
	}
}

func leaseTakenAndSettled(e *env) {
	a := e.open()
	for _, first := range results {
		l := deliver(name(first))
		a.push(job("e", l))
		lost, held := takeover(e, a, a, l)
		o := outcome(held, first)
		o.After = long
		a.works("the one who took a job over can settle it", o)
		for _, r := range results {
			a.stale("a ticket stays stale after the one who took over settled", outcome(lost, r))
		}
		a.none("a stale ticket changes nothing", l)
	}
}

func leaseExtend(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	called := time.Now()
	j := a.oneOf("a pushed job is due", engine.ClaimRequest{Lease: brief})
	ticket := j.Ticket
	for range 3 {
		time.Sleep(brief / 4)
		called = time.Now()
		ticket = a.works("Extend takes effect", engine.Outcome{Ticket: ticket, Result: engine.Extend, After: 2 * brief, Attempt: 9})[0].Ticket
	}
	j = a.soon("Extend makes the lease end After from now", called, 2*brief, l)
	if j.Attempt != 0 || len(j.History) != 0 {
		e.Errorf("Extend without a History must leave attempt and history as they were: got %d, %q", j.Attempt, j.History)
	}
	a.stale("the ticket of an extended lease is stale when somebody else has claimed the job", engine.Outcome{Ticket: ticket, Result: engine.Done})
	a.done(j)
}

func leaseExtendTicket(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	old := a.one("a pushed job is due", l)
	s := a.works("Extend takes effect", engine.Outcome{Ticket: old.Ticket, Result: engine.Extend, After: long})
	for _, r := range results {
		a.stale("the ticket from before an Extend is stale", outcome(old, r))
	}
	a.works("the ticket that Extend gave works", engine.Outcome{Ticket: s[0].Ticket, Result: engine.Done})
	a.none("the ticket that Extend gave works", l)
}

func leaseExtendShorter(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	j := a.one("a pushed job is due", l)
	called := time.Now()
	a.works("Extend takes effect", engine.Outcome{Ticket: j.Ticket, Result: engine.Extend, After: brief})
	a.soon("Extend makes the lease end After from now, though it would have lasted longer", called, brief, l)
}

func leaseRace(e *env) {
	clients := []*client{e.open()}
	if !e.h.NotShared {
		clients = append(clients, e.open())
	}
	const n, claimers = 300, 6
	clients[0].push(jobs("e", n, deliver("a"))...)
	clients[0].push(jobs("e", n, deliver("b"))...)
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := map[string]int{}
	for i := range claimers {
		wg.Go(func() {
			for range 2 * n { // more than enough, and an end if leases count for nothing
				req := engine.ClaimRequest{Kind: engine.Deliver, Max: 7 + i, MaxPerLane: 100, Lease: long}
				res, err := clients[i%len(clients)].Claim(e.ctx, req)
				if err == nil {
					err = allowed(req, res)
				}
				if err != nil {
					e.Errorf("Claim by several at once: %v", err)
					return
				}
				if len(res.Jobs) == 0 {
					return
				}
				mu.Lock()
				for _, j := range res.Jobs {
					got[j.Event.ID+"@"+j.Lane.Name]++
				}
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	for key, times := range got {
		if times > 1 {
			e.Fatalf("a leased job must be nobody else's: %s was claimed %d times", key, times)
		}
	}
	if len(got) != 2*n {
		e.Fatalf("Claim must hand out every due job: got %d of %d", len(got), 2*n)
	}
}
