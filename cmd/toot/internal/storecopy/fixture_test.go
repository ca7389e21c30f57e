package storecopy_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/storecopy"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

const (
	channel = "org.example.shop.orders"
	realm   = "org.example.shop.toot.auth.credentials_store"
)

func handle(name string) engine.Lane  { return engine.Lane{Kind: engine.Handle, Name: name} }
func deliver(name string) engine.Lane { return engine.Lane{Kind: engine.Deliver, Name: name} }

func event(id string) *engine.Event {
	return &engine.Event{ID: id, Channel: channel, Body: []byte(`{"of":"` + id + `"}`), Meta: []byte("meta\x00\xff")}
}

// fill puts something of everything into a store.
func fill(t *testing.T, s anyengine.Store) {
	t.Helper()
	ctx := t.Context()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	add := func(channel, url string, lease time.Duration) {
		t.Helper()
		_, err := s.AddSubscriber(ctx, channel, url, lease)
		must(err)
	}
	set := func(group, name, value string, keep time.Duration) {
		t.Helper()
		_, err := s.SwapAttribute(ctx, group, name, nil, []byte(value), keep)
		must(err)
	}
	add(channel, "https://a.example/cb", 0)
	add(channel, "https://b.example/cb", time.Hour)
	add("org.example.shop.users", "https://a.example/cb", 0)
	set("signing", "https://a.example/cb", "whsec_secret\x00\xff", 0)
	set("consent:"+channel, "https://a.example/cb", "2026-11-01T00:00:00Z", 0)
	set("rights:"+realm, "ann", `{"operator":true}`, 0)
	set("owners", channel+"\nhttps://b.example/cb", "ann", 2*time.Hour)
	must(engine.SetLaneTerms(ctx, s, deliver("https://b.example/cb"), engine.LaneTerms{Paused: true}))
	must(s.PutCredential(ctx, realm, "ann", []byte("proof \x00\xff")))
	must(s.PutCredential(ctx, realm, "ben", []byte("another")))

	shared := event("shared")
	replayed := event("replayed")
	replayed.Replay = "mark"
	retried := func(after time.Duration, attempt int) *engine.Outcome {
		return &engine.Outcome{Result: engine.Retry, After: after, Attempt: attempt, History: []byte(fmt.Sprintf(`{"tries":%d}`, attempt))}
	}
	jobs := []engine.Job{
		{Event: event("published"), Lane: engine.Lane{Kind: engine.FanOut, Name: channel}},
		{Event: event("half"), Lane: engine.Lane{Kind: engine.FanOut, Name: channel}, Past: &engine.Outcome{Result: engine.Release, History: []byte(`{"after":"aHR0cA=="}`)}},
		{Event: shared, Lane: deliver("https://a.example/cb")},
		{Event: shared, Lane: deliver("https://b.example/cb")},
		{Event: replayed, Lane: handle("orders")},
		{Event: event("retried"), Lane: deliver("https://a.example/cb"), Past: retried(2*time.Hour, 3), Age: 24 * time.Hour},
		{Event: event("again"), Lane: deliver("https://a.example/cb"), Past: retried(0, 2), Age: time.Hour},
		{Event: event("scheduled"), Lane: engine.Lane{Kind: engine.FanOut, Name: channel + " later"}, Delay: 48 * time.Hour},
	}
	for i := range 7 {
		jobs = append(jobs, engine.Job{Event: event(fmt.Sprint("in-order-", i)), Lane: handle("in order")})
	}
	for i := range 3 {
		jobs = append(jobs, engine.Job{
			Event: event(fmt.Sprint("dead-", i)), Lane: handle("orders"), Age: 100 * time.Hour,
			Past: &engine.Outcome{Result: engine.Bury, Attempt: 26, History: []byte("h"), Reason: fmt.Sprint("status 41", i)},
		})
	}
	for i := range jobs {
		_, err := s.Push(ctx, engine.PushRequest{Jobs: jobs[i : i+1]})
		must(err)
	}
	must(s.Defer(ctx, deliver("https://a.example/cb"), 30*time.Minute))
}

