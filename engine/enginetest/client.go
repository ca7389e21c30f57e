package enginetest

import (
	"fmt"
	"slices"
	"sort"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// client is an engine whose errors end the check, and whose answers are held
// against the rules that apply to every call.
type client struct {
	engine.Engine
	e         *env
	name      string // A, B … in the order of opening
	abandoned bool
}

func (c *client) push(jobs ...engine.Job) []engine.Ticket {
	c.e.Helper()
	res, err := c.Push(c.e.ctx, engine.PushRequest{Jobs: jobs})
	tickets := res.Tickets
	if err != nil {
		c.e.Fatalf("engine %s: Push of %d jobs: %v", c.name, len(jobs), err)
	}
	if len(tickets) != len(jobs) {
		c.e.Fatalf("Push must return one ticket for each job: got %d for %d jobs", len(tickets), len(jobs))
	}
	for i, job := range jobs {
		if job.Lease <= 0 && tickets[i] != "" {
			c.e.Fatalf("Push must return an empty ticket for a job pushed without a lease: got %q", tickets[i])
		}
	}
	return tickets
}

// pushed reports whether the job was new. It leaves it claimed for long if so.
func (c *client) pushed(ev *engine.Event, lane engine.Lane) bool {
	c.e.Helper()
	return c.push(engine.Job{Event: ev, Lane: lane, Lease: long})[0] != ""
}

func (c *client) claim(req engine.ClaimRequest) engine.ClaimResult {
	c.e.Helper()
	if req.Kind == 0 {
		req.Kind = engine.Deliver
	}
	if req.Max == 0 {
		req.Max = 1000
	}
	if req.MaxPerLane == 0 {
		req.MaxPerLane = 1000
	}
	if req.Lease == 0 {
		req.Lease = long
	}
	res, err := c.Claim(c.e.ctx, req)
	if err != nil {
		c.e.Fatalf("engine %s: Claim: %v", c.name, err)
	}
	if err := allowed(req, res); err != nil {
		c.e.Fatalf("engine %s: Claim(%+v): %v", c.name, req, err)
	}
	return res
}

// allowed says which rule of every Claim an answer breaks, if any.
func allowed(req engine.ClaimRequest, res engine.ClaimResult) error {
	if len(res.Jobs) > req.Max {
		return fmt.Errorf("Claim must not hand out more than Max: got %d", len(res.Jobs))
	}
	perLane := map[string]int{}
	tickets := map[engine.Ticket]bool{}
	for _, j := range res.Jobs {
		switch {
		case j.Event == nil:
			return fmt.Errorf("Claim must hand out every job with its event")
		case j.Lane.Kind != req.Kind:
			return fmt.Errorf("Claim must hand out one kind only: got %v", j.Lane)
		case j.Ticket == "":
			return fmt.Errorf("Claim must hand out every job with a ticket: none for %s in %v", j.Event.ID, j.Lane)
		case tickets[j.Ticket]:
			return fmt.Errorf("Claim must give each job a ticket of its own: %q came twice", j.Ticket)
		case req.Only != nil && !slices.Contains(req.Only, j.Lane.Name):
			return fmt.Errorf("Claim must keep to the lanes of Only: got %v", j.Lane)
		case j.Claims < 1:
			return fmt.Errorf("Claims must count the claim itself: got %d", j.Claims)
		}
		tickets[j.Ticket] = true
		perLane[j.Lane.Name]++
	}
	for name, n := range perLane {
		limit, ok := req.Limits[name]
		if !ok {
			limit = req.MaxPerLane
		}
		if n > limit {
			return fmt.Errorf("Claim must keep to a lane's limit: got %d of %d from %s", n, limit, name)
		}
	}
	return nil
}

// take claims everything that is due in some lanes, or in all of the kind
// Deliver if none is named, for long.
func (c *client) take(lanes ...engine.Lane) []engine.Claimed {
	c.e.Helper()
	return c.claim(in(lanes...)).Jobs
}

// in is the request that take makes.
func in(lanes ...engine.Lane) engine.ClaimRequest {
	req := engine.ClaimRequest{}
	for _, l := range lanes {
		req.Kind = l.Kind
		req.Only = append(req.Only, l.Name)
	}
	return req
}

// takeN claims everything that is due in some lanes, which must be n jobs.
func (c *client) takeN(n int, lanes ...engine.Lane) []engine.Claimed {
	c.e.Helper()
	jobs := c.take(lanes...)
	if len(jobs) != n {
		c.e.Fatalf("Claim must hand out every due job: engine %s claimed %s, want %d", c.name, list(jobs), n)
	}
	return jobs
}

// one claims the only job that is due in the lanes.
func (c *client) one(rule string, lanes ...engine.Lane) engine.Claimed {
	c.e.Helper()
	return c.oneOf(rule, in(lanes...))
}

func (c *client) oneOf(rule string, req engine.ClaimRequest) engine.Claimed {
	c.e.Helper()
	jobs := c.claim(req).Jobs
	if len(jobs) != 1 {
		c.e.Fatalf("%s: engine %s claimed %s, want one job", rule, c.name, list(jobs))
	}
	return jobs[0]
}

// none makes sure that nothing is due in the lanes.
func (c *client) none(rule string, lanes ...engine.Lane) {
	c.e.Helper()
	if jobs := c.take(lanes...); len(jobs) != 0 {
		c.e.Fatalf("%s: engine %s claimed %s, want nothing", rule, c.name, list(jobs))
	}
}

// soon claims the only job of the lanes as soon as it is due. It must not be
// due before d after called: the moment before the call that said so.
func (c *client) soon(rule string, called time.Time, d time.Duration, lanes ...engine.Lane) engine.Claimed {
	c.e.Helper()
	return c.soonOf(rule, called, d, in(lanes...))
}

func (c *client) soonOf(rule string, called time.Time, d time.Duration, req engine.ClaimRequest) engine.Claimed {
	c.e.Helper()
	var jobs []engine.Claimed
	c.e.eventually(rule, func() bool {
		c.e.asks(func() { jobs = c.claim(req).Jobs })
		return len(jobs) > 0
	})
	if early := d - time.Since(called); early > c.e.grain() {
		c.e.Fatalf("%s: claimed %s %v too early, of %v", rule, list(jobs), early, d)
	}
	if len(jobs) != 1 {
		c.e.Fatalf("%s: engine %s claimed %s, want one job", rule, c.name, list(jobs))
	}
	return jobs[0]
}

func (c *client) settle(outcomes ...engine.Outcome) []engine.Settled {
	c.e.Helper()
	settled, err := c.Settle(c.e.ctx, outcomes)
	if err != nil {
		c.e.Fatalf("engine %s: Settle of %d outcomes: %v", c.name, len(outcomes), err)
	}
	if len(settled) != len(outcomes) {
		c.e.Fatalf("Settle must return one entry for each outcome: got %d for %d", len(settled), len(outcomes))
	}
	for i, s := range settled {
		if s.OK && len(s.Follow) != len(outcomes[i].Follow) {
			c.e.Fatalf("Settled.Follow must have one ticket for each follow-up: got %d for %d", len(s.Follow), len(outcomes[i].Follow))
		}
		if s.OK && outcomes[i].Result == engine.Extend && s.Ticket == "" {
			c.e.Fatalf("Extend must give a new ticket")
		}
	}
	return settled
}

// works settles outcomes that must all take effect.
func (c *client) works(rule string, outcomes ...engine.Outcome) []engine.Settled {
	c.e.Helper()
	settled := c.settle(outcomes...)
	for i, s := range settled {
		if !s.OK {
			c.e.Fatalf("%s: engine %s: outcome %d, %s, was reported stale", rule, c.name, i, name(outcomes[i].Result))
		}
	}
	return settled
}

// stale settles outcomes that must all be ignored.
func (c *client) stale(rule string, outcomes ...engine.Outcome) {
	c.e.Helper()
	for i, s := range c.settle(outcomes...) {
		if s.OK {
			c.e.Fatalf("%s: engine %s: outcome %d, %s, was reported OK", rule, c.name, i, name(outcomes[i].Result))
		}
	}
}

func (c *client) done(jobs ...engine.Claimed) {
	c.e.Helper()
	var outcomes []engine.Outcome
	for _, j := range jobs {
		outcomes = append(outcomes, engine.Outcome{Ticket: j.Ticket, Result: engine.Done})
	}
	c.works("Done with a good ticket takes effect", outcomes...)
}

func (c *client) lift(lane engine.Lane) { c.e.Helper(); c.deferFor(lane, 0) }

func (c *client) deferFor(lane engine.Lane, d time.Duration) {
	c.e.Helper()
	if err := c.Defer(c.e.ctx, lane, d); err != nil {
		c.e.Fatalf("engine %s: Defer(%v, %v): %v", c.name, lane, d, err)
	}
}

func (c *client) close() {
	c.e.Helper()
	if err := c.Close(); err != nil {
		c.e.Fatalf("engine %s: Close: %v", c.name, err)
	}
}

// abandon drops the engine as a crash would.
func (c *client) abandon() {
	c.abandoned = true
	if c.e.h.Abandon != nil {
		c.e.h.Abandon(c.Engine)
	}
}

// results are all of them, for rules that hold for each.
var results = []engine.Result{engine.Done, engine.Retry, engine.Bury, engine.Release, engine.Extend}

func name(r engine.Result) string {
	switch r {
	case engine.Done:
		return "Done"
	case engine.Retry:
		return "Retry"
	case engine.Bury:
		return "Bury"
	case engine.Release:
		return "Release"
	case engine.Extend:
		return "Extend"
	}
	return fmt.Sprintf("Result(%d)", r)
}

const channel = "users.updated.v1"

func event(id string) *engine.Event {
	return &engine.Event{ID: id, Channel: channel, Body: []byte(`{"event_id":"` + id + `"}`), Meta: []byte("meta of " + id)}
}

func deliver(name string) engine.Lane { return engine.Lane{Kind: engine.Deliver, Name: name} }

func job(id string, lane engine.Lane) engine.Job { return engine.Job{Event: event(id), Lane: lane} }

// jobs are n jobs in one lane, with IDs of prefix and a number.
func jobs(prefix string, n int, lane engine.Lane) []engine.Job {
	var js []engine.Job
	for i := range n {
		js = append(js, job(fmt.Sprintf("%s%d", prefix, i), lane))
	}
	return js
}

func outcome(j engine.Claimed, r engine.Result) engine.Outcome {
	return engine.Outcome{Ticket: j.Ticket, Result: r}
}

// ids are the event IDs of jobs, in order.
func ids(js []engine.Claimed) []string {
	s := make([]string, 0, len(js))
	for _, j := range js {
		s = append(s, j.Event.ID)
	}
	return s
}

func sorted(s []string) []string {
	s = slices.Clone(s)
	sort.Strings(s)
	return s
}

func perLane(js []engine.Claimed) map[string]int {
	n := map[string]int{}
	for _, j := range js {
		n[j.Lane.Name]++
	}
	return n
}

// list shows jobs in a message, not too many of them.
func list(js []engine.Claimed) string {
	s := fmt.Sprintf("%d jobs", len(js))
	for i, j := range js {
		if i == 8 {
			return s + " …"
		}
		s += fmt.Sprintf(" %.40q@%.40q", j.Event.ID, j.Lane.Name)
	}
	return s
}

// same compares events byte by byte. Nil bytes are empty ones.
func same(got, want *engine.Event) error {
	switch {
	case got == nil:
		return fmt.Errorf("no event")
	case got.ID != want.ID:
		return fmt.Errorf("ID %q became %q", want.ID, got.ID)
	case got.Replay != want.Replay:
		return fmt.Errorf("replay mark %q became %q", want.Replay, got.Replay)
	case got.Channel != want.Channel:
		return fmt.Errorf("channel %q became %q", want.Channel, got.Channel)
	case string(got.Meta) != string(want.Meta):
		return fmt.Errorf("Meta %.60q became %.60q", want.Meta, got.Meta)
	case string(got.Body) != string(want.Body):
		return fmt.Errorf("body of %d bytes %.60q became %d bytes %.60q", len(want.Body), want.Body, len(got.Body), got.Body)
	}
	return nil
}
