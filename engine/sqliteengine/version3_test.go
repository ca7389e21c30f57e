package sqliteengine

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// What testdata/version3/make_test.go has put into the file.
const (
	oldA, oldB, oldC = "https://a.example.org/", "https://b.example.org/", "https://c.example.org/"
	oldChannel       = "org.example.shop.ordered"
	oldFanOut        = "019b7c5e-6c00-7abc-8def-0123456789ab"
)

// openVersion3 opens a copy of the file some seconds after it was left.
func openVersion3(t *testing.T) (*Engine, *fakeClock) {
	t.Helper()
	content, err := os.ReadFile("testdata/version3/version3.db")
	if err != nil {
		t.Fatal(err)
	}
	file := tempFile(t)
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	clock := newFakeClock()
	clock.wall = time.Date(2026, 1, 2, 4, 1, 5, 0, time.UTC)
	return open(t, file, &Options{Time: clock.read}), clock
}

func oldJob(id, url string) engine.Job {
	return engine.Job{
		Event: &engine.Event{ID: id, Channel: oldChannel, Body: []byte(`{"id":"` + id + `"}`), Meta: []byte("meta")},
		Lane:  engine.Lane{Kind: engine.Deliver, Name: url},
		Lease: time.Minute,
	}
}

// fresh reports which of the jobs were new.
func fresh(t *testing.T, e *Engine, jobs ...engine.Job) []string {
	t.Helper()
	var ids []string
	for i, ticket := range push(t, e, jobs) {
		if ticket != "" {
			ids = append(ids, jobs[i].Event.ID)
		}
	}
	return ids
}

// claimedIDs claims everything that is due and checks what is in the events.
func claimedIDs(t *testing.T, e *Engine, kind engine.Kind) (ids []string, byID map[string]engine.Claimed) {
	t.Helper()
	byID = map[string]engine.Claimed{}
	for _, j := range claimAll(t, e, kind) {
		want := oldJob(j.Event.ID, j.Lane.Name).Event
		if j.Event.Channel != want.Channel || j.Event.Replay != "" || string(j.Event.Body) != string(want.Body) || string(j.Event.Meta) != string(want.Meta) {
			t.Errorf("an event is not as it was: %+v", j.Event)
		}
		id := j.Event.ID + " " + j.Lane.Name
		ids, byID[id] = append(ids, id), j
	}
	slices.Sort(ids)
	return ids, byID
}

func wantIDs(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if want = slices.Sorted(slices.Values(want)); !slices.Equal(got, want) {
		t.Errorf("%s: %q, want %q", what, got, want)
	}
}

func TestWhatWaitsInAFileOfVersion3(t *testing.T) {
	t.Parallel()
	e, clock := openVersion3(t)
	now, _ := claimedIDs(t, e, engine.Deliver)
	wantIDs(t, "due now", now, "waiting-late "+oldA, "leased-died "+oldB, oldFanOut+" "+oldB)
	clock.add(10 * time.Minute)
	later, jobs := claimedIDs(t, e, engine.Deliver)
	wantIDs(t, "due in ten minutes", later, append(now, "retrying "+oldB)...)
	if j := jobs["retrying "+oldB]; j.Attempt != 3 || string(j.History) != "history" {
		t.Errorf("the job that is tried again has attempt %d and history %q", j.Attempt, j.History)
	}
	if got := since(0, e.clock.now()) - jobs["waiting-late "+oldA].Age; time.UnixMicro(got.Microseconds()).UTC().Format("15:04") != "04:01" {
		t.Errorf("a job's age says that it was pushed at %v", time.UnixMicro(got.Microseconds()).UTC())
	}
	clock.add(10 * time.Minute)
	later, _ = claimedIDs(t, e, engine.Deliver)
	wantIDs(t, "due in twenty minutes", later, append(now, "retrying "+oldB, "deferred "+oldC)...)
	clock.add(10 * time.Minute)
	later, _ = claimedIDs(t, e, engine.Deliver)
	wantIDs(t, "due in half an hour", later, append(now, "retrying "+oldB, "deferred "+oldC, "leased-closed "+oldB)...)
	clock.add(30 * time.Minute)
	later, jobs = claimedIDs(t, e, engine.Deliver)
	wantIDs(t, "due in an hour", later,
		append(now, "retrying "+oldB, "deferred "+oldC, "leased-closed "+oldB, "delayed "+oldA, "waiting-early "+oldA)...)
	tickets := make([]engine.Ticket, 0, len(jobs))
	for _, j := range jobs {
		tickets = append(tickets, j.Ticket)
	}
	if n := settleAll(t, e, tickets, engine.Outcome{Result: engine.Done}); n != len(later) {
		t.Errorf("%d of %d jobs could be settled", n, len(later))
	}
	page, err := e.LanePage(t.Context(), engine.LaneQuery{})
	if err != nil || len(page) != 1 || page[0].Lane.Kind != engine.FanOut || page[0].Jobs != 1 {
		t.Errorf("lanes %+v, error %v; want that of the fan-out alone", page, err)
	}
}

