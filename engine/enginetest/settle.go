package enginetest

import (
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var settleChecks = []check{
	{"of_nothing_is_fine", 0, settleNothing},
	{"Done_removes_the_job", 0, settleDone},
	{"Retry_makes_the_job_due_later", 0, settleRetry},
	{"Release_gives_the_job_back_unchanged", 0, settleRelease},
	{"Bury_takes_the_job_out_of_its_lane", 0, settleBury},
	{"of_an_unknown_result_changes_nothing", 0, settleUnknownResult},
	{"twice_changes_nothing", 0, settleTwice},
	{"twice_in_one_call_changes_nothing", 0, settleTwiceInOneCall},
	{"of_a_garbage_ticket_changes_nothing", 0, settleGarbage},
	{"of_good_tickets_works_beside_stale_ones", 0, settleIndependent},
	{"works_through_another_engine", sharing, settleElsewhere},
	{"keeps_the_bytes_of_a_history", 0, settleHistory},
}

func settleNothing(e *env) {
	a := e.open()
	a.settle()
	if _, err := a.Settle(e.ctx, []engine.Outcome{}); err != nil {
		e.Errorf("Settle of no outcomes must succeed: %v", err)
	}
}

func settleDone(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(jobs("e", 10, l)...)
	js := a.claim(engine.ClaimRequest{Max: 4, Lease: brief}).Jobs
	claimed := time.Now()
	a.done(js...)
	e.pass(claimed, brief)
	if got := a.take(l); len(got) != 6 {
		e.Fatalf("Done must remove the job for good: of 10 jobs 4 were done, then claimed %s", list(got))
	}
}

func settleRetry(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l), job("negative", deliver("other")))
	o := outcome(a.one("a pushed job is due", l), engine.Retry)
	o.After, o.Attempt, o.History = brief, 1, []byte("one")
	called := time.Now()
	a.works("Retry takes effect", o)
	j := a.soon("Retry makes a job due After from now", called, brief, l)
	if j.Attempt != 1 || string(j.History) != "one" {
		e.Errorf("Retry must store attempt and history: got %d, %q", j.Attempt, j.History)
	}
	o = outcome(a.one("a pushed job is due", deliver("other")), engine.Retry)
	o.After = -long
	a.works("Retry takes effect", o)
	a.one("Retry with a negative After makes a job due at once", deliver("other"))
}

func settleRelease(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	o := outcome(a.one("a pushed job is due", l), engine.Retry)
	o.Attempt, o.History = 4, []byte("four")
	a.works("Retry takes effect", o)
	claims := 2 // of the Retry, and of the one before each Release
	for _, after := range []time.Duration{0, brief, -long} {
		j := a.one("a released job is due", l)
		called := time.Now()
		// What a Release says of attempt and history is not for the store.
		a.works("Release takes effect", engine.Outcome{Ticket: j.Ticket, Result: engine.Release, After: after, Attempt: 9, History: []byte("nine"), Reason: "no"})
		j = a.soon("Release makes a job due After from now", called, after, l)
		if j.Attempt != 4 || string(j.History) != "four" {
			e.Fatalf("Release must leave attempt and history as they were: got %d, %q, want 4, \"four\"", j.Attempt, j.History)
		}
		if j.Claims != claims {
			e.Errorf("Claims must leave out claims that ended with Release: got %d, want %d", j.Claims, claims)
		}
		if err := same(j.Event, event("e")); err != nil {
			e.Fatalf("Release must leave the event as it was: %v", err)
		}
		a.works("Release takes effect", outcome(j, engine.Release))
	}
	// Also of a job that nothing has happened to before, and with other claims
	// in between: those that a Retry ended and that a lease ended count.
	t := a.push(engine.Job{Event: event("new"), Lane: deliver("new"), Lease: long})[0]
	for want, result := range []engine.Result{engine.Release, engine.Release, engine.Retry, engine.Release, engine.Retry} {
		o := engine.Outcome{Ticket: t, Result: result}
		a.works(name(result)+" takes effect", o)
		j := a.one("a job that was given back is due", deliver("new"))
		want = []int{1, 1, 2, 2, 3}[want]
		if j.Claims != want {
			e.Errorf("Claims must leave out claims that ended with Release, and no others: got %d, want %d", j.Claims, want)
		}
		t = j.Ticket
		a.stale("a ticket that Release or Retry has spent", o)
	}
	o = engine.Outcome{Ticket: t, Result: engine.Extend, After: brief}
	called := time.Now()
	a.works("Extend takes effect", o)
	if j := a.soon("an extended lease ends", called, brief, deliver("new")); j.Claims != 4 {
		e.Errorf("Claims must count a claim whose lease ended, after Release too: got %d, want 4", j.Claims)
	}
}

