package enginetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Jobs that come from another queue, with what has become of them there.
var pastChecks = []check{
	{"of_a_retry_makes_the_job_wait_with_it", 0, pastRetry},
	{"of_a_dead_job_makes_a_dead_letter", deadLetters, pastDead},
	{"of_a_job_that_is_there_changes_nothing", 0, pastAgain},
	{"is_that_of_one_job_of_an_event", 0, pastShared},
	{"of_a_release_was_no_claim", 0, pastRelease},
	{"counts_from_when_the_job_was_pushed_elsewhere", deadLetters, pastAge},
	{"that_can_not_be_is_refused", 0, pastInvalid},
}

// retried is what has become of a job that failed so many times.
func retried(after time.Duration, attempt int, history string) *engine.Outcome {
	return &engine.Outcome{Result: engine.Retry, After: after, Attempt: attempt, History: []byte(history)}
}

func pastRetry(e *env) {
	a, l := e.open(), deliver("lane")
	called := time.Now()
	a.push(
		engine.Job{Event: event("due"), Lane: l, Past: retried(0, 3, "\x00\xff three")},
		engine.Job{Event: event("soon"), Lane: deliver("soon"), Past: retried(brief, 7, "")},
		// Delay and Lease say nothing, nor do Ticket and Follow.
		engine.Job{Event: event("late"), Lane: l, Delay: 0, Past: retried(long, 1, "")},
		engine.Job{Event: event("now"), Lane: deliver("now"), Delay: long, Past: &engine.Outcome{
			Result: engine.Retry, Attempt: 25, Ticket: "no ticket", Follow: jobs("follows", 1, deliver("followed")),
		}},
	)
	a.none("what a past says of follow-ups is ignored", deliver("followed"))
	j := a.one("a job is due when its past says so", l)
	if err := same(j.Event, event("due")); err != nil {
		e.Errorf("a job with a past must keep its event: %v", err)
	}
	if j.Attempt != 3 || string(j.History) != "\x00\xff three" || j.Claims != 2 {
		e.Errorf("a job must keep attempt and history of its past, which was one claim: got attempt %d, history %q, claims %d", j.Attempt, j.History, j.Claims)
	}
	a.works("the ticket of a job with a past works", outcome(j, engine.Done))
	if j := a.one("the Delay of a job with a past is ignored", deliver("now")); j.Attempt != 25 {
		e.Errorf("a job must keep the attempt of its past: got %d", j.Attempt)
	}
	j = a.soon("a job with a past becomes due", called, brief, deliver("soon"))
	if j.Attempt != 7 {
		e.Errorf("a job must keep the attempt of its past: got %d", j.Attempt)
	}
	a.none("a job is not due before its past says so", l)
}

func pastDead(e *env) {
	a, l := e.open(), engine.Lane{Kind: engine.Handle, Name: "subscription"}
	a.push(
		engine.Job{Event: event("e"), Lane: l, Lease: 0, Past: &engine.Outcome{Result: engine.Bury, Attempt: 26, History: []byte("\x00\xff history"), Reason: "410 Gone: ünïcode 🦉"}},
		job("alive", l),
	)
	if j := a.one("a job that is dead is not due", l); j.Event.ID != "alive" {
		e.Errorf("a job that is dead must not be due: got %s", j.Event.ID)
	}
	d := a.deadN(1, engine.DeadQuery{})[0]
	if err := same(d.Event, event("e")); err != nil {
		e.Errorf("a dead letter must keep its event: %v", err)
	}
	if d.Lane != l || d.Attempt != 26 || string(d.History) != "\x00\xff history" || d.Reason != "410 Gone: ünïcode 🦉" {
		e.Errorf("a dead letter must have what its past says: got %v, %d, %q, %q", d.Lane, d.Attempt, d.History, d.Reason)
	}
	e.buriedNow(d)
	if d.Age < 0 {
		e.Errorf("the age of a dead letter with a past must be the time since the job was pushed: got %v", d.Age)
	}
	a.push(engine.Job{Event: event("e"), Lane: l})
	a.none("a job that is dead is known again", l)
	a.redrive(1, d.ID)
	j := a.one("a dead letter with a past can be redriven", l)
	if j.Attempt != 0 || string(j.History) != "\x00\xff history" || j.Event.ID != "e" {
		e.Errorf("a dead letter that is redriven must be as if never tried, with its history: got %s, %d, %q", j.Event.ID, j.Attempt, j.History)
	}
}

