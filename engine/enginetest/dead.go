package enginetest

import (
	"fmt"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var deadChecks = []check{
	{"tell_everything_about_a_job", deadLetters, deadTell},
	{"list_the_most_recently_buried_first", deadLetters, deadOrder},
	{"match_every_filter", deadLetters, deadFilters},
	{"are_listed_page_by_page", deadLetters, deadPages},
	{"are_listed_a_hundred_at_a_time", deadLetters, deadDefaultMax},
	{"can_be_redriven", deadLetters, deadRedrive},
	{"are_redriven_once", deadLetters, deadRedriveOnce},
	{"can_be_redriven_and_buried_again", deadLetters, deadAgain},
	{"can_be_discarded", deadLetters, deadDiscard},
	{"keep_their_event", deadLetters, deadEvent},
	{"are_kept_up_to_DeadMax", deadLetters, deadMax},
	{"are_kept_up_to_DeadAge", deadLetters, deadAge},
	{"are_shared", deadLetters | sharing, deadShared},
}

func (c *client) letters() engine.DeadLetters {
	c.e.Helper()
	d, ok := c.Engine.(engine.DeadLetters)
	if !ok {
		c.e.Fatal("the engine must implement engine.DeadLetters, or the harness say NoDeadLetters")
	}
	return d
}

func (c *client) dead(q engine.DeadQuery) []engine.Dead {
	c.e.Helper()
	dead, err := c.letters().Dead(c.e.ctx, q)
	if err != nil {
		c.e.Fatalf("engine %s: Dead(%+v): %v", c.name, q, err)
	}
	seen := map[string]bool{}
	for _, d := range dead {
		if d.Event == nil {
			c.e.Fatalf("a dead letter must keep its event: got %+v", d)
		}
		if d.ID == "" || seen[d.ID] {
			c.e.Fatalf("each dead letter must have an ID of its own: got %q", d.ID)
		}
		seen[d.ID] = true
	}
	return dead
}

func (c *client) redrive(want int, ids ...string) {
	c.e.Helper()
	n, err := c.letters().Redrive(c.e.ctx, ids)
	if err != nil {
		c.e.Fatalf("engine %s: Redrive(%q): %v", c.name, ids, err)
	}
	if n != want {
		c.e.Fatalf("Redrive must say how many of the IDs it found: got %d for %q, want %d", n, ids, want)
	}
}

func (c *client) discard(want int, ids ...string) {
	c.e.Helper()
	n, err := c.letters().Discard(c.e.ctx, ids)
	if err != nil {
		c.e.Fatalf("engine %s: Discard(%q): %v", c.name, ids, err)
	}
	if n != want {
		c.e.Fatalf("Discard must say how many of the IDs it found: got %d for %q, want %d", n, ids, want)
	}
}

// deadN lists dead letters, which must be n.
func (c *client) deadN(n int, q engine.DeadQuery) []engine.Dead {
	c.e.Helper()
	dead := c.dead(q)
	if len(dead) != n {
		c.e.Fatalf("engine %s: there must be %d dead letters for %+v: got %d", c.name, n, q, len(dead))
	}
	return dead
}

// bury pushes a job and buries it with a reason.
func (c *client) bury(ev *engine.Event, l engine.Lane, reason string) {
	c.e.Helper()
	t := c.push(engine.Job{Event: ev, Lane: l, Lease: long})[0]
	c.works("Bury takes effect", engine.Outcome{Ticket: t, Result: engine.Bury, Attempt: 5, History: []byte("history of " + ev.ID), Reason: reason})
}

// eventIDs are the IDs of the events of dead letters, in order.
func eventIDs(dead []engine.Dead) []string {
	s := make([]string, 0, len(dead))
	for _, d := range dead {
		s = append(s, d.Event.ID)
	}
	return s
}

func deadTell(e *env) {
	a, l := e.open(), engine.Lane{Kind: engine.Handle, Name: "subscription"}
	if dead := a.dead(engine.DeadQuery{}); len(dead) != 0 {
		e.Fatalf("an empty store must have no dead letters: got %d", len(dead))
	}
	before := time.Now()
	a.push(job("e", l))
	j := a.one("a pushed job is due", l)
	history := []byte("\x00\xff history")
	a.works("Bury takes effect", engine.Outcome{Ticket: j.Ticket, Result: engine.Bury, Attempt: 7, History: history, Reason: "410 Gone: ünïcode 🦉"})
	dead := a.dead(engine.DeadQuery{})
	if len(dead) != 1 {
		e.Fatalf("Bury must move the job to the dead letters: there are %d", len(dead))
	}
	d := dead[0]
	if err := same(d.Event, event("e")); err != nil {
		e.Errorf("a dead letter must keep its event: %v", err)
	}
	if d.Lane != l || d.Attempt != 7 || string(d.History) != string(history) || d.Reason != "410 Gone: ünïcode 🦉" {
		e.Errorf("a dead letter must tell lane, attempt, history and reason: got %v, %d, %q, %q", d.Lane, d.Attempt, d.History, d.Reason)
	}
	if age := time.Since(before); d.Age < 0 || d.Age > age+clockGrain {
		e.Errorf("the age of a dead letter must be the time since the job was pushed: got %v, want up to %v", d.Age, age)
	}
	e.buriedNow(d)
}

// buriedNow checks when a letter was buried that has been buried just now. The
// store's clock is another, but not by a day. Where the suite sets wall clocks, other
// tests may have set that of the same servers meanwhile, by more than a day together:
// At is by what it says now.
func (e *env) buriedNow(d engine.Dead) {
	e.Helper()
	most := 24 * time.Hour
	if e.h.Jump != nil {
		most *= 30
	}
	if off := time.Since(d.At).Abs(); off > most {
		e.Errorf("At must be when the job was buried: got %v", d.At)
	}
}

func deadOrder(e *env) {
	a := e.open()
	var want []string
	for i := range 8 {
		id := fmt.Sprint((i * 5) % 8)
		a.bury(event(id), deliver(fmt.Sprint("lane", i%2)), "reason")
		want = slices.Insert(want, 0, id)
		e.tick()
	}
	dead := a.dead(engine.DeadQuery{})
	if got := eventIDs(dead); !slices.Equal(got, want) {
		e.Fatalf("Dead must list the most recently buried first: got %v, want %v", got, want)
	}
	for i := 1; i < len(dead); i++ {
		if dead[i].At.After(dead[i-1].At) {
			e.Fatalf("Dead must list the most recently buried first: %v comes after %v", dead[i].At, dead[i-1].At)
		}
	}
}

func deadFilters(e *env) {
	a := e.open()
	put := func(id, channel, reason string, l engine.Lane) {
		ev := event(id)
		ev.Channel = channel
		a.bury(ev, l, reason)
		e.tick()
	}
	handle := engine.Lane{Kind: engine.Handle, Name: "x"}
	put("1", "users", "410 Gone", deliver("x"))
	put("2", "users", "500 Internal Server Error", deliver("y"))
	put("3", "orders", "gone for good, 100%", handle)
	put("4", "users.updated", "time_out", deliver("x"))
	put("5", "orders", "timeXout", deliver("x"))
	all := a.dead(engine.DeadQuery{})
	if len(all) != 5 {
		e.Fatalf("a query without filters must match everything: got %q, want 5 dead letters", eventIDs(all))
	}
	id := func(n int) string { return all[5-n].ID }
	at := func(n int) time.Time { return all[5-n].At }
	const eps = clockGrain
	for what, c := range map[string]struct {
		q    engine.DeadQuery
		want []string
	}{
		"Kind":                     {engine.DeadQuery{Kind: engine.Handle}, []string{"3"}},
		"a kind without":           {engine.DeadQuery{Kind: engine.FanOut}, nil},
		"Lane":                     {engine.DeadQuery{Lane: "x"}, []string{"5", "4", "3", "1"}},
		"a part of a lane":         {engine.DeadQuery{Lane: ""}, []string{"5", "4", "3", "2", "1"}},
		"an unknown lane":          {engine.DeadQuery{Lane: "%"}, nil},
		"Channel, whole":           {engine.DeadQuery{Channel: "users"}, []string{"2", "1"}},
		"Reason":                   {engine.DeadQuery{Reason: "Server"}, []string{"2"}},
		"Reason, any case":         {engine.DeadQuery{Reason: "gONE"}, []string{"3", "1"}},
		"Reason with %":            {engine.DeadQuery{Reason: "0%"}, []string{"3"}},
		"Reason with _":            {engine.DeadQuery{Reason: "e_o"}, []string{"4"}},
		"Reason with *":            {engine.DeadQuery{Reason: "*"}, nil},
		"Reason with ?":            {engine.DeadQuery{Reason: "time?out"}, nil},
		"Reason with .":            {engine.DeadQuery{Reason: "time.out"}, nil},
		"Since":                    {engine.DeadQuery{Since: at(3).Add(-eps)}, []string{"5", "4", "3"}},
		"Until":                    {engine.DeadQuery{Until: at(3).Add(eps)}, []string{"3", "2", "1"}},
		"Since and Until":          {engine.DeadQuery{Since: at(2).Add(-eps), Until: at(4).Add(eps)}, []string{"4", "3", "2"}},
		"Since, in another zone":   {engine.DeadQuery{Since: at(4).Add(-eps).In(time.FixedZone("X", 5*3600))}, []string{"5", "4"}},
		"a time to come":           {engine.DeadQuery{Since: at(5).Add(long)}, nil},
		"IDs":                      {engine.DeadQuery{IDs: []string{id(1), id(4), "unknown", id(3)}}, []string{"4", "3", "1"}},
		"unknown IDs":              {engine.DeadQuery{IDs: []string{"unknown", "'", "🦉"}}, nil},
		"Lane and Kind":            {engine.DeadQuery{Lane: "x", Kind: engine.Deliver}, []string{"5", "4", "1"}},
		"Channel and Kind":         {engine.DeadQuery{Channel: "orders", Kind: engine.Deliver}, []string{"5"}},
		"Lane and Reason":          {engine.DeadQuery{Lane: "x", Reason: "gone"}, []string{"3", "1"}},
		"IDs and Lane":             {engine.DeadQuery{IDs: []string{id(1), id(2)}, Lane: "y"}, []string{"2"}},
		"Channel and Since":        {engine.DeadQuery{Channel: "users", Since: at(2).Add(-eps)}, []string{"2"}},
		"everything":               {engine.DeadQuery{Kind: engine.Handle, Lane: "x", Channel: "orders", Reason: "FOR GOOD", Since: at(3).Add(-eps), Until: at(3).Add(eps), IDs: []string{id(3)}, Max: 1}, []string{"3"}},
		"Lane and Max":             {engine.DeadQuery{Lane: "x", Max: 2}, []string{"5", "4"}},
		"Lane and After":           {engine.DeadQuery{Lane: "x", After: id(4)}, []string{"3", "1"}},
		"Channel behind another's": {engine.DeadQuery{Channel: "users", After: id(3)}, []string{"2", "1"}},
	} {
		if got := eventIDs(a.dead(c.q)); !slices.Equal(got, c.want) {
			e.Errorf("Dead must return what matches every filter, %s: got %q, want %q", what, got, c.want)
		}
	}
}

func deadPages(e *env) {
	a, l := e.open(), deliver("lane")
	const n = 25
	// Many in one call, and so perhaps at one time: After must tell them apart.
	js := jobs("e", n, l)
	a.push(js...)
	var outcomes []engine.Outcome
	for _, j := range a.take(l) {
		outcomes = append(outcomes, outcome(j, engine.Bury))
	}
	a.works("Bury takes effect", outcomes...)
	all := eventIDs(a.dead(engine.DeadQuery{}))
	for _, size := range []int{1, 4, n, n + 1} {
		var got []string
		for after := ""; len(got) <= n; {
			page := a.dead(engine.DeadQuery{Max: size, After: after})
			if len(page) > size {
				e.Fatalf("Dead must return no more than Max: got %d of %d", len(page), size)
			}
			if len(page) == 0 {
				break
			}
			got = append(got, eventIDs(page)...)
			after = page[len(page)-1].ID
		}
		if !slices.Equal(got, all) {
			e.Fatalf("After must continue a listing behind the dead letter with that ID: pages of %d were %q, want %q", size, got, all)
		}
	}
	if len(all) != n {
		e.Fatalf("Dead must list all of %d dead letters: got %d", n, len(all))
	}
}

func deadDefaultMax(e *env) {
	a, l := e.open(), deliver("lane")
	a.push(jobs("e", 120, l)...)
	var outcomes []engine.Outcome
	for _, j := range a.take(l) {
		outcomes = append(outcomes, outcome(j, engine.Bury))
	}
	a.works("Bury takes effect", outcomes...)
	if got := len(a.dead(engine.DeadQuery{})); got != 100 {
		e.Errorf("Max 0 must mean 100: got %d of 120", got)
	}
	if got := len(a.dead(engine.DeadQuery{Max: 1000})); got != 120 {
		e.Errorf("Dead must return up to Max: got %d of 120", got)
	}
}

func deadRedrive(e *env) {
	a, l := e.open(), deliver("lane")
	for _, id := range []string{"1", "2", "3", "4"} {
		a.bury(event(id), l, "reason")
		e.tick()
	}
	dead := a.deadN(4, engine.DeadQuery{})
	a.redrive(0)
	a.redrive(0, "unknown", "", "*", "1:2", "99999999999999999999")
	a.redrive(2, dead[3].ID, "unknown", dead[1].ID)
	got := a.take(l)
	if s := sorted(ids(got)); !slices.Equal(s, []string{"1", "3"}) {
		e.Fatalf("Redrive must make the dead jobs with the IDs due, and no others: claimed %q, want 1 and 3", s)
	}
	for _, j := range got {
		if j.Attempt != 0 || string(j.History) != "history of "+j.Event.ID {
			e.Errorf("a redriven job must be as if never tried, with its history kept: got attempt %d, history %q", j.Attempt, j.History)
		}
		if err := same(j.Event, event(j.Event.ID)); err != nil {
			e.Errorf("a redriven job must keep its event: %v", err)
		}
	}
	if left := eventIDs(a.dead(engine.DeadQuery{})); !slices.Equal(left, []string{"4", "2"}) {
		e.Errorf("a redriven job must leave the dead letters: there are %q, want 4 and 2", left)
	}
	a.again("pushing a redriven job again is a no-op", event("1"), l)
	a.done(got...)
	a.again("pushing a redriven job again that was done is a no-op within the window", event("1"), l)
	a.none("a redriven job can be done", l)
}

func deadRedriveOnce(e *env) {
	a, l := e.open(), deliver("lane")
	a.bury(event("e"), l, "reason")
	id := a.deadN(1, engine.DeadQuery{})[0].ID
	a.redrive(1, id)
	a.redrive(0, id)
	j := a.one("a redriven job is due once", l)
	a.redrive(0, id)
	a.discard(0, id)
	a.none("a redriven job is due once", l)
	a.done(j)
	a.redrive(0, id)
	a.none("a redriven job that is done is not dead", l)
}

func deadAgain(e *env) {
	a, l := e.open(), deliver("lane")
	a.bury(event("e"), l, "first")
	a.redrive(1, a.deadN(1, engine.DeadQuery{})[0].ID)
	j := a.one("a redriven job is due", l)
	a.works("a redriven job can be buried again", engine.Outcome{Ticket: j.Ticket, Result: engine.Bury, Attempt: 2, History: []byte("second"), Reason: "second"})
	dead := a.dead(engine.DeadQuery{})
	if len(dead) != 1 || dead[0].Reason != "second" || dead[0].Attempt != 2 || string(dead[0].History) != "second" {
		e.Fatalf("a job that is buried again must be one dead letter, with what the last Bury says: got %+v", dead)
	}
	a.redrive(1, dead[0].ID)
	a.one("a job can be redriven again", l)
}

func deadDiscard(e *env) {
	a, l := e.open(), deliver("lane")
	for _, id := range []string{"1", "2", "3"} {
		a.bury(event(id), l, "reason")
		e.tick()
	}
	dead := a.deadN(3, engine.DeadQuery{})
	a.discard(0)
	a.discard(0, "unknown", "", "*")
	a.discard(2, dead[2].ID, "unknown", dead[0].ID)
	if left := eventIDs(a.dead(engine.DeadQuery{})); !slices.Equal(left, []string{"2"}) {
		e.Errorf("Discard must delete the dead jobs with the IDs, and no others: there are %q, want 2", left)
	}
	a.discard(0, dead[0].ID)
	a.redrive(0, dead[0].ID)
	a.none("a discarded job is gone for good", l)
}

// The event of a dead letter is needed though every other job is done.
func deadEvent(e *env) {
	a := e.open()
	ev := event("e")
	ev.Body = []byte("{\"n\": 1.0}\x00")
	t := a.push(
		engine.Job{Event: ev, Lane: deliver("dead"), Lease: long},
		engine.Job{Event: ev, Lane: deliver("done"), Lease: long},
		engine.Job{Event: ev, Lane: deliver("discarded"), Lease: long},
		engine.Job{Event: ev, Lane: deliver("waiting")},
	)
	a.works("outcomes take effect",
		engine.Outcome{Ticket: t[0], Result: engine.Bury, Reason: "kept"},
		engine.Outcome{Ticket: t[2], Result: engine.Bury, Reason: "discarded"},
		engine.Outcome{Ticket: t[1], Result: engine.Done})
	a.discard(1, a.deadN(1, engine.DeadQuery{Reason: "discarded"})[0].ID)
	j := a.one("a waiting job is not disturbed", deliver("waiting"))
	if err := same(j.Event, ev); err != nil {
		e.Errorf("Discard must leave the event to the jobs that need it: %v", err)
	}
	a.done(j)
	dead := a.deadN(1, engine.DeadQuery{})
	if err := same(dead[0].Event, ev); err != nil {
		e.Errorf("a dead letter must keep its event when the other jobs are done: %v", err)
	}
	a.redrive(1, dead[0].ID)
	if err := same(a.one("a redriven job is due", deliver("dead")).Event, ev); err != nil {
		e.Errorf("a redriven job must keep its event: %v", err)
	}
}

func deadMax(e *env) {
	a, l := e.openWith(engine.Retention{DeadMax: 4}), deliver("lane")
	for i := range 9 {
		a.bury(event(fmt.Sprint(i)), l, "reason")
		e.tick()
	}
	var got []string
	e.eventually("no more than DeadMax dead letters are kept, the newest", func() bool {
		got = eventIDs(a.dead(engine.DeadQuery{}))
		if len(got) < 4 || !slices.Equal(got[:4], []string{"8", "7", "6", "5"}) {
			e.Fatalf("the newest DeadMax dead letters must be kept: got %q, want 8, 7, 6, 5", got)
		}
		return len(got) == 4
	})
	a.push(job("still works", l))
	a.one("trimming dead letters leaves the lane alone", l)
}

func deadAge(e *env) {
	const age = time.Second
	a, l := e.openWith(engine.Retention{DeadAge: age}), deliver("lane")
	called := time.Now()
	a.bury(event("e"), l, "reason")
	e.eventually("dead letters are kept for DeadAge", func() bool {
		n := len(a.dead(engine.DeadQuery{}))
		if early := age - time.Since(called); n == 0 && early > clockGrain {
			e.Fatalf("dead letters must be kept for DeadAge: gone %v too early, of %v", early, age)
		}
		return n == 0
	})
}

func deadShared(e *env) {
	a, b, l := e.open(), e.open(), deliver("lane")
	a.bury(event("1"), l, "reason")
	e.tick()
	a.bury(event("2"), l, "reason")
	dead := b.deadN(2, engine.DeadQuery{})
	if got := eventIDs(dead); !slices.Equal(got, []string{"2", "1"}) {
		e.Fatalf("dead letters must be known to every engine on the store: got %q", got)
	}
	b.redrive(1, dead[0].ID)
	b.discard(1, dead[1].ID)
	a.redrive(0, dead[0].ID, dead[1].ID)
	a.one("what one engine redrives the other can claim", l)
}
