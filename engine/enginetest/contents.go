package enginetest

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// What there is in a store, for those who move it to another one.
var contentsChecks = []check{
	{"tell_when_registrations_end", contents, contentsRegistrations},
	{"name_the_groups_of_attributes", contents | attributes, contentsGroups},
	{"name_the_realms", contents | credentials, contentsRealms},
	{"have_the_jobs_that_are_due_later", contents, contentsLater},
	{"in_pages_have_every_job_once", contents, contentsPages},
	{"looked_at_are_nobodys", contents, contentsFree},
	{"settle_a_job_once", contents, contentsSettle},
	{"without_a_name_are_refused", contents, contentsInvalid},
}

// teller is a client of engine.Contents.
type teller struct {
	*client
	engine.Contents
}

func (e *env) openContents() teller {
	e.Helper()
	c, t := keep[engine.Contents](e)
	return teller{c, t}
}

func contentsRegistrations(e *env) {
	a := e.openContents()
	add := func(url string, lease time.Duration) {
		if _, err := a.AddSubscriber(e.ctx, channel, url, lease); err != nil {
			e.Fatalf("AddSubscriber: %v", err)
		}
	}
	began := time.Now()
	add("http://b/", long)
	add("http://a/", 0)
	add("http://c/", brief)
	added := time.Now()
	registered := func() []engine.Registration {
		all, err := a.Registrations(e.ctx, channel)
		if err != nil {
			e.Fatalf("Registrations: %v", err)
		}
		return all
	}
	e.eventually("a registration that has ended is none", func() bool { return len(registered()) == 2 })
	e.pass(added, brief)
	asked := time.Now()
	all := registered()
	passed := time.Since(began)
	if len(all) != 2 || all[0].CallbackURL != "http://a/" || all[1].CallbackURL != "http://b/" {
		e.Fatalf("Registrations must return every subscriber, in order: got %+v", all)
	}
	if all[0].Left != 0 {
		e.Errorf("a registration without an end must say so: got %v", all[0].Left)
	}
	if left := all[1].Left; left > long-asked.Sub(added)+clockGrain || left < long-passed-clockGrain {
		e.Errorf("Registrations must tell how much longer one lasts: got %v", left)
	}
	for _, r := range all {
		if r.Age < asked.Sub(added)-clockGrain || r.Age > passed+clockGrain {
			e.Errorf("Registrations must tell how old each is: got %v, want %v", r.Age, passed)
		}
	}
	if none, err := a.Registrations(e.ctx, "nobody's"); err != nil || len(none) != 0 {
		e.Errorf("a channel without subscribers has no registrations: got %v, %v", none, err)
	}
}

func contentsGroups(e *env) {
	a := e.openContents()
	names := func() []string {
		names, err := a.AttributeGroups(e.ctx)
		if err != nil {
			e.Fatalf("AttributeGroups: %v", err)
		}
		return names
	}
	if got := names(); len(got) != 0 {
		e.Errorf("a store without attributes must have no groups: got %q", got)
	}
	groups := []string{"a*", "group", "group:with://colons", "ünïcode 🦉"}
	for _, group := range groups {
		for _, name := range []string{"one", "two"} {
			if _, err := a.Engine.(engine.Attributes).SwapAttribute(e.ctx, group, name, nil, []byte("v"), 0); err != nil {
				e.Fatal(err)
			}
		}
	}
	if got := names(); !slices.Equal(got, groups) {
		e.Errorf("AttributeGroups must name every group once, in order: got %q, want %q", got, groups)
	}
}

func contentsRealms(e *env) {
	a := e.openContents()
	realms := []string{"a*." + realm, "a." + realm, "b." + realm}
	for _, r := range realms {
		for _, name := range []string{"ann", "ben"} {
			if err := a.Engine.(engine.Credentials).PutCredential(e.ctx, r, name, []byte("proof")); err != nil {
				e.Fatal(err)
			}
		}
	}
	for prefix, want := range map[string][]string{"": realms, "a": realms[:2], "a*": realms[:1], "b." + realm: realms[2:], "c": nil} {
		got, err := a.Realms(e.ctx, prefix)
		if err != nil || !slices.Equal(got, want) {
			e.Errorf("Realms(%q) must name every realm that begins so once, in order: got %q, %v, want %q", prefix, got, err, want)
		}
	}
}

// later calls Later and makes sure that what it returns can be.
func (t teller) later(lane engine.Lane, after time.Duration, limit int) []engine.LaterJob {
	t.e.Helper()
	jobs, err := t.Later(t.e.ctx, lane, after, limit)
	if err != nil {
		t.e.Fatalf("Later: %v", err)
	}
	for i, j := range jobs {
		switch {
		case j.Due < after-clockGrain:
			t.e.Errorf("Later must leave out what is due sooner: %s is due in %v, of %v", j.Event.ID, j.Due, after)
		case i > 0 && j.Due < jobs[i-1].Due:
			t.e.Errorf("Later must return jobs in the order in which they are due: %v, then %v", jobs[i-1].Due, j.Due)
		case j.Lane != lane || j.Ticket == "":
			t.e.Errorf("Later must return a lane's jobs, each with a ticket: got %+v", j)
		}
	}
	return jobs
}

// known are the IDs of the events of jobs.
func known(jobs []engine.LaterJob) string {
	ids := make([]string, len(jobs))
	for i, j := range jobs {
		ids[i] = j.Event.ID
	}
	return strings.Join(ids, " ")
}

