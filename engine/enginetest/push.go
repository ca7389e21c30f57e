package enginetest

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var pushChecks = []check{
	{"stores_every_job_of_a_call", 0, pushStoresAll},
	{"of_nothing_is_fine", 0, pushNothing},
	{"of_an_invalid_job_stores_nothing", 0, pushInvalid},
	{"keeps_every_byte", 0, pushKeepsBytes},
	{"keeps_a_body_of_1_MiB", 0, pushLargeBody},
	{"keeps_an_event_while_any_job_needs_it", 0, pushSharedEvent},
	{"of_the_same_event_to_another_lane_is_another_job", 0, pushOtherLane},
	{"tells_identities_apart", 0, pushIdentities},
	{"of_a_job_twice_in_a_call_stores_it_once", 0, pushTwiceInOneCall},
	{"again_is_a_no_op_while_the_job_waits", 0, pushAgainWaiting},
	{"again_is_a_no_op_while_the_job_is_leased", 0, pushAgainLeased},
	{"again_is_a_no_op_while_the_job_is_to_be_retried", 0, pushAgainRetried},
	{"again_is_a_no_op_when_the_job_is_done", 0, pushAgainDone},
	{"again_is_a_no_op_when_the_job_is_buried", 0, pushAgainBuried},
	{"again_is_a_no_op_when_the_job_is_discarded", deadLetters, pushAgainDiscarded},
	{"again_is_a_no_op_through_another_engine", sharing, pushAgainElsewhere},
	{"again_is_a_job_when_the_window_has_passed", 0, pushAfterWindow},
	{"by_many_at_once_stores_a_job_once", 0, pushRace},
	{"keeps_a_delay", 0, pushDelay},
	{"under_a_lease_gives_a_ticket_that_works", 0, pushLeasedTicket},
	{"under_a_lease_hides_the_job_until_it_ends", 0, pushLeaseEnds},
	{"returns_its_tickets_in_order", 0, pushTicketOrder},
}

var kinds = []engine.Kind{engine.FanOut, engine.Deliver, engine.Handle}

func pushStoresAll(e *env) {
	a := e.open()
	var js []engine.Job
	ev := event("e")
	for _, k := range kinds {
		for i := range 20 {
			js = append(js, engine.Job{Event: ev, Lane: engine.Lane{Kind: k, Name: fmt.Sprint("lane", i)}})
		}
	}
	a.push(js...)
	for _, k := range kinds {
		if got := a.claim(engine.ClaimRequest{Kind: k}).Jobs; len(got) != 20 {
			e.Fatalf("Push of 20 jobs of the kind %v must store them all: claimed %s", k, list(got))
		}
	}
}

func pushNothing(e *env) {
	a := e.open()
	a.push()
	if _, err := a.Push(e.ctx, engine.PushRequest{Jobs: []engine.Job{}}); err != nil {
		e.Errorf("Push of no jobs must succeed: %v", err)
	}
}

// invalidJobs are jobs that no store could take.
var invalidJobs = map[string]engine.Job{
	"without a lane name":      {Event: event("bad"), Lane: engine.Lane{Kind: engine.Deliver}},
	"without a kind":           {Event: event("bad"), Lane: engine.Lane{Name: "lane"}},
	"of an unknown kind":       {Event: event("bad"), Lane: engine.Lane{Kind: 77, Name: "lane"}},
	"with an event without ID": {Event: &engine.Event{Channel: channel, Body: []byte("{}")}, Lane: deliver("lane")},
}

