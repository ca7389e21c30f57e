package registry

import (
	"context"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

const day = 24 * time.Hour

func announce(t *testing.T, r *Roster, retireAfter time.Duration, own ...Subscription) (retired []Subscription) {
	t.Helper()
	retired, _, err := r.Announce(t.Context(), own, retireAfter)
	if err != nil {
		t.Fatal(err)
	}
	return retired
}

func TestARetiredSubscriptionIsToldOfOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memengine.NewStore()
		a, b, c := Subscription{Name: "a", Channel: "x"}, Subscription{Name: "b", Channel: "x"}, Subscription{Name: "c", Channel: "y", Signed: true}
		announce(t, NewRoster(store.Open(engine.Retention{}), time.Second), day, a, c)
		announce(t, NewRoster(store.Open(engine.Retention{}), time.Second), time.Hour, b, a) // soon to be retired
		time.Sleep(2 * time.Hour)
		var mu sync.Mutex
		var retired []Subscription
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				got := announce(t, NewRoster(store.Open(engine.Retention{}), time.Second), day, c)
				mu.Lock()
				defer mu.Unlock()
				retired = append(retired, got...)
			})
		}
		wg.Wait()
		if !slices.Equal(retired, []Subscription{b}) {
			t.Errorf("after two hours retired %v, want b, once: another release has a", retired)
		}
		roll, err := NewRoster(store.Open(engine.Retention{}), time.Second).Look(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for name, want := range map[string][2]bool{"a": {true, false}, "b": {false, false}, "c": {true, true}} {
			if listed, running := roll.Has(name); listed != want[0] || running != want[1] {
				t.Errorf("%s: listed %v, running %v, want %v", name, listed, running, want)
			}
		}
		if on := roll.On("y"); len(on) != 1 || on[0] != (Listed{c, true}) {
			t.Errorf("on y: %v", on)
		}
	})
}

// What a later version keeps in another form is not taken for nothing.
func TestSubscriptionsThatCantBeReadAreAnError(t *testing.T) {
	eng := memengine.NewStore().Open(engine.Retention{})
	if _, err := eng.SwapAttribute(t.Context(), rosterGroup, "other", nil, []byte("not JSON"), 0); err != nil {
		t.Fatal(err)
	}
	if _, err := NewRoster(eng, time.Second).Now(t.Context()); err == nil {
		t.Error("no error")
	}
}

// A caller that goes away does not keep others from what it was to read.
func TestAReadingGoesOnWithoutItsCaller(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := NewRoster(memengine.NewStore().Open(engine.Retention{}), time.Second)
		announce(t, r, day, Subscription{Name: "a", Channel: "x"})
		if _, err := r.Now(t.Context()); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		go func() { _, _ = r.Now(ctx) }() // has to wait for a second
		synctest.Wait()
		cancel()
		if roll, err := r.Now(t.Context()); err != nil || len(roll.On("x")) != 1 {
			t.Errorf("%v, %v", roll, err)
		}
	})
}
