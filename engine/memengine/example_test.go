package memengine_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

// Two engines on one store stand for two processes.
func ExampleStore() {
	ctx := context.Background()
	store := memengine.NewStore()
	web, worker := store.Open(engine.Retention{}), store.Open(engine.Retention{})
	lane := engine.Lane{Kind: engine.Handle, Name: "billing"}
	_, err := web.Push(ctx, engine.PushRequest{Jobs: []engine.Job{{Event: &engine.Event{ID: "1"}, Lane: lane}}})
	fmt.Println(err)
	res, err := worker.Claim(ctx, engine.ClaimRequest{Kind: engine.Handle, Max: 10, MaxPerLane: 10, Lease: time.Minute})
	fmt.Println(len(res.Jobs), err)
	// Output:
	// <nil>
	// 1 <nil>
}

// Days pass in no time under the fake clock of testing/synctest.
func TestUnderAFakeClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := memengine.New()
		defer func() { _ = e.Close() }()
		woken := make(chan engine.Kind, 10)
		stop := e.Watch(func(k engine.Kind) { woken <- k })
		defer stop()
		lane := engine.Lane{Kind: engine.Deliver, Name: "http://example.org/callbacks"}
		push := engine.PushRequest{Jobs: []engine.Job{{Event: &engine.Event{ID: "1"}, Lane: lane, Delay: 48 * time.Hour}}}
		if _, err := e.Push(t.Context(), push); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if k := <-woken; k != engine.Deliver {
			t.Errorf("woken for %v", k)
		}
		claim := engine.ClaimRequest{Kind: engine.Deliver, Max: 1, MaxPerLane: 1, Lease: time.Minute}
		res, err := e.Claim(t.Context(), claim)
		if err != nil || len(res.Jobs) != 0 || res.Next != 48*time.Hour {
			t.Fatalf("claimed %d jobs, next in %v, %v", len(res.Jobs), res.Next, err)
		}
		time.Sleep(res.Next)
		if res, err = e.Claim(t.Context(), claim); err != nil || len(res.Jobs) != 1 || res.Jobs[0].Age != 48*time.Hour {
			t.Fatalf("claimed %+v, %v", res, err)
		}
	})
}