func pushInvalid(e *env) {
	a := e.open()
	bad := map[string]engine.Job{"without an event": {Lane: deliver("lane")}}
	for what, j := range invalidJobs {
		bad[what] = j
	}
	for what, j := range bad {
		good := jobs("good", 3, deliver("lane"))
		for at := range 4 { // before, between and behind the good ones
			_, err := a.Push(e.ctx, engine.PushRequest{Jobs: slices.Insert(slices.Clone(good), at, j)})
			if !errors.Is(err, engine.ErrInvalid) {
				e.Errorf("Push of a job %s must return ErrInvalid: got %v", what, err)
			}
		}
		if got := a.take(); len(got) > 0 {
			e.Fatalf("Push that fails must store nothing: after a job %s there was %s", what, list(got))
		}
	}
	a.push(jobs("good", 3, deliver("lane"))...)
	if got := a.take(); len(got) != 3 {
		e.Fatalf("Push that fails must leave nothing behind: the same good jobs pushed alone gave %s, want 3 jobs", list(got))
	}
}

func pushKeepsBytes(e *env) {
	a := e.open()
	every := make([]byte, 256)
	for i := range every {
		every[i] = byte(i)
	}
	events := []*engine.Event{
		{ID: "empty body", Channel: channel},
		{ID: "no channel", Body: []byte("{}")},
		{ID: "every byte", Channel: channel, Body: every},
		{ID: "Meta without body", Meta: []byte("meta")},
		{ID: "Meta of every byte", Channel: channel, Body: []byte("{}"), Meta: every},
		{ID: "NUL", Channel: channel, Body: []byte("a\x00b\x00")},
		{ID: "JSON", Channel: channel, Body: []byte("{ \"b\": 12345678901234567890.10,\r\n\t\"a\": \"\\u0000\\ud83d\", \"a\": 1e400 }\n")},
		{ID: "number", Channel: channel, Body: []byte("0123")},
		{ID: "007", Channel: "1e3", Body: []byte("1")},
		{ID: "ünïcode 🦉 \u2028 e\u0301", Channel: "日本語.v1 ÄÖ", Body: []byte(`"🦉 é \u2028 日本"`)},
		{ID: "quotes'\"`\\%_*?[]{}:|,;/ \t\n", Channel: "a'b\"c\\d%_*?[]{}:|,;/ \t", Body: []byte(`'"\`)},
		{ID: strings.Repeat("long", 100), Channel: strings.Repeat("c", 500), Body: []byte("x")},
		{ID: "case", Channel: "Case"}, {ID: "Case", Channel: "case"},
		{ID: " space ", Channel: " c "}, {ID: "space", Channel: "c"},
	}
	lanes := []string{
		"https://user:pass@example.org:8080/callbacks?a=b&c=%20#frag",
		"ünïcode 🦉", "quotes'\"`\\%_*?[]{}:|,;/ \t\n", strings.Repeat("n", 500), "Case", "case", " case",
	}
	want := map[[2]string]*engine.Event{}
	var js []engine.Job
	for _, ev := range events {
		for _, l := range lanes {
			js = append(js, engine.Job{Event: ev, Lane: deliver(l)})
			want[[2]string{ev.ID, l}] = ev
		}
	}
	a.push(js...)
	for _, j := range a.take() {
		key := [2]string{j.Event.ID, j.Lane.Name}
		ev := want[key]
		if ev == nil {
			e.Errorf("Claim must give IDs and lanes back unchanged: got %q in %q", j.Event.ID, j.Lane.Name)
			continue
		}
		delete(want, key)
		if err := same(j.Event, ev); err != nil {
			e.Errorf("Claim must give events back unchanged: %v", err)
		}
	}
	for key := range want {
		e.Errorf("Push must store jobs with any characters: %q in %q did not come back", key[0], key[1])
	}
}

func pushLargeBody(e *env) {
	a := e.open()
	ev := event("large")
	ev.Body = bytes.Repeat([]byte("0123456789abcde\n"), 1<<16)
	ev.Meta = bytes.Repeat([]byte("meta"), 1<<10)
	var js []engine.Job
	for i := range 10 {
		js = append(js, engine.Job{Event: ev, Lane: deliver(fmt.Sprint("lane", i))})
	}
	a.push(js...)
	got := a.take()
	if len(got) != 10 {
		e.Fatalf("Push of an event of 1 MiB to 10 lanes: claimed %s", list(got))
	}
	for _, j := range got {
		if err := same(j.Event, ev); err != nil {
			e.Fatalf("Claim must give large bodies back unchanged: %v", err)
		}
	}
}

// The bytes of an event are stored once, and must not go with the first job.
func pushSharedEvent(e *env) {
	a := e.open()
	ev := event("shared")
	lanes := []engine.Lane{deliver("one"), deliver("two"), deliver("three"), {Kind: engine.Handle, Name: "four"}}
	for i, l := range lanes {
		if i < 3 {
			continue
		}
		a.push(engine.Job{Event: event("shared"), Lane: l}) // by another pointer
	}
	a.push(engine.Job{Event: ev, Lane: lanes[0]}, engine.Job{Event: ev, Lane: lanes[1]}, engine.Job{Event: ev, Lane: lanes[2]})
	for _, l := range lanes {
		j := a.one("jobs that share an event are claimed on their own", l)
		if err := same(j.Event, ev); err != nil {
			e.Fatalf("an event must be kept while any job refers to it: %v", err)
		}
		a.done(j)
	}
}

func pushOtherLane(e *env) {
	a := e.open()
	ev := event("e")
	for _, l := range []engine.Lane{{Kind: engine.Deliver, Name: "x"}, {Kind: engine.Deliver, Name: "y"}, {Kind: engine.Handle, Name: "x"}, {Kind: engine.FanOut, Name: "x"}} {
		if !a.pushed(ev, l) {
			e.Errorf("the same event in another lane must be another job: %v was taken for a repetition", l)
		}
	}
}

func pushIdentities(e *env) {
	a := e.open()
	for _, sep := range []string{":", "|", "/", ",", " ", "\n", "-", "_", ".", "\x1f", "::"} {
		if !a.pushed(event("a"+sep+"b"), deliver("c")) || !a.pushed(event("a"), deliver("b"+sep+"c")) {
			e.Errorf("event ID and lane must not run together: %q in %q and %q in %q were taken for one job", "a"+sep+"b", "c", "a", "b"+sep+"c")
		}
	}
	if !a.pushed(event("x"), deliver("l")) || !a.pushed(event("X"), deliver("l")) || !a.pushed(event("x "), deliver("l")) {
		e.Errorf("event IDs must be compared byte by byte")
	}
}

func pushTwiceInOneCall(e *env) {
	a := e.open()
	ev := event("e")
	l := deliver("lane")
	tickets := a.push(engine.Job{Event: ev, Lane: l, Lease: long}, engine.Job{Event: ev, Lane: l, Lease: long}, engine.Job{Event: event("e"), Lane: l})
	if tickets[0] == "" || tickets[1] != "" {
		e.Fatalf("Push of a job twice in one call must store the first only: tickets %q", tickets)
	}
	a.none("Push of a job twice in one call stores it once", l)
	a.works("the ticket of a job pushed twice in one call works", engine.Outcome{Ticket: tickets[0], Result: engine.Release})
	a.one("Push of a job twice in one call stores it once", l)
}

// again pushes a job that is there, in each of the ways in which one can.
func (c *client) again(rule string, ev *engine.Event, l engine.Lane) {
	c.e.Helper()
	for _, j := range []engine.Job{{Lease: long}, {Lease: time.Millisecond}, {}, {Delay: time.Millisecond}} {
		j.Event, j.Lane = ev, l
		if t := c.push(j)[0]; t != "" {
			c.e.Fatalf("%s: the job was stored again", rule)
		}
	}
}

func pushAgainWaiting(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("now", l), engine.Job{Event: event("later"), Lane: l, Delay: long})
	a.again("pushing a waiting job again is a no-op", event("now"), l)
	a.again("pushing a delayed job again is a no-op", event("later"), l)
	other := event("now")
	other.Body = []byte("other")
	a.again("pushing a waiting job again with another body is a no-op", other, l)
	j := a.one("pushing a job again changes nothing", l)
	if err := same(j.Event, event("now")); err != nil {
		e.Fatalf("pushing a job again must leave it as it was: %v", err)
	}
}

func pushAgainLeased(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	j := a.one("a pushed job is due", l)
	a.again("pushing a leased job again is a no-op", event("e"), l)
	a.none("pushing a leased job again does not make it due", l)
	a.done(j)
	a.none("a job pushed again while it was leased is not there when it is done", l)
}

func pushAgainRetried(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	o := outcome(a.one("a pushed job is due", l), engine.Retry)
	o.After, o.Attempt, o.History = long, 3, []byte("history")
	a.works("Retry takes effect", o)
	a.again("pushing a job again that is to be retried is a no-op", event("e"), l)
	a.none("pushing a job again that is to be retried does not make it due", l)
}

func pushAgainDone(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	a.done(a.one("a pushed job is due", l))
	a.again("pushing a job again that was done within the window is a no-op", event("e"), l)
	a.none("pushing a job again that was done within the window is a no-op", l)

	t := a.push(engine.Job{Event: event("own"), Lane: l, Lease: long})
	a.works("Done by the ticket of a Push takes effect", engine.Outcome{Ticket: t[0], Result: engine.Done})
	a.again("pushing a job again that was done by who pushed it is a no-op", event("own"), l)
	a.none("pushing a job again that was done by who pushed it is a no-op", l)
}

func pushAgainBuried(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	a.works("Bury takes effect", outcome(a.one("a pushed job is due", l), engine.Bury))
	a.again("pushing a job again that is dead is a no-op within the window", event("e"), l)
	a.none("pushing a job again that is dead is a no-op within the window", l)
}

func pushAgainDiscarded(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("e", l))
	a.works("Bury takes effect", outcome(a.one("a pushed job is due", l), engine.Bury))
	a.discard(1, a.deadN(1, engine.DeadQuery{})[0].ID)
	a.again("pushing a job again that was discarded is a no-op within the window", event("e"), l)
	a.none("pushing a job again that was discarded is a no-op within the window", l)
}

