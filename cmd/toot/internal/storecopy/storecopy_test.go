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
