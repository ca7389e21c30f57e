package enginetest

import (
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var retentionChecks = []check{
	{"is_the_default_where_nobody_said_otherwise", retainer, retentionDefault},
	{"is_what_an_app_that_runs_was_given", retainer, retentionGiven},
	{"is_changed_field_by_field", retainer, retentionFields},
	{"is_not_changed_by_looking", retainer, retentionLooking},
	{"stays_when_all_engines_are_closed", retainer, retentionStays},
	{"is_known_to_every_engine", retainer | sharing, retentionShared},
	{"decides_how_long_every_engine_remembers_what_is_done", sharing, retentionDedupe},
	{"decides_how_long_every_engine_keeps_dead_letters", sharing | deadLetters, retentionDead},
}

// runs does what an app that runs does: it claims, if only to find nothing.
func (c *client) runs() {
	c.e.Helper()
	c.claim(engine.ClaimRequest{Only: []string{"a lane that is not there"}})
}

// keeps checks what is in force.
func (c *client) keeps(rule string, want engine.Retention) {
	c.e.Helper()
	r, ok := c.Engine.(engine.Retainer)
	if !ok {
		c.e.Fatalf("the engine must implement engine.Retainer, or the harness say that it does not")
	}
	got, err := r.Retention(c.e.ctx)
	if err != nil {
		c.e.Fatalf("engine %s: Retention: %v", c.name, err)
	}
	if got != want {
		c.e.Fatalf("%s: engine %s says %+v, want %+v", rule, c.name, got, want)
	}
}

var (
	noRetention       = engine.Retention{}
	defaultRetention  = engine.Retention{Dedupe: time.Hour, DeadAge: 180 * 24 * time.Hour, DeadMax: 10_000}
	unusualRetention  = engine.Retention{Dedupe: 24 * time.Hour, DeadAge: 1000 * 24 * time.Hour, DeadMax: 77}
	brieflyRemembered = engine.Retention{Dedupe: 100 * time.Millisecond, DeadAge: 100 * time.Millisecond, DeadMax: 1}
)

func retentionDefault(e *env) {
	const rule = "a store without a retention of its own has the defaults"
	a := e.open()
	a.keeps(rule, defaultRetention)
	a.runs()
	a.keeps(rule, defaultRetention)
}

func retentionGiven(e *env) {
	a := e.openAndLook(unusualRetention)
	a.runs()
	a.keeps("what an engine was opened with is written with its first Claim", unusualRetention)
}

func retentionFields(e *env) {
	const rule = "fields that are zero leave what the store has"
	e.openWith(engine.Retention{Dedupe: unusualRetention.Dedupe}).close()
	want := defaultRetention
	want.Dedupe = unusualRetention.Dedupe
	a := e.open()
	a.keeps(rule, want)
	a.close()
	e.openWith(engine.Retention{DeadMax: 5}).close()
	want.DeadMax = 5
	b := e.openWith(engine.Retention{DeadAge: unusualRetention.DeadAge})
	want.DeadAge = unusualRetention.DeadAge
	b.keeps(rule, want)
}

func retentionLooking(e *env) {
	const rule = "an engine that claims nothing changes no retention"
	e.openWith(unusualRetention).close()
	a := e.openAndLook(brieflyRemembered)
	a.keeps(rule, unusualRetention)
	t := a.push(engine.Job{Event: event("e"), Lane: deliver("lane"), Lease: long})[0]
	a.works("a job that was pushed under a lease can be settled", engine.Outcome{Ticket: t, Result: engine.Done})
	a.subscribers(channel)
	a.keeps(rule, unusualRetention)
	a.close()
	e.open().keeps(rule, unusualRetention)
}

func retentionStays(e *env) {
	const rule = "the retention stays until somebody gives another"
	e.openWith(unusualRetention).close()
	for range 2 {
		a := e.open()
		a.keeps(rule, unusualRetention)
		a.runs()
		a.keeps(rule, unusualRetention)
		a.close()
	}
}

func retentionShared(e *env) {
	const rule = "what one engine has written is in force for all"
	a, b := e.open(), e.openAndLook(unusualRetention)
	a.runs()
	b.runs()
	a.keeps(rule, unusualRetention)
	c := e.openWith(engine.Retention{DeadMax: 5})
	want := unusualRetention
	want.DeadMax = 5
	for _, x := range []*client{a, b, c} {
		x.runs()
		x.keeps(rule, want)
	}
}

// retentionDedupe has an engine without values of its own, or with others that
// it never wrote, work beside one that has some.
func retentionDedupe(e *env) {
	l := deliver("lane")
	a := e.openWith(engine.Retention{Dedupe: long})
	a.push(job("e", l))
	a.done(a.one("a pushed job is due", l))
	called := time.Now()
	for _, r := range []engine.Retention{noRetention, {Dedupe: 50 * time.Millisecond}} {
		b := e.openAndLook(r)
		e.pass(called, 4*50*time.Millisecond)
		for range 3 {
			b.again("what was done is remembered for as long as the store has it", event("e"), l)
		}
		b.close()
	}
	a.again("what was done is remembered for as long as the store has it", event("e"), l)

	// An engine that was there before goes by what the store has now.
	e.openWith(engine.Retention{Dedupe: 100 * time.Millisecond})
	e.eventually("what was done is forgotten when the window that another engine has written has passed", func() bool {
		return a.pushed(event("e"), l)
	})
}

func retentionDead(e *env) {
	l := deliver("lane")
	a := e.openWith(engine.Retention{DeadAge: long, DeadMax: 3})
	for _, id := range []string{"1", "2", "3"} {
		a.bury(event(id), l, "reason")
		e.tick()
	}
	b := e.openAndLook(brieflyRemembered)
	e.pass(time.Now(), 2*brieflyRemembered.DeadAge)
	b.deadN(3, engine.DeadQuery{})
	t := b.push(engine.Job{Event: event("done"), Lane: l, Lease: long})[0]
	b.works("a job that was pushed under a lease can be settled", engine.Outcome{Ticket: t, Result: engine.Done})
	b.deadN(3, engine.DeadQuery{})
	b.close()
	a.deadN(3, engine.DeadQuery{})

	c := e.open()
	c.bury(event("4"), l, "reason")
	e.eventually("as many dead letters are kept as another engine has written", func() bool {
		return len(c.dead(engine.DeadQuery{})) == 3
	})
	e.openWith(engine.Retention{DeadAge: brieflyRemembered.DeadAge})
	e.eventually("dead letters are kept for as long as another engine has written", func() bool {
		return len(c.dead(engine.DeadQuery{})) == 0
	})
}