func settleBury(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(jobs("e", 3, l)...)
	t := a.push(engine.Job{Event: event("buried"), Lane: l, Lease: brief})[0]
	claimed := time.Now()
	a.works("Bury takes effect", engine.Outcome{Ticket: t, Result: engine.Bury, Attempt: 3, Reason: "gone"})
	e.pass(claimed, brief)
	if got := a.take(l); len(got) != 3 {
		e.Fatalf("Bury must take the job out of its lane: of 4 jobs one was buried, then claimed %s", list(got))
	}
}

func settleUnknownResult(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(jobs("e", 2, l)...)
	js := a.takeN(2, l)
	for _, r := range []engine.Result{0, 77} {
		_, err := a.Settle(e.ctx, []engine.Outcome{outcome(js[0], engine.Done), outcome(js[1], r)})
		if !errors.Is(err, engine.ErrInvalid) {
			e.Errorf("Settle with result %d must return ErrInvalid: got %v", r, err)
		}
	}
	a.works("a Settle that is refused changes nothing", outcome(js[0], engine.Release), outcome(js[1], engine.Done))
}

func settleTwice(e *env) {
	a := e.open()
	for _, first := range results {
		l := deliver(name(first))
		a.push(job("e", l))
		j := a.one("a pushed job is due", l)
		o := outcome(j, first)
		o.After = long
		a.works(name(first)+" takes effect", o)
		for _, second := range results {
			a.stale("a ticket is spent after "+name(first), outcome(j, second))
		}
		a.none("a ticket that is spent changes nothing", l)
	}
}

func settleTwiceInOneCall(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	j := a.one("a pushed job is due", l)
	s := a.settle(outcome(j, engine.Release), outcome(j, engine.Done))
	if !s[0].OK || s[1].OK {
		e.Fatalf("of two outcomes with one ticket in a call the first must take effect and the second not: got %v and %v", s[0].OK, s[1].OK)
	}
	a.one("of two outcomes with one ticket only the first takes effect", l)
}

func settleGarbage(e *env) {
	a, l := e.open(), deliver("lane")
	held := a.push(engine.Job{Event: event("held"), Lane: l, Lease: long})[0]
	a.push(jobs("e", 2, l)...)
	garbage := []engine.Ticket{
		"", " ", "x", "garbage", "0", "-1", "1", "1:1", "1.1", "1-1", "1/1/1", "1:2:3:4", "a:b", ":", "::", "99999999999999999999:1",
		"0x10", "NaN", "null", "{}", "'; DROP TABLE jobs; --", "*", "%", "\x00", "\xff\xfe", "🦉",
		"01ARZ3NDEKTSV4RRFFQ69G5FAV", "6ba7b810-9dad-11d1-80b4-00c04fd430c8", "claim-0", engine.Ticket(strings.Repeat("9", 5000)),
	}
	for _, r := range results {
		var outcomes []engine.Outcome
		for _, g := range garbage {
			outcomes = append(outcomes, engine.Outcome{Ticket: g, Result: r, Follow: []engine.Job{job("followed", l)}})
		}
		a.stale("a ticket that no claim gave is stale", outcomes...)
	}
	if got := a.take(l); len(got) != 2 {
		e.Fatalf("a ticket that no claim gave must change nothing: 2 jobs were due, then claimed %s", list(got))
	}
	a.works("a good ticket works after garbage", engine.Outcome{Ticket: held, Result: engine.Done})
}

func settleIndependent(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(jobs("e", 10, l)...)
	js := a.takeN(10, l)
	a.done(js[0], js[4])
	var outcomes []engine.Outcome
	for i, j := range js {
		o := outcome(j, results[i%len(results)])
		o.After = long
		outcomes = append(outcomes, o, engine.Outcome{Ticket: "garbage", Result: engine.Done})
	}
	for i, s := range a.settle(outcomes...) {
		stale := i%2 == 1 || i == 0 || i == 8
		if s.OK == stale {
			e.Errorf("outcomes must be independent: outcome %d was reported %v beside stale ones, want %v", i, s.OK, !stale)
		}
	}
	a.none("outcomes beside stale ones take effect", l)
}

func settleElsewhere(e *env) {
	a, b, l := e.open(), e.open(), deliver("lane")
	a.push(job("e", l))
	j := a.one("a pushed job is due", l)
	o := outcome(j, engine.Retry)
	o.Attempt = 1
	b.works("a ticket works through any engine on the store", o)
	a.stale("a ticket that was settled through another engine is spent", outcome(j, engine.Done))
	a.one("what another engine settled is as if this one had", l)
}

func settleHistory(e *env) {
	a, l := e.open(), deliver("lane")
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	for i, h := range [][]byte{nil, {}, []byte("123"), every, slices.Repeat(every, 100)} {
		id := string(rune('a' + i))
		a.push(job(id, l))
		o := outcome(a.one("a pushed job is due", l), engine.Retry)
		o.Attempt, o.History = 1<<20, h
		a.works("Retry takes effect", o)
		j := a.one("a retried job is due", l)
		if string(j.History) != string(h) || j.Attempt != 1<<20 {
			e.Errorf("history and attempt must come back unchanged: %.40q became %.40q", h, j.History)
		}
		a.done(j)
	}
}