func pushAgainElsewhere(e *env) {
	a, b, l := e.open(), e.open(), deliver("lane")
	a.push(job("e", l))
	b.again("pushing a job again that waits is a no-op through another engine", event("e"), l)
	j := b.one("what one engine pushed another can claim", l)
	a.again("pushing a job again that is leased is a no-op through another engine", event("e"), l)
	b.done(j)
	a.again("pushing a job again that was done by another engine is a no-op", event("e"), l)
	b.none("pushing a job again through another engine stores nothing", l)
}

func pushAfterWindow(e *env) {
	const window = time.Second
	a, l := e.openWith(engine.Retention{Dedupe: window}), deliver("lane")
	a.push(job("waiting", deliver("other")))
	called := time.Now()
	a.push(job("done", l))
	a.done(a.one("a pushed job is due", l))
	e.eventually("a job that is done is forgotten when the dedupe window has passed", func() bool {
		return a.pushed(event("done"), l)
	})
	if early := window - time.Since(called); early > clockGrain {
		e.Fatalf("a job that is done must be remembered for the dedupe window: forgotten %v too early, of %v", early, window)
	}
	e.pass(time.Now(), window) // twice the window by now, the most there may be
	a.again("pushing a job again that is still there is a no-op, however long ago it was pushed", event("waiting"), deliver("other"))
	a.one("pushing a job again that is still there is a no-op", deliver("other"))
}