// said is what a store has, in words, without what may differ by a little: times
// are in hours, rounded, and jobs that are due now say so.
func said(t *testing.T, s anyengine.Store) string {
	t.Helper()
	ctx := t.Context()
	var lines []string
	line := func(format string, args ...any) { lines = append(lines, fmt.Sprintf(format, args...)) }
	fatal := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	hours := func(d time.Duration) time.Duration { return d.Round(time.Hour) }
	channels, err := s.Channels(ctx, "org.example.")
	fatal(err)
	for channel := range channels {
		all, err := s.Registrations(ctx, channel)
		fatal(err)
		for _, r := range all {
			line("subscriber %s of %s for %v", r.CallbackURL, channel, hours(r.Left))
		}
	}
	groups, err := s.AttributeGroups(ctx)
	fatal(err)
	for _, group := range groups {
		all, err := s.Attributes(ctx, group)
		fatal(err)
		for name, a := range all {
			if group != "store-copy" {
				line("attribute %q %q %q for %v", group, name, a.Value, hours(a.Left))
			}
		}
	}
	realms, err := s.Realms(ctx, "org.example.")
	fatal(err)
	for _, realm := range realms {
		names, err := s.Usernames(ctx, realm)
		fatal(err)
		for _, name := range names {
			proof, err := s.Credential(ctx, realm, name)
			fatal(err)
			line("user %s of %s: %q", name, realm, proof)
		}
	}
	dead, err := s.Dead(ctx, engine.DeadQuery{})
	fatal(err)
	for i, d := range dead {
		line("dead %d %s %v %d %q %q %v", i, d.Event.ID, d.Lane, d.Attempt, d.History, d.Reason, hours(d.Age))
	}
	var lanes []engine.Lane
	stats, err := s.Lanes(ctx)
	fatal(err)
	for _, l := range stats {
		if l.Leased > 0 {
			line("leased %v %d", l.Lane, l.Leased)
		}
		lanes = append(lanes, l.Lane)
		if l.Deferred > 0 {
			line("deferred %v for %v", l.Lane, l.Deferred.Round(30*time.Minute))
			fatal(s.Defer(ctx, l.Lane, 0))
			defer func() { fatal(s.Defer(ctx, l.Lane, l.Deferred)) }()
		}
	}
	for _, lane := range lanes {
		later, err := s.Later(ctx, lane, time.Minute, 1000)
		fatal(err)
		for _, j := range later {
			line("later %v %s %q %q %q %q %d %q %v due in %v", lane, j.Event.ID, j.Event.Replay, j.Event.Channel, j.Event.Body, j.Event.Meta, j.Attempt, j.History, hours(j.Age), hours(j.Due))
		}
		due, err := s.Claim(ctx, engine.ClaimRequest{Kind: lane.Kind, Only: []string{lane.Name}, Max: 1000, MaxPerLane: 1000, Lease: time.Hour})
		fatal(err)
		outcomes := make([]engine.Outcome, len(due.Jobs))
		for i, j := range due.Jobs {
			line("due %v %d %s %q %q %q %q %d %q %v", lane, i, j.Event.ID, j.Event.Replay, j.Event.Channel, j.Event.Body, j.Event.Meta, j.Attempt, j.History, hours(j.Age))
			outcomes[i] = engine.Outcome{Ticket: j.Ticket, Result: engine.Release}
		}
		_, err = s.Settle(ctx, outcomes)
		fatal(err)
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// isMoved makes sure that a store has everything that another one had, which keeps
// what is copied and nothing of what is moved.
func isMoved(t *testing.T, want string, from, to anyengine.Store) {
	t.Helper()
	if got := said(t, to); got != want {
		t.Errorf("the second store has not what the first had. It has\n%s\n\nand should have\n%s", got, want)
	}
	var stays []string
	for line := range strings.SplitSeq(want, "\n") {
		switch kind, _, _ := strings.Cut(line, " "); kind {
		case "subscriber", "attribute", "user":
			stays = append(stays, line)
		}
	}
	if got := said(t, from); got != strings.Join(stays, "\n") {
		t.Errorf("the first store has\n%s\n\nand should have\n%s", got, strings.Join(stays, "\n"))
	}
}

// wanted is what copying fill's store comes to.
var wanted = storecopy.Counts{
	Subscribers: storecopy.Copied{New: 3}, Attributes: storecopy.Copied{New: 5}, Users: storecopy.Copied{New: 2},
	Due: storecopy.Jobs{FanOut: 2, Deliver: 3, Handle: 8}, Later: storecopy.Jobs{FanOut: 1, Deliver: 1}, Dead: storecopy.Jobs{Handle: 3},
}

// filled returns a store with something of everything, and what it has.
func filled(t *testing.T, s anyengine.Store) string {
	t.Helper()
	fill(t, s)
	return said(t, s)
}
