package storecopy_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/storecopy"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/internal/testing/faultengine"
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
	page, err := s.LanePage(ctx, engine.LaneQuery{Max: 1000})
	fatal(err)
	for _, l := range page {
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

func TestEverythingIsMovedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := memengine.New(), memengine.New()
		want := filled(t, from)
		seen, err := storecopy.Look(t.Context(), from, storecopy.Options{})
		if err != nil || seen != wanted {
			t.Errorf("looking sees %+v, %v, want %+v", seen, err, wanted)
		}
		last := storecopy.Counts{}
		counts, err := storecopy.Copy(t.Context(), from, to, storecopy.Options{Progress: func(c storecopy.Counts) { last = c }})
		if err != nil || counts != wanted || last != counts {
			t.Errorf("moved %+v, %v, want %+v; progress said %+v", counts, err, wanted, last)
		}
		isMoved(t, want, from, to)

		counts, err = storecopy.Copy(t.Context(), from, to, storecopy.Options{})
		again := storecopy.Counts{Subscribers: storecopy.Copied{Known: 3}, Attributes: storecopy.Copied{Known: 5}, Users: storecopy.Copied{Known: 2}}
		if err != nil || counts != again {
			t.Errorf("the second time %+v was moved, %v, want %+v", counts, err, again)
		}
		isMoved(t, want, from, to)
	})
}

// TestInterruptedAnywhere: whichever call of either store fails, or takes effect
// without an answer, another run goes on to the same end.
func TestInterruptedAnywhere(t *testing.T) {
	for _, late := range []bool{false, true} {
		for call, failed := int64(1), true; failed; call++ {
			synctest.Test(t, func(t *testing.T) {
				from, to := memengine.New(), memengine.New()
				want := filled(t, from)
				failed = interrupted(t, want, from, to, call, late)
			})
		}
	}
}

// interrupted copies with a fault at one call, and again without. It reports whether
// there were so many calls.
func interrupted(t *testing.T, want string, from, to anyengine.Store, call int64, late bool) (failed bool) {
	t.Helper()
	var calls atomic.Int64
	script := func(faultengine.Call) faultengine.Fault {
		if calls.Add(1) == call {
			return faultengine.Fault{Err: faultengine.ErrInjected, Late: late}
		}
		return faultengine.Fault{}
	}
	faultyFrom, faultyTo := faultengine.Wrap(from), faultengine.Wrap(to)
	faultyFrom.Play(script)
	faultyTo.Play(script)
	first, err := storecopy.Copy(t.Context(), faultyFrom, faultyTo, storecopy.Options{})
	if err == nil && calls.Load() >= call || err != nil && !errors.Is(err, faultengine.ErrInjected) {
		t.Errorf("call %d failed (late: %v), and the error is %v", call, late, err)
	}
	if failed = err != nil; !failed {
		isMoved(t, want, from, to)
		return failed
	}
	second, err := storecopy.Copy(t.Context(), from, to, storecopy.Options{Wait: 2 * storecopy.DefaultLease})
	if err != nil || second.Held+second.Soon+second.Doubled > 0 {
		t.Errorf("call %d failed (late: %v); after that: %+v, %v", call, late, second, err)
	}
	if total := first.Moved() + second.Moved(); !late && total != wanted.Moved() {
		t.Errorf("call %d failed: %d jobs were moved before, and %d after, of %d", call, first.Moved(), second.Moved(), wanted.Moved())
	}
	isMoved(t, want, from, to)
	return failed
}
