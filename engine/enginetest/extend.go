package enginetest

import (
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// How a long job notes how far it has come.
var extendChecks = []check{
	{"without_a_History_keeps_it", 0, extendKeeps},
	{"with_a_History_replaces_it", 0, extendReplaces},
	{"with_an_empty_History_clears_it", 0, extendClears},
	{"keeps_every_byte_of_a_History", 0, extendBytes},
	{"notes_for_a_job_pushed_under_a_lease", 0, extendPushed},
	{"notes_what_Release_keeps", 0, extendReleased},
	{"of_a_stale_ticket_notes_nothing", 0, extendStale},
	{"with_follow_ups_notes_both_in_one_step", 0, extendFollow},
	{"by_one_engine_is_seen_by_another", sharing, extendShared},
}

// tried pushes a job, and leaves it due with an attempt and a history.
func (c *client) tried(id string, l engine.Lane) {
	c.e.Helper()
	c.push(job(id, l))
	o := outcome(c.one("a pushed job is due", l), engine.Retry)
	o.Attempt, o.History = 3, []byte("three")
	c.works("Retry takes effect", o)
}

// extend makes the lease of a claim end soon, with a history, and waits for
// whoever claims the job next.
func (c *client) extend(ticket engine.Ticket, history []byte, l engine.Lane) engine.Claimed {
	c.e.Helper()
	o := engine.Outcome{Ticket: ticket, Result: engine.Extend, After: 4 * clockGrain, Attempt: 9, History: history, Reason: "no"}
	called := time.Now()
	c.works("Extend takes effect", o)
	return c.soon("a job is due when its extended lease ends", called, o.After, l)
}

func (c *client) finds(rule string, j engine.Claimed, attempt int, history string) {
	c.e.Helper()
	if j.Attempt != attempt || string(j.History) != history {
		c.e.Fatalf("%s: engine %s claimed it with attempt %d and history %.60q, want %d and %.60q", rule, c.name, j.Attempt, j.History, attempt, history)
	}
}

func extendKeeps(e *env) {
	a, l := e.open(), deliver("lane")
	a.tried("e", l)
	j := a.one("a retried job is due", l)
	j = a.extend(j.Ticket, nil, l)
	a.finds("Extend without a History keeps the job's", j, 3, "three")
	j = a.extend(j.Ticket, []byte("noted"), l)
	j = a.extend(j.Ticket, nil, l)
	a.finds("Extend without a History keeps what one before noted", j, 3, "noted")
}

func extendReplaces(e *env) {
	a, l := e.open(), deliver("lane")
	a.tried("e", l)
	j := a.one("a retried job is due", l)
	for _, note := range []string{"a longer one than before", "short", "three"} {
		j = a.extend(j.Ticket, []byte(note), l)
		a.finds("Extend with a History replaces the job's, and leaves the attempt", j, 3, note)
	}
	// Several in a row, under one lease: the last counts.
	ticket := j.Ticket
	for _, note := range []string{"1", "2", "3"} {
		ticket = a.works("Extend takes effect", engine.Outcome{Ticket: ticket, Result: engine.Extend, After: long, History: []byte(note)})[0].Ticket
	}
	j = a.extend(ticket, nil, l)
	a.finds("of several histories that Extend notes the last counts", j, 3, "3")
	o := outcome(j, engine.Retry)
	o.Attempt, o.History = 4, []byte("four")
	a.works("Retry takes effect", o)
	a.finds("Retry replaces what Extend noted", a.one("a retried job is due", l), 4, "four")
}

func extendClears(e *env) {
	a, l := e.open(), deliver("lane")
	a.tried("e", l)
	j := a.one("a retried job is due", l)
	a.finds("Extend with a History that is empty and not nil clears the job's", a.extend(j.Ticket, []byte{}, l), 3, "")
}

func extendBytes(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	j := a.one("a pushed job is due", l)
	for _, note := range []string{everyByte, "\x00", "0123", "{\"a\": 1e400}"} {
		j = a.extend(j.Ticket, []byte(note), l)
		a.finds("a history that Extend notes comes back unchanged", j, 0, note)
	}
}

func extendPushed(e *env) {
	a, l := e.open(), deliver("lane")
	t := a.push(engine.Job{Event: event("e"), Lane: l, Lease: long})[0]
	j := a.extend(t, []byte("noted"), l)
	a.finds("Extend notes a history for a job pushed under a lease", j, 0, "noted")
	if err := same(j.Event, event("e")); err != nil {
		e.Errorf("Extend must leave the event as it was: %v", err)
	}
}

func extendReleased(e *env) {
	a, l := e.open(), deliver("lane")
	a.tried("e", l)
	for _, after := range []time.Duration{0, 4 * clockGrain} {
		j := a.one("a retried job is due", l)
		note := "noted before " + after.String()
		t := a.works("Extend takes effect", engine.Outcome{Ticket: j.Ticket, Result: engine.Extend, After: long, History: []byte(note)})[0].Ticket
		called := time.Now()
		a.works("Release takes effect", engine.Outcome{Ticket: t, Result: engine.Release, After: after, History: []byte("not for the store")})
		j = a.soon("a released job is due", called, after, l)
		a.finds("Release keeps what Extend noted", j, 3, note)
		a.works("Release takes effect", outcome(j, engine.Release))
	}
}

func extendStale(e *env) {
	a, l := e.open(), deliver("lane")
	a.tried("e", l)
	lost, held := takeover(e, a, a, l)
	for _, t := range []engine.Ticket{lost.Ticket, "garbage"} {
		a.stale("a ticket is stale when somebody else has claimed the job", engine.Outcome{Ticket: t, Result: engine.Extend, After: long, History: []byte("stale")})
	}
	a.works("Release takes effect", outcome(held, engine.Release))
	a.finds("Extend of a stale ticket notes nothing", a.one("a released job is due", l), 3, "three")
}

func extendFollow(e *env) {
	a, l := e.open(), engine.Lane{Kind: engine.FanOut, Name: channel}
	a.push(job("e", l))
	ticket := a.one("a pushed job is due", l).Ticket
	for i, to := range []engine.Lane{deliver("one"), deliver("two"), deliver("three")} {
		note := []byte{'0', byte('1' + i)}
		o := engine.Outcome{Ticket: ticket, Result: engine.Extend, After: long, History: note, Follow: []engine.Job{{Lane: to}, {Lane: to}}}
		ticket = a.works("Extend with follow-ups takes effect", o)[0].Ticket
		f := a.one("a follow-up of Extend appears once", to)
		if err := same(f.Event, event("e")); err != nil {
			e.Errorf("a follow-up of Extend must inherit the event: %v", err)
		}
		a.stale("the ticket from before an Extend is stale", o)
		a.none("a stale Extend has no follow-ups", to)
	}
	// What is invalid stops the note, too.
	bad := engine.Outcome{Ticket: ticket, Result: engine.Extend, After: long, History: []byte("bad"), Follow: []engine.Job{{Lane: deliver("good")}, {Lane: engine.Lane{Kind: engine.Deliver}}}}
	if _, err := a.Settle(e.ctx, []engine.Outcome{bad}); err == nil {
		e.Errorf("Extend with an invalid follow-up must be refused")
	}
	a.none("an Extend that is refused has no follow-ups", deliver("good"))
	a.finds("whoever claims the job next goes on where the last note was", a.extend(ticket, nil, l), 0, "03")
}

func extendShared(e *env) {
	a, b, l := e.open(), e.open(), deliver("lane")
	a.tried("e", l)
	called := time.Now()
	j := a.oneOf("a retried job is due", engine.ClaimRequest{Lease: long})
	a.works("Extend takes effect", engine.Outcome{Ticket: j.Ticket, Result: engine.Extend, After: brief, History: []byte("noted")})
	a.abandon()
	j = b.soon("the job of an engine that died is due when its lease ends", called, brief, l)
	b.finds("what an engine that died had noted is there for the next", j, 3, "noted")
}