func contentsLater(e *env) {
	a, l, other := e.openContents(), deliver("lane"), deliver("other")
	again := event("again")
	again.Replay = "mark"
	began := time.Now()
	a.push(
		job("now", l),
		engine.Job{Event: event("leased"), Lane: l, Lease: long},
		engine.Job{Event: event("second"), Lane: l, Delay: 2 * long},
		engine.Job{Event: event("elsewhere"), Lane: other, Delay: long},
		engine.Job{Event: event("first"), Lane: l, Delay: long},
		engine.Job{Event: again, Lane: l, Past: retried(3*long, 7, "\x00\xff seven"), Age: long},
	)
	if got := known(a.later(l, time.Second, 10)); got != "first second again" {
		e.Fatalf("Later must return what waits and is due later: got %s", got)
	}
	if got := known(a.later(l, 2*long-time.Minute, 10)); got != "second again" {
		e.Errorf("Later must leave out what is due sooner: got %s", got)
	}
	jobs := a.later(l, time.Second, 10)
	passed := time.Since(began)
	for i, want := range []time.Duration{long, 2 * long, 3 * long} {
		if due := jobs[i].Due; due > want+clockGrain || due < want-passed-clockGrain {
			e.Errorf("Later must tell when a job is due: got %v, want %v", due, want)
		}
	}
	if err := same(jobs[0].Event, event("first")); err != nil || jobs[0].Claims != 0 || jobs[0].Attempt != 0 || len(jobs[0].History) != 0 {
		e.Errorf("Later must return jobs as a claim would: %v, %+v", err, jobs[0])
	}
	j := jobs[2]
	if err := same(j.Event, again); err != nil || j.Claims != 1 || j.Attempt != 7 || string(j.History) != "\x00\xff seven" || j.Age < long || j.Age > long+passed+clockGrain {
		e.Errorf("Later must return jobs as a claim would: %v, %+v", err, j)
	}
	if got := known(a.later(deliver("nobody's"), 0, 10)); got != "" {
		e.Errorf("Later must return jobs of the lane that is named: got %s", got)
	}
}

func contentsPages(e *env) {
	a, l := e.openContents(), deliver("lane")
	const n = 60
	var pushed []engine.Job
	for i := range n {
		pushed = append(pushed, engine.Job{Event: event(fmt.Sprint("e", i)), Lane: l, Delay: long + time.Duration(i)*time.Second})
		pushed = append(pushed, engine.Job{Event: event(fmt.Sprint("leased", i)), Lane: l, Lease: long + time.Duration(i)*time.Second})
	}
	a.push(pushed...)
	found := 0
	for {
		page := a.later(l, time.Minute, 7)
		if len(page) == 0 {
			break
		}
		if len(page) > 7 {
			e.Fatalf("Later must return so many jobs at the most: got %d of 7", len(page))
		}
		var outcomes []engine.Outcome
		for _, j := range page {
			if want := fmt.Sprint("e", found); j.Event.ID != want {
				e.Fatalf("Later must return what is due first: got %s, want %s", j.Event.ID, want)
			}
			found++
			outcomes = append(outcomes, outcome(j.Claimed, engine.Done))
		}
		a.works("the ticket that Later gives out works", outcomes...)
	}
	if found != n {
		e.Errorf("Later must return every job: got %d of %d", found, n)
	}
}

func contentsFree(e *env) {
	a, l := e.openContents(), deliver("lane")
	called := time.Now()
	a.push(engine.Job{Event: event("e"), Lane: l, Delay: brief})
	var seen []engine.LaterJob
	for range 3 {
		seen = append(seen, a.later(l, 0, 10)...)
	}
	j := a.soon("a job that was looked at is due as before", called, brief, l)
	if j.Claims != 1 {
		e.Errorf("looking at a job is no claim: got %d claims", j.Claims)
	}
	for _, s := range seen {
		a.stale("the ticket that Later gives out is stale once the job is claimed", outcome(s.Claimed, engine.Done))
	}
	a.works("a claim's ticket works though Later gave out another", outcome(j, engine.Retry))
	for _, s := range seen {
		a.stale("the ticket that Later gives out is stale once the job was claimed", outcome(s.Claimed, engine.Done))
	}
}

func contentsSettle(e *env) {
	a, l := e.openContents(), deliver("lane")
	shared := event("shared")
	called := time.Now()
	a.push(
		engine.Job{Event: event("e"), Lane: l, Delay: long},
		engine.Job{Event: shared, Lane: l, Delay: long},
		engine.Job{Event: shared, Lane: deliver("other"), Delay: brief},
	)
	jobs := a.later(l, 0, 10)
	if len(jobs) != 2 {
		e.Fatalf("Later must return what is due later: got %s", known(jobs))
	}
	for _, j := range jobs {
		a.works("the ticket that Later gives out works", outcome(j.Claimed, engine.Done))
		a.stale("a job is done once", outcome(j.Claimed, engine.Done))
		a.push(engine.Job{Event: j.Event, Lane: l})
	}
	a.none("a job that is done is known again", l)
	if left := a.later(l, 0, 10); len(left) != 0 {
		e.Errorf("a job that is done must be gone: got %s", known(left))
	}
	if err := same(a.soon("the other jobs of its event stay", called, brief, deliver("other")).Event, shared); err != nil {
		e.Errorf("an event must be there while any job needs it: %v", err)
	}
}

func contentsInvalid(e *env) {
	a := e.openContents()
	_, err := a.Registrations(e.ctx, "")
	e.refused("Registrations of a channel without a name", err)
	_, err = a.Later(e.ctx, engine.Lane{Kind: engine.Deliver}, 0, 1)
	e.refused("Later of a lane without a name", err)
	_, err = a.Later(e.ctx, deliver("lane"), 0, 0)
	e.refused("Later of no jobs", err)
}
