package memengine_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

// TestAwaitTried: it waits for what is claimed or due, and for nothing else.
func TestAwaitTried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := memengine.New()
		defer func() { _ = e.Close() }()
		lane := engine.Lane{Kind: engine.Handle, Name: "billing"}
		push := func(id string, delay time.Duration) {
			t.Helper()
			if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{{Event: &engine.Event{ID: id, Channel: "a"}, Lane: lane, Delay: delay}}}); err != nil {
				t.Fatal(err)
			}
		}
		tried := func(id string) bool {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			err := e.AwaitTried(ctx, "a", id)
			if err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(err)
			}
			return err == nil
		}
		push("later", time.Hour)
		push("now", 0)
		if !tried("nothing") || !tried("later") || tried("now") {
			t.Error("it must wait for what is due, and for nothing else")
		}
		claimed, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Handle, Max: 1, MaxPerLane: 1, Lease: time.Minute})
		if err != nil || len(claimed.Jobs) != 1 {
			t.Fatalf("claimed %d jobs, %v", len(claimed.Jobs), err)
		}
		if tried("now") {
			t.Error("it must wait for what is claimed")
		}
		ended := make(chan error)
		go func() { ended <- e.AwaitTried(t.Context(), "a", "now") }()
		synctest.Wait()
		if _, err := e.Settle(t.Context(), []engine.Outcome{{Ticket: claimed.Jobs[0].Ticket, Result: engine.Retry, Attempt: 1, After: time.Minute}}); err != nil {
			t.Fatal(err)
		}
		if err := <-ended; err != nil {
			t.Error(err)
		}
		time.Sleep(time.Minute)
		if tried("now") {
			t.Error("it must wait for what is due again")
		}
		if err := e.Defer(t.Context(), lane, time.Hour); err != nil || !tried("now") {
			t.Errorf("it must not wait for a lane that is deferred (%v)", err)
		}
	})
}