// released is what has become of a job that waited with that.
func released(after time.Duration, attempt int, history string) *engine.Outcome {
	return &engine.Outcome{Result: engine.Release, After: after, Attempt: attempt, History: []byte(history)}
}

func pastRelease(e *env) {
	a, l := e.open(), deliver("lane")
	called := time.Now()
	a.push(
		engine.Job{Event: event("new"), Lane: deliver("new"), Past: released(0, 0, "")},
		engine.Job{Event: event("tried"), Lane: l, Past: released(0, 3, "\x00\xff three")},
		engine.Job{Event: event("soon"), Lane: deliver("soon"), Past: released(brief, 0, "noted")},
		engine.Job{Event: event("late"), Lane: l, Past: released(long, 1, "")},
	)
	for lane, want := range map[engine.Lane]engine.Claimed{deliver("new"): {}, l: {Attempt: 3, History: []byte("\x00\xff three")}} {
		j := a.one("a job is due when its past says so", lane)
		if j.Attempt != want.Attempt || string(j.History) != string(want.History) || j.Claims != 1 {
			e.Errorf("a job whose past is a Release has its attempt and history and was never claimed: got attempt %d, history %q, claims %d", j.Attempt, j.History, j.Claims)
		}
		a.works("the ticket of a job with a past works", outcome(j, engine.Done))
	}
	if j := a.soon("a job with a past becomes due", called, brief, deliver("soon")); j.Attempt != 0 || string(j.History) != "noted" || j.Claims != 1 {
		e.Errorf("a job whose past is a Release has its attempt and history and was never claimed: got attempt %d, history %q, claims %d", j.Attempt, j.History, j.Claims)
	}
	a.none("a job is not due before its past says so", l)
}

func pastAge(e *env) {
	a, l := e.open(), deliver("lane")
	const age = 40 * 24 * time.Hour
	buried := &engine.Outcome{Result: engine.Bury, Attempt: 26, Reason: "dead elsewhere"}
	a.push(
		engine.Job{Event: event("waits"), Lane: l, Past: released(0, 0, ""), Age: age},
		engine.Job{Event: event("tried"), Lane: l, Past: retried(0, 1, "one"), Age: age},
		engine.Job{Event: event("dead"), Lane: l, Past: buried, Age: age},
		engine.Job{Event: event("new"), Lane: deliver("new"), Age: age},
		engine.Job{Event: event("younger"), Lane: deliver("new"), Past: released(0, 0, ""), Age: -age},
	)
	is := func(what string, got, want time.Duration) {
		if got < want || got > want+e.patience+time.Minute {
			e.Errorf("%s must be as old as its Age says: got %v, want %v", what, got, want)
		}
	}
	jobs := a.takeN(2, l)
	for _, j := range jobs {
		is("a job with a past", j.Age, age)
	}
	for _, j := range a.takeN(2, deliver("new")) {
		is("a job without a past, or with an Age that is negative,", j.Age, 0)
	}
	is("a dead letter", a.deadN(1, engine.DeadQuery{})[0].Age, age)
	a.done(jobs...)
	for _, past := range []*engine.Outcome{nil, released(0, 0, ""), buried} {
		for _, id := range []string{"waits", "tried", "dead"} {
			a.push(engine.Job{Event: event(id), Lane: l, Past: past, Age: age})
		}
	}
	a.none("however old a job is that came with a past, it is known again", l)
	a.deadN(1, engine.DeadQuery{})
}

