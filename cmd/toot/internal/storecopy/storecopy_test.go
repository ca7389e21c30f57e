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

// set changes or, with an empty value, removes an attribute.
func set(t *testing.T, s anyengine.Store, group, name, value string) {
	t.Helper()
	old, err := s.Attribute(t.Context(), group, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := s.SwapAttribute(t.Context(), group, name, old.Value, []byte(value), 0); err != nil {
		t.Fatal(err)
	}
}

// TestWhatIsChangedThereStays: of what has been copied, the second store's is left as
// it is where it was changed or removed there, and follows the first one's otherwise.
func TestWhatIsChangedThereStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := memengine.New(), memengine.New()
		fill(t, from)
		ctx := t.Context()
		copyAgain := func() {
			t.Helper()
			time.Sleep(time.Second)
			if _, err := storecopy.Copy(ctx, from, to, storecopy.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		must := func(_ bool, err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"removed", "changed there", "changed here", "changed in both"} {
			set(t, from, "group", name, "first")
		}
		copyAgain()
		set(t, to, "group", "removed", "")
		set(t, to, "group", "changed there", "there")
		set(t, from, "group", "changed here", "here")
		set(t, from, "group", "changed in both", "here")
		set(t, to, "group", "changed in both", "there")
		must(to.RemoveCredential(ctx, realm, "ann"))
		must(false, from.PutCredential(ctx, realm, "ben", []byte("new password")))
		must(to.RemoveSubscriber(ctx, channel, "https://a.example/cb", 0))
		must(to.RemoveSubscriber(ctx, channel, "https://b.example/cb", 0))
		copyAgain()
		must(from.AddSubscriber(ctx, channel, "https://b.example/cb", time.Hour)) // registers again
		must(from.AddSubscriber(ctx, "org.example.shop.users", "https://new.example/cb", 0))
		copyAgain()

		all, err := to.Attributes(ctx, "group")
		if err != nil || len(all) != 3 {
			t.Errorf("%v, %v", all, err)
		}
		for name, want := range map[string]string{"removed": "", "changed there": "there", "changed here": "here", "changed in both": "there"} {
			if got := string(all[name].Value); got != want {
				t.Errorf("what was %s is %q, want %q", name, got, want)
			}
		}
		for name, want := range map[string]string{"ann": "", "ben": "new password"} {
			if proof, err := to.Credential(ctx, realm, name); err != nil || string(proof) != want {
				t.Errorf("%s has %q, %v, want %q", name, proof, err, want)
			}
		}
		channels, err := to.Channels(ctx, "")
		want := map[string][]string{channel: {"https://b.example/cb"}, "org.example.shop.users": {"https://a.example/cb", "https://new.example/cb"}}
		if err != nil || fmt.Sprint(channels) != fmt.Sprint(want) {
			t.Errorf("subscribed are %v, %v, want %v", channels, err, want)
		}
	})
}

// TestJobsThatAreWorkedOn are waited for, and left where they are if that takes too
// long.
func TestJobsThatAreWorkedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := memengine.New(), memengine.New()
		ctx := t.Context()
		push := func(jobs ...engine.Job) []engine.Ticket {
			t.Helper()
			res, err := from.Push(ctx, engine.PushRequest{Jobs: jobs})
			if err != nil {
				t.Fatal(err)
			}
			return res.Tickets
		}
		copyFor := func(wait time.Duration, want storecopy.Counts) {
			t.Helper()
			counts, err := storecopy.Copy(ctx, from, to, storecopy.Options{Wait: wait})
			if err != nil || counts != want {
				t.Errorf("moved %+v, %v, want %+v", counts, err, want)
			}
		}
		held := push(engine.Job{Event: event("held"), Lane: handle("h"), Lease: 5 * time.Minute})
		push(engine.Job{Event: event("soon"), Lane: handle("h"), Delay: 30 * time.Second})
		copyFor(0, storecopy.Counts{Held: 1, Soon: 1})
		copyFor(time.Minute, storecopy.Counts{Held: 1, Due: storecopy.Jobs{Handle: 1}})

		// It is done, and the copy ends when it is.
		began := time.Now()
		go func() {
			time.Sleep(2 * time.Minute)
			if _, err := from.Settle(ctx, []engine.Outcome{{Ticket: held[0], Result: engine.Done}}); err != nil {
				t.Error(err)
			}
		}()
		copyFor(time.Hour, storecopy.Counts{})
		if took := time.Since(began); took > 3*time.Minute {
			t.Errorf("the copy ended %v later", took)
		}
	})
}