func pushRace(e *env) {
	a, l := e.open(), deliver("lane")
	clients := []*client{a}
	if !e.h.NotShared {
		clients = append(clients, e.open())
	}
	const pushers, n = 8, 20
	var mu sync.Mutex
	var wg sync.WaitGroup
	got := map[string]int{}
	for i := range pushers {
		wg.Go(func() {
			var js []engine.Job
			for _, j := range jobs("e", n, l) {
				j.Lease = long
				js = append(js, j)
			}
			if i%2 == 1 {
				slices.Reverse(js) // and no deadlock by the order of locks
			}
			res, err := clients[i%len(clients)].Push(e.ctx, engine.PushRequest{Jobs: js})
			tickets := res.Tickets
			if err != nil || len(tickets) != n {
				e.Errorf("Push by several at once: %d tickets, %v", len(tickets), err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for k, t := range tickets {
				if t != "" {
					got[js[k].Event.ID]++
				}
			}
		})
	}
	wg.Wait()
	for i := range n {
		if id := fmt.Sprint("e", i); got[id] != 1 {
			e.Errorf("Push of one job by several at once must give exactly one of them a ticket: %s gave %d", id, got[id])
		}
	}
}

func pushDelay(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(engine.Job{Event: event("much later"), Lane: l, Delay: long})
	called := time.Now()
	a.push(engine.Job{Event: event("later"), Lane: l, Delay: brief})
	if j := a.soon("a delayed job is due after its delay", called, brief, l); j.Event.ID != "later" {
		e.Fatalf("a job must not be due before its delay has passed: claimed %q", j.Event.ID)
	}
	a.push(engine.Job{Event: event("negative"), Lane: l, Delay: -long})
	a.one("a job with a negative delay is due at once", l)
}

func pushLeasedTicket(e *env) {
	a, l := e.open(), deliver("lane")
	for _, r := range results {
		id := name(r)
		t := a.push(engine.Job{Event: event(id), Lane: l, Lease: long})[0]
		if t == "" {
			e.Fatalf("Push under a lease must return a ticket")
		}
		a.none("a job pushed under a lease is claimed already", l)
		s := a.works("the ticket of a Push under a lease works", engine.Outcome{Ticket: t, Result: r})
		switch r {
		case engine.Retry, engine.Release:
			a.one("a job pushed under a lease and given back is due", l)
		case engine.Extend:
			a.works("the ticket of a Push under a lease can be extended", engine.Outcome{Ticket: s[0].Ticket, Result: engine.Done})
		}
		a.none("the ticket of a Push under a lease works", l)
	}
}

func pushLeaseEnds(e *env) {
	a, l := e.open(), deliver("lane")
	called := time.Now()
	t := a.push(engine.Job{Event: event("e"), Lane: l, Lease: brief, Delay: long})[0]
	j := a.soon("a job pushed under a lease is due when the lease ends, whatever its delay", called, brief, l)
	if j.Claims != 2 {
		e.Errorf("the lease of a Push must count as a claim: Claims is %d at the next one, want 2", j.Claims)
	}
	if err := same(j.Event, event("e")); err != nil {
		e.Errorf("a job pushed under a lease must be stored in full: %v", err)
	}
	a.stale("the ticket of a Push is stale when somebody else has claimed the job", engine.Outcome{Ticket: t, Result: engine.Done})
	a.done(j)
}

func pushTicketOrder(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(job("old", l))
	tickets := a.push(
		engine.Job{Event: event("a"), Lane: l, Lease: long},
		engine.Job{Event: event("b"), Lane: l},
		engine.Job{Event: event("old"), Lane: l, Lease: long},
		engine.Job{Event: event("c"), Lane: l, Lease: long},
	)
	if tickets[0] == "" || tickets[2] != "" || tickets[3] == "" {
		e.Fatalf("Push must return tickets for leased new jobs only, in the order of the jobs: got %q for leased, not leased, already there, leased", tickets)
	}
	a.works("each ticket is its own job's", engine.Outcome{Ticket: tickets[3], Result: engine.Done})
	a.works("each ticket is its own job's", engine.Outcome{Ticket: tickets[0], Result: engine.Release})
	if got := sorted(ids(a.take(l))); !slices.Equal(got, []string{"a", "b", "old"}) {
		e.Fatalf("each ticket must be that of its own job: after Done of c and Release of a there was %q", got)
	}
}
