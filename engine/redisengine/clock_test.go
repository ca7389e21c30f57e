package redisengine_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// The clocks of the processes do not matter, only the server's does. One of
// two lives in a bubble, where it is the year 2000 and stays so.
func TestClocksOfProcessesDoNotMatter(t *testing.T) {
	t.Parallel()
	const span = time.Second
	s := redistest.Start(t)
	claim := func(t *testing.T, e *redisengine.Engine) (ids []string) {
		t.Helper()
		res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: 10, MaxPerLane: 10, Lease: span})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range res.Jobs {
			if j.Age < 0 || j.Age > time.Minute {
				t.Errorf("%s was pushed %v ago", j.Event.ID, j.Age)
			}
			ids = append(ids, j.Event.ID)
		}
		return ids
	}
	// pushes pushes a job that is due, one that is leased, and one that is due
	// later.
	pushes := func(t *testing.T, e *redisengine.Engine) {
		t.Helper()
		_, err := e.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{
			{Event: &engine.Event{ID: "now", Channel: "c"}, Lane: deliver("now")},
			{Event: &engine.Event{ID: "leased", Channel: "c"}, Lane: deliver("leased"), Lease: span},
			{Event: &engine.Event{ID: "later", Channel: "c"}, Lane: deliver("later"), Delay: span},
		}})
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Defer(t.Context(), deliver("deferred"), span); err != nil {
			t.Fatal(err)
		}
		if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{{Event: &engine.Event{ID: "deferred", Channel: "c"}, Lane: deliver("deferred")}}}); err != nil {
			t.Fatal(err)
		}
	}
	// claims claims them, which takes as long as it has to. It keeps asking the
	// server: in the bubble there is no other way to wait.
	claims := func(t *testing.T, e *redisengine.Engine) {
		t.Helper()
		got := map[string]bool{}
		for n := 0; len(got) < 4; n++ {
			for _, id := range claim(t, e) {
				got[id] = true
			}
			if n > 200_000 {
				t.Fatalf("claimed only %v", got)
			}
		}
	}

	here := open(t, s.URL(), &redisengine.Options{Namespace: "one"})
	began := time.Now()
	pushes(t, here)
	synctest.Test(t, func(t *testing.T) { claims(t, open(t, s.URL(), &redisengine.Options{Namespace: "one"})) })
	if took := time.Since(began); took < span {
		t.Errorf("what a process of today has leased, delayed and deferred for %v was another's after %v", span, took)
	}

	began = time.Now()
	synctest.Test(t, func(t *testing.T) {
		if year := time.Now().Year(); year != 2000 {
			t.Fatalf("in the bubble it is the year %d", year)
		}
		pushes(t, open(t, s.URL(), &redisengine.Options{Namespace: "two"}))
	})
	claims(t, open(t, s.URL(), &redisengine.Options{Namespace: "two"}))
	if took := time.Since(began); took < span {
		t.Errorf("what a process of the year 2000 has leased, delayed and deferred for %v was another's after %v", span, took)
	}
}