// TestBackAgain: a store out of which jobs were moved knows them, and is not given
// them back while it would take them for done.
func TestBackAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := memengine.New(), memengine.New()
		want := filled(t, from)
		back := func(opts storecopy.Options) error {
			_, err := storecopy.Copy(t.Context(), to, from, opts)
			return err
		}
		if _, err := storecopy.Copy(t.Context(), from, to, storecopy.Options{}); err != nil {
			t.Fatal(err)
		}
		var moved *storecopy.MovedAwayError
		if err := back(storecopy.Options{}); !errors.As(err, &moved) || moved.Left < 2*engine.DefaultDedupe {
			t.Errorf("jobs are moved back: %v", err)
		}
		if err := back(storecopy.Options{WithoutJobs: true}); err != nil {
			t.Error(err)
		}
		if got := said(t, to); got != want {
			t.Errorf("what was refused has changed\n%s", got)
		}
		time.Sleep(moved.Left)
		before := said(t, to)
		if err := back(storecopy.Options{Wait: time.Hour}); err != nil {
			t.Errorf("jobs are not moved back: %v", err)
		}
		lines := func(text, kind string) int { return strings.Count("\n"+text, "\n"+kind+" ") }
		for _, kind := range []string{"due", "later", "dead"} {
			if got, want := lines(said(t, from), kind), lines(before, kind); got != want {
				t.Errorf("%d jobs that are %s came back, of %d", got, kind, want)
			}
		}
	})
}

func TestOneStoreIsNotCopied(t *testing.T) {
	s := memengine.NewStore()
	if _, err := storecopy.Copy(t.Context(), s.Open(engine.Retention{}), s.Open(engine.Retention{}), storecopy.Options{}); !errors.Is(err, storecopy.ErrSame) {
		t.Errorf("a store was copied into itself: %v", err)
	}
}

// TestManyJobs are moved in parts, in order, and so are large ones.
func TestManyJobs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		from, to := memengine.New(), memengine.New()
		const n = 900
		var jobs []engine.Job
		for i := range n {
			ev := event(fmt.Sprintf("%04d", i))
			ev.Body = make([]byte, 100<<10*(i%2))
			job := engine.Job{Event: ev, Lane: handle("due")}
			switch i % 3 {
			case 1:
				job.Lane, job.Delay = handle("later"), time.Hour+time.Duration(i)*time.Second
			case 2:
				job.Lane, job.Past = handle("dead"), &engine.Outcome{Result: engine.Bury, Reason: "r"}
			}
			jobs = append(jobs, job)
		}
		if _, err := from.Push(t.Context(), engine.PushRequest{Jobs: jobs}); err != nil {
			t.Fatal(err)
		}
		most, largest := 0, 0 // jobs and bytes stored at once
		counting := faultengine.Wrap(to)
		counting.Play(func(c faultengine.Call) faultengine.Fault {
			size := 0
			for _, j := range c.Jobs {
				size += len(j.Event.Body)
			}
			most, largest = max(most, len(c.Jobs)), max(largest, size)
			return faultengine.Fault{}
		})
		counts, err := storecopy.Copy(t.Context(), from, counting, storecopy.Options{})
		if err != nil || counts.Moved() != n || most < 100 || largest > 10<<20 {
			t.Errorf("moved %d jobs, %d at once, %d bytes, %v", counts.Moved(), most, largest, err)
		}
		var order []string
		due, err := to.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Handle, Max: n, MaxPerLane: n, Lease: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range due.Jobs {
			order = append(order, j.Event.ID)
		}
		later, err := to.Later(t.Context(), handle("later"), 0, n)
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range later {
			order = append(order, j.Event.ID)
		}
		dead, err := to.Dead(t.Context(), engine.DeadQuery{Max: n})
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range slices.Backward(dead) {
			order = append(order, d.Event.ID)
		}
		parts := [][]string{order[:len(due.Jobs)], order[len(due.Jobs) : len(due.Jobs)+len(later)], order[len(due.Jobs)+len(later):]}
		for _, part := range parts {
			if !slices.IsSorted(part) || len(part) < n/3 {
				t.Errorf("%d jobs are not in order: %v", len(part), part)
			}
		}
	})
}