func TestAFanOutOfAFileOfVersion3GoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	e, _ := openVersion3(t)
	jobs := claimAll(t, e, engine.FanOut)
	if len(jobs) != 1 || jobs[0].Event.ID != oldFanOut || jobs[0].Claims != 2 {
		t.Fatalf("got %+v", jobs)
	}
	var follow []engine.Job
	for _, url := range []string{oldA, oldB, oldC} {
		follow = append(follow, engine.Job{Lane: engine.Lane{Kind: engine.Deliver, Name: url}, Lease: time.Minute})
	}
	settled, err := e.Settle(t.Context(), []engine.Outcome{{Ticket: jobs[0].Ticket, Result: engine.Done, Follow: follow}})
	if err != nil || !settled[0].OK {
		t.Fatal(settled, err)
	}
	if f := settled[0].Follow; f[0] != "" || f[1] != "" || f[2] == "" {
		t.Errorf("tickets %q, want one for the third subscriber alone: the others have the event", f)
	}
}

func TestWhatWasDoneInAFileOfVersion3IsNotDoneAgain(t *testing.T) {
	t.Parallel()
	e, clock := openVersion3(t)
	known := []engine.Job{
		oldJob("done-early", oldA), oldJob("done-late", oldA), oldJob("dead", oldB),
		oldJob("waiting-early", oldA), oldJob("waiting-late", oldA), oldJob(oldFanOut, oldA), oldJob(oldFanOut, oldB),
	}
	if got := fresh(t, e, known...); got != nil {
		t.Errorf("pushed again after the upgrade, %q are new", got)
	}
	again := oldJob("done-late", oldA)
	again.Event.Replay = "again"
	if got := fresh(t, e, again, again, oldJob("new", oldA), oldJob("new", oldA)); !slices.Equal(got, []string{"done-late", "new"}) {
		t.Errorf("new are %q, want what is replayed and what is new, once each", got)
	}

	// The generations in which there are old keys come to their end, and what
	// waits is known for as long as it waits.
	clock.add(61 * time.Minute)
	if got := fresh(t, e, known...); !slices.Equal(got, []string{"done-early"}) {
		t.Errorf("after a window, %q are new; want what was done two hours ago", got)
	}
	clock.add(61 * time.Minute)
	if got := fresh(t, e, known...); !slices.Equal(got, []string{"done-late", "dead", oldFanOut}) {
		t.Errorf("after two windows, %q are new; want what was done", got)
	}
	inWriter(t, e, func(w *writer) error {
		if w.seen.oldKeys != 0 {
			t.Errorf("keys of version 3 are looked for after two windows")
		}
		return nil
	})
}

func TestWhatElseIsInAFileOfVersion3(t *testing.T) {
	t.Parallel()
	e, _ := openVersion3(t)
	ctx := t.Context()
	channels, err := e.Channels(ctx, "")
	if err != nil || !slices.Equal(channels[oldChannel], []string{oldA, oldB, oldC}) {
		t.Errorf("channels %v, error %v", channels, err)
	}
	if removed, err := e.RemoveSubscriber(ctx, oldChannel, oldC, 24*time.Hour); !removed || err != nil {
		t.Errorf("RemoveSubscriber: %v, %v; want a registration of unknown age to be old", removed, err)
	}
	if proof, err := e.Credential(ctx, "realm", "user"); string(proof) != "proof" || err != nil {
		t.Errorf("Credential: %q, %v", proof, err)
	}
	if a, err := e.Attribute(ctx, "group", "name"); string(a.Value) != "value" || a.Age < 10_000*time.Hour || a.Left != 0 || err != nil {
		t.Errorf("Attribute: %+v, %v", a, err)
	}
	if kept, err := e.Remember(ctx, "key", []byte("other"), time.Hour); string(kept) != "value" || err != nil {
		t.Errorf("Remember: %q, %v", kept, err)
	}
	dead, err := e.Dead(ctx, engine.DeadQuery{})
	if err != nil || len(dead) != 1 {
		t.Fatal(dead, err)
	}
	if d := dead[0]; d.Event.ID != "dead" || d.Event.Replay != "" || d.Attempt != 21 || string(d.History) != "history" || d.Reason != "HTTP 410" || d.Lane.Name != oldB {
		t.Errorf("the dead letter is not as it was: %+v", d)
	}
	if n, err := e.Redrive(ctx, []string{dead[0].ID}); n != 1 || err != nil {
		t.Errorf("Redrive: %d, %v", n, err)
	}
	page, err := e.LanePage(ctx, engine.LaneQuery{Kind: engine.Deliver})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, l := range page {
		got = append(got, fmt.Sprintf("%s%d %v", l.Lane.Name, l.Jobs, l.Deferred > 0))
	}
	wantIDs(t, "lanes", got, oldA+"3 false", oldB+"5 false", oldC+"1 true")
}

// A program of an older version reads meta at the beginning of a transaction.
func TestAnOlderProgramThatHasTheFileOpenIsTold(t *testing.T) {
	t.Parallel()
	e, _ := openVersion3(t)
	err := e.read(t.Context(), "test", func(c *conn) error {
		_, err := c.queryInt("SELECT gen FROM meta")
		return err
	})
	if err == nil || !strings.Contains(err.Error(), "restart this program with the newer one") {
		t.Errorf("error %v", err)
	}
}