func pastAgain(e *env) {
	a, l := e.open(), deliver("lane")
	buried := &engine.Outcome{Result: engine.Bury, Attempt: 26, Reason: "dead elsewhere"}
	a.push(job("waits", l))
	leased := a.push(engine.Job{Event: event("leased"), Lane: l, Lease: long})[0]
	a.push(engine.Job{Event: event("retried"), Lane: l, Past: retried(0, 2, "two")})
	for range 2 {
		for _, id := range []string{"waits", "leased", "retried"} {
			a.push(engine.Job{Event: event(id), Lane: l, Past: buried}, engine.Job{Event: event(id), Lane: l, Past: retried(0, 9, "nine")})
		}
	}
	if !e.h.NoDeadLetters {
		a.deadN(0, engine.DeadQuery{})
	}
	for _, j := range a.takeN(2, l) {
		if want := map[string]int{"waits": 0, "retried": 2}[j.Event.ID]; j.Attempt != want {
			e.Errorf("a job that is there must stay as it is: %s has the attempt %d, want %d", j.Event.ID, j.Attempt, want)
		}
	}
	a.works("the ticket of a job that is pushed again with a past works", engine.Outcome{Ticket: leased, Result: engine.Done})
	a.push(engine.Job{Event: event("leased"), Lane: l, Past: retried(0, 1, "")})
	a.none("a job that is done is known again", l)
}

func pastShared(e *env) {
	a := e.open()
	ev := event("e")
	tickets := a.push(
		engine.Job{Event: ev, Lane: deliver("plain")},
		engine.Job{Event: ev, Lane: deliver("dead"), Past: &engine.Outcome{Result: engine.Bury, Reason: "reason"}},
		engine.Job{Event: ev, Lane: deliver("leased"), Lease: long},
		engine.Job{Event: ev, Lane: deliver("retried"), Past: retried(0, 4, "four")},
		engine.Job{Event: event("other"), Lane: deliver("dead"), Past: &engine.Outcome{Result: engine.Bury, Reason: "reason"}},
	)
	if tickets[2] == "" || tickets[3] != "" {
		e.Errorf("Push must return a ticket for the job that was pushed under a lease, and no other: got %q", tickets)
	}
	a.none("a dead job is not due", deliver("dead"))
	a.works("the ticket of a job beside others with a past works", engine.Outcome{Ticket: tickets[2], Result: engine.Done})
	a.done(a.one("a job without a past is due", deliver("plain")))
	j := a.one("a job with a past is due", deliver("retried"))
	if err := same(j.Event, ev); err != nil || j.Attempt != 4 {
		e.Errorf("an event must be there while any job needs it: attempt %d, %v", j.Attempt, err)
	}
	a.done(j)
	if e.h.NoDeadLetters {
		return
	}
	for _, d := range a.deadN(2, engine.DeadQuery{}) {
		if err := same(d.Event, event(d.Event.ID)); err != nil {
			e.Errorf("a dead letter must keep its event: %v", err)
		}
	}
}

func pastInvalid(e *env) {
	a, l := e.open(), deliver("lane")
	for what, past := range map[string]engine.Outcome{
		"of no result":          {},
		"that is Done":          {Result: engine.Done},
		"that is Extend":        {Result: engine.Extend, After: long},
		"of a result unknown":   {Result: 77},
		"of negative attempts":  {Result: engine.Retry, Attempt: -1},
		"of negative attempts,": {Result: engine.Bury, Attempt: -1},
	} {
		_, err := a.Push(e.ctx, engine.PushRequest{Jobs: []engine.Job{job("good", l), {Event: event("bad"), Lane: l, Past: &past}}})
		e.refused(fmt.Sprintf("Push of a job with a past %s", what), err)
		a.untouched("Push that is refused")
	}
	a.push(job("e", l))
	j := a.one("a pushed job is due", l)
	o := outcome(j, engine.Done)
	o.Follow = []engine.Job{{Lane: deliver("followed"), Past: retried(0, 1, "")}}
	if _, err := a.Settle(e.ctx, []engine.Outcome{o}); !errors.Is(err, engine.ErrInvalid) {
		e.Errorf("Settle with a follow-up that has a past must return ErrInvalid: got %v", err)
	}
	a.works("the ticket of a Settle that was refused works", outcome(j, engine.Done))
}
