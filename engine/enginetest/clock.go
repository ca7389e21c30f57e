package enginetest

import (
	"fmt"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// The store's clock runs evenly when somebody sets the clocks of machines: see
// package engine. In each check all engines have made a call before the wall
// clock jumps, and so can tell that it did.
var clockChecks = []check{
	{"set_back_lets_what_waits_be_claimed_in_time", jumps, clockBackWaits},
	{"set_back_lets_leases_end_in_time", jumps, clockBackLeases},
	{"set_back_lets_deferrals_end_in_time", jumps, clockBackDeferrals},
	{"set_back_lets_the_dedupe_window_pass_in_time", jumps, clockBackDedupe},
	{"set_back_lets_dead_letters_go_in_time", jumps | deadLetters, clockBackDead},
	{"set_back_lets_registrations_end_in_time", jumps, clockBackRegistrations},
	{"set_back_lets_attributes_end_in_time", jumps | attributes, clockBackAttributes},
	{"set_back_lets_memory_end_in_time", jumps | memory, clockBackMemory},
	{"set_forward_ends_no_lease", jumps, clockForwardLeases},
	{"set_forward_lets_what_waits_wait", jumps, clockForwardWaits},
	{"set_forward_keeps_deferrals", jumps, clockForwardDeferrals},
	{"set_forward_keeps_what_was_done", jumps, clockForwardDedupe},
	{"set_forward_keeps_dead_letters", jumps | deadLetters, clockForwardDead},
	{"set_forward_keeps_registrations", jumps, clockForwardRegistrations},
	{"set_forward_keeps_attributes", jumps | attributes, clockForwardAttributes},
	{"set_forward_keeps_memory", jumps | memory, clockForwardMemory},
	{"set_forward_ages_nothing", jumps, clockForwardAges},
	{"set_is_heeded_once_by_several_engines", jumps | sharing, clockOnce},
	{"set_is_known_to_an_engine_opened_later", jumps | sharing, clockLater},
	{"set_to_and_fro_is_heeded_each_time", jumps, clockToAndFro},
}

// jump is how far wall time is set: further than everything of long lasts, and
// than twice the dedupe window.
const jump = 5 * time.Hour

// jump sets wall time, after a call of each engine.
func (e *env) jump(d time.Duration, clients ...*client) {
	e.Helper()
	e.jumped = true
	for _, c := range clients {
		e.asks(c.touch)
	}
	e.h.Jump(clients[0].Engine, d)
}

// touch makes a call that reads and writes, and changes nothing.
func (c *client) touch() {
	c.e.Helper()
	c.lift(engine.Lane{Kind: engine.FanOut, Name: "nobody's"})
	c.claim(engine.ClaimRequest{Kind: engine.FanOut})
}

// two are engines on a store: the second is another where there can be two.
func (e *env) two() (a, b *client) {
	e.Helper()
	a = e.open()
	if e.h.NotShared {
		return a, a
	}
	return a, e.open()
}

func clockBackWaits(e *env) {
	a, b := e.two()
	delayed, retried, released, waiting := deliver("delayed"), deliver("retried"), deliver("released"), deliver("waiting")
	a.push(job("e", waiting), job("e", retried), job("e", released))
	r, l := outcome(a.one("a pushed job is due", retried), engine.Retry), outcome(a.one("a pushed job is due", released), engine.Release)
	r.After, l.After = 2*brief, 2*brief
	called := time.Now()
	a.push(engine.Job{Event: event("e"), Lane: delayed, Delay: 2 * brief})
	a.works("outcomes take effect", r, l)
	e.jump(-jump, a, b)
	b.one("a job that was due before wall time was set back is due", waiting)
	res := a.claim(engine.ClaimRequest{})
	if len(res.Jobs) < 3 && (res.Next < 0 || res.Next > 2*brief+clockGrain) {
		e.Errorf("Next must not be late when wall time was set back: got %v, want up to %v", res.Next, 2*brief)
	}
	if len(res.Jobs) > 0 && time.Since(called) < 2*brief-clockGrain {
		e.Errorf("nothing must be due too early when wall time was set back: claimed %s", list(res.Jobs))
	}
	got := len(res.Jobs)
	e.eventually("what waits is due in time when wall time was set back", func() bool {
		got += len(b.take(delayed, retried, released))
		return got == 3
	})
	a.push(job("new", waiting))
	b.one("a job that is pushed when wall time was set back is due at once", waiting)
	called = time.Now()
	b.push(engine.Job{Event: event("later"), Lane: waiting, Delay: brief})
	a.soon("a job that is delayed when wall time was set back is due in time", called, brief, waiting)
}

func clockBackLeases(e *env) {
	a, b := e.two()
	claimed, pushed, extended := deliver("claimed"), deliver("pushed"), deliver("extended")
	a.push(job("e", claimed), job("e", extended))
	called := time.Now()
	a.oneOf("a pushed job is due", engine.ClaimRequest{Only: []string{"claimed"}, Lease: 2 * brief})
	j := a.one("a pushed job is due", extended)
	a.push(engine.Job{Event: event("e"), Lane: pushed, Lease: 2 * brief})
	a.works("Extend takes effect", engine.Outcome{Ticket: j.Ticket, Result: engine.Extend, After: 2 * brief})
	e.jump(-jump, a, b)
	for _, l := range []engine.Lane{claimed, pushed, extended} {
		b.soon("a lease ends in time when wall time was set back", called, 2*brief, l)
	}
	b.push(job("new", claimed))
	called = time.Now()
	b.oneOf("a job that is pushed when wall time was set back is due", engine.ClaimRequest{Only: []string{"claimed"}, Lease: brief})
	a.soon("a lease that is given when wall time was set back ends in time", called, brief, claimed)
}

func clockBackDeferrals(e *env) {
	a, b := e.two()
	l := deliver("lane")
	a.push(job("e", l))
	called := time.Now()
	a.deferFor(l, 2*brief)
	e.jump(-jump, a, b)
	b.soon("a deferral ends in time when wall time was set back", called, 2*brief, l)
	b.push(job("new", l))
	called = time.Now()
	b.deferFor(l, brief)
	a.soon("a deferral made when wall time was set back ends in time", called, brief, l)
}

func clockBackDedupe(e *env) {
	const window = time.Second
	a, l := e.openWith(engine.Retention{Dedupe: window}), deliver("lane")
	called := time.Now()
	a.push(job("e", l))
	a.done(a.one("a pushed job is due", l))
	e.jump(-jump, a)
	e.eventually("what was done is forgotten in time when wall time was set back", func() bool { return a.pushed(event("e"), l) })
	if early := window - time.Since(called); early > e.grain() {
		e.Errorf("what was done must be remembered for the window when wall time was set back: forgotten %v too early, of %v", early, window)
	}
}

func clockBackDead(e *env) {
	const age = time.Second
	a := e.openWith(engine.Retention{DeadAge: age})
	a.bury(event("e"), deliver("lane"), "reason")
	e.jump(-jump, a)
	a.bury(event("new"), deliver("lane"), "reason")
	if got := eventIDs(a.dead(engine.DeadQuery{})); len(got) > 0 && got[0] != "new" {
		e.Errorf("Dead must list the most recently buried first when wall time was set back: got %q", got)
	}
	e.eventually("dead letters are kept for DeadAge when wall time was set back", func() bool { return len(a.dead(engine.DeadQuery{})) == 0 })
}

func clockBackRegistrations(e *env) {
	a, b := e.two()
	called := time.Now()
	a.addFor(channel, url1, 2*brief, true)
	e.jump(-jump, a, b)
	b.lapses("a registration ends in time when wall time was set back", called, 2*brief, channel, url1)
	called = time.Now()
	b.addFor(channel, url2, brief, true)
	a.lapses("a registration made when wall time was set back ends in time", called, brief, channel, url2)
	a.addFor(channel, url2, 0, true)
	e.pass(time.Now(), brief)
	b.removeOlder("a registration made when wall time was set back grows older", channel, url2, brief, true)
}

func clockBackAttributes(e *env) {
	a := e.openAttributes()
	called := time.Now()
	a.swapFor("group", "name", "", "value", 2*brief, true)
	a.swapFor("group", "stays", "", "value", 0, true)
	e.jump(-jump, a.client)
	a.vanishes("an attribute is gone in time when wall time was set back", called, 2*brief, "group", "name")
	for way, got := range a.both("group", "stays") {
		if low, high := 2*brief-2*clockGrain, time.Since(called)+clockGrain; got.Age < low || got.Age > high {
			e.Errorf("the age of an attribute must be right when wall time was set back: %s tells %v, want %v to %v", way, got.Age, low, high)
		}
	}
	called = time.Now()
	a.swapFor("group", "new", "", "value", brief, true)
	a.vanishes("an attribute set when wall time was set back is gone in time", called, brief, "group", "new")
}

func clockBackMemory(e *env) {
	m := e.openMemory()
	m.remember("what is new is kept", "key", "first", 2*brief, "first")
	e.jump(-jump, m.client)
	e.eventually("what is remembered is forgotten in time when wall time was set back", func() bool {
		got, err := m.Remember(e.ctx, "key", []byte("second"), long)
		if err != nil {
			e.Fatalf("Remember: %v", err)
		}
		return string(got) == "second"
	})
}

func clockForwardLeases(e *env) {
	a, b := e.two()
	claimed, pushed, followed, extended := deliver("claimed"), deliver("pushed"), deliver("followed"), deliver("extended")
	a.push(job("e", claimed), job("e", extended))
	tickets := []engine.Ticket{a.one("a pushed job is due", claimed).Ticket}
	j := a.one("a pushed job is due", extended)
	tickets = append(tickets, a.push(engine.Job{Event: event("e"), Lane: pushed, Lease: long})[0])
	o := outcome(a.fanout("e"), engine.Done)
	o.Follow = []engine.Job{{Lane: followed, Lease: long}}
	s := a.works("outcomes take effect", o, engine.Outcome{Ticket: j.Ticket, Result: engine.Extend, After: long})
	tickets = append(tickets, s[0].Follow[0], s[1].Ticket)
	e.jump(jump, a, b)
	for range 2 {
		b.none("no lease ends early when wall time was set forward", claimed, pushed, followed, extended)
		a.none("no lease ends early when wall time was set forward", claimed, pushed, followed, extended)
		time.Sleep(brief)
	}
	for _, t := range tickets {
		b.works("a ticket works when wall time was set forward", engine.Outcome{Ticket: t, Result: engine.Done})
	}
	// Of new ones, too.
	a.push(job("new", claimed))
	b.one("a job that is pushed when wall time was set forward is due", claimed)
	a.none("a lease that is given when wall time was set forward does not end early", claimed)
}

func clockForwardWaits(e *env) {
	a, b := e.two()
	delayed, retried := deliver("delayed"), deliver("retried")
	a.push(engine.Job{Event: event("e"), Lane: delayed, Delay: long}, job("e", retried))
	o := outcome(a.one("a pushed job is due", retried), engine.Retry)
	o.After = long
	a.works("Retry takes effect", o)
	called := time.Now()
	a.push(engine.Job{Event: event("soon"), Lane: deliver("soon"), Delay: 2 * brief})
	e.jump(jump, a, b)
	b.none("what waits is not due early when wall time was set forward", delayed, retried)
	a.none("what waits is not due early when wall time was set forward", delayed, retried)
	b.soon("what waits is due in time when wall time was set forward", called, 2*brief, deliver("soon"))
	b.none("what waits is not due early when wall time was set forward", delayed, retried)
}

func clockForwardDeferrals(e *env) {
	a, b := e.two()
	l := deliver("lane")
	a.push(job("e", l))
	a.deferFor(l, long)
	e.jump(jump, a, b)
	b.none("a deferral holds when wall time was set forward", l)
	a.none("a deferral holds when wall time was set forward", l)
	b.lift(l)
	a.one("a deferral can be lifted when wall time was set forward", l)
}

func clockForwardDedupe(e *env) {
	a, b := e.two()
	l := deliver("lane")
	a.push(job("e", l))
	a.done(a.one("a pushed job is due", l))
	e.jump(jump, a, b)
	b.again("what was done is remembered when wall time was set forward", event("e"), l)
	a.again("what was done is remembered when wall time was set forward", event("e"), l)
	// An engine may forget what is old in the course of other work.
	for i := range 20 {
		a.push(job(fmt.Sprint(i), l))
		b.done(b.take(l)...)
	}
	a.again("what was done is remembered when wall time was set forward", event("e"), l)
}

func clockForwardDead(e *env) {
	a := e.openWith(engine.Retention{DeadAge: 2 * time.Hour})
	a.bury(event("1"), deliver("lane"), "reason")
	e.jump(jump, a)
	a.deadN(1, engine.DeadQuery{})
	a.bury(event("2"), deliver("lane"), "reason")
	for _, d := range a.deadN(2, engine.DeadQuery{}) {
		if d.Age > e.patience*4 {
			e.Errorf("a dead letter must not be older when wall time was set forward: its age is %v", d.Age)
		}
	}
}

func clockForwardRegistrations(e *env) {
	a, b := e.two()
	a.addFor(channel, url1, long, true)
	a.addFor(channel, url2, 0, true)
	e.jump(jump, a, b)
	b.stays("a registration does not end early when wall time was set forward", channel, url1)
	a.stays("a registration does not end early when wall time was set forward", channel, url1)
	b.removeOlder("a registration is not older when wall time was set forward", channel, url1, long, false)
	a.removeOlder("a registration is not older when wall time was set forward", channel, url2, long, false)
	a.has("a registration is as it was when wall time was set forward", channel, url1, url2)
}

func clockForwardAttributes(e *env) {
	a := e.openAttributes()
	a.swapFor("group", "name", "", "value", long, true)
	a.swapFor("group", "stays", "", "value", 0, true)
	e.jump(jump, a.client)
	a.holds("an attribute is not gone early when wall time was set forward", "group", "name", "value", "stays", "value")
	for _, name := range []string{"name", "stays"} {
		for way, got := range a.both("group", name) {
			if got.Age > e.patience*4 {
				e.Errorf("an attribute must not be older when wall time was set forward: to %s its age is %v", way, got.Age)
			}
		}
	}
	if got := a.get("group", "name"); got.Left < long-e.patience*4 {
		e.Errorf("an attribute must be kept as long when wall time was set forward: %v are left", got.Left)
	}
	a.swap("group", "name", "value", "other", true)
}

func clockForwardMemory(e *env) {
	m := e.openMemory()
	m.remember("what is new is kept", "key", "first", long, "first")
	e.jump(jump, m.client)
	m.remember("what is remembered is not forgotten early when wall time was set forward", "key", "second", long, "first")
}

func clockForwardAges(e *env) {
	a, b := e.two()
	l := deliver("lane")
	called := time.Now()
	a.push(job("e", l))
	e.jump(jump, a, b)
	j := b.one("a pushed job is due", l)
	if high := time.Since(called) + clockGrain; j.Age > high || j.Age < 0 {
		e.Errorf("a job must not be older when wall time was set forward: its age is %v, want up to %v", j.Age, high)
	}
	if e.h.NoInspector {
		return
	}
	if s := a.lane(l); s.Oldest > time.Since(called)+clockGrain || s.Leased != 1 {
		e.Errorf("a lane must be as it was when wall time was set forward: its oldest job is %v old, %s", s.Oldest, counts(s))
	}
}

// If each engine took a jump up on its own, the clock would be off by as much
// the other way.
func clockOnce(e *env) {
	for i, d := range []time.Duration{jump, -jump} {
		a, b, c := e.open(), e.open(), e.open()
		l := deliver(fmt.Sprint("lane", i))
		held := deliver(fmt.Sprint("held", i))
		a.push(job("e", held))
		b.one("a pushed job is due", held)
		called := time.Now()
		a.push(engine.Job{Event: event("waits"), Lane: l, Delay: 4 * brief})
		e.jump(d, a, b, c)
		for range 2 {
			for _, k := range []*client{a, b, c} {
				k.touch()
			}
		}
		c.none("no lease ends early when wall time was set, whoever noticed", held)
		b.soon("what waits is due in time when wall time was set, whoever noticed", called, 4*brief, l)
		called = time.Now()
		c.push(engine.Job{Event: event("new"), Lane: l, Delay: brief})
		a.soon("what is delayed when wall time was set is due in time, whoever noticed", called, brief, l)
		a.none("no lease ends early when wall time was set, whoever noticed", held)
	}
}

// An engine that is opened when wall time has been set has nothing to compare
// it with. It relies on what others put down in the store.
func clockLater(e *env) {
	for i, d := range []time.Duration{jump, -jump} {
		a := e.open()
		l, held := deliver(fmt.Sprint("lane", i)), deliver(fmt.Sprint("held", i))
		a.push(job("e", held))
		a.one("a pushed job is due", held)
		called := time.Now()
		a.push(engine.Job{Event: event("waits"), Lane: l, Delay: 2 * brief})
		e.jump(d, a)
		a.touch()
		b := e.open()
		b.none("no lease ends early for an engine opened when wall time had been set", held)
		b.soon("what waits is due in time for an engine opened when wall time had been set", called, 2*brief, l)
		a.close()
		c := e.open()
		c.none("no lease ends early for an engine opened when wall time had been set", held)
		b.close()
	}
}

func clockToAndFro(e *env) {
	a, b := e.two()
	l, held := deliver("lane"), deliver("held")
	a.push(job("e", held))
	a.one("a pushed job is due", held)
	for i, d := range []time.Duration{jump, -jump, -jump, jump, jump, -2 * jump} {
		called := time.Now()
		a.push(engine.Job{Event: event(fmt.Sprint(i)), Lane: l, Delay: brief})
		e.jump(d, a, b)
		if i%2 == 0 {
			a.none("no lease ends early however often wall time is set", held)
		}
		b.none("no lease ends early however often wall time is set", held)
		a.soon("what waits is due in time however often wall time is set", called, brief, l)
	}
}
