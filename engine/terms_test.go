package engine_test

import (
	"errors"
	"maps"
	"math"
	"testing"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

func TestLaneTermsAreKeptInTheStore(t *testing.T) {
	store := memengine.NewStore()
	one, other := store.Open(engine.Retention{}), store.Open(engine.Retention{})
	defer func() { _, _ = one.Close(), other.Close() }()
	deliver := engine.Lane{Kind: engine.Deliver, Name: "https://user@a.example/call backs"}
	handle := engine.Lane{Kind: engine.Handle, Name: deliver.Name} // another lane of that name
	holds := func(want map[engine.Lane]engine.LaneTerms) {
		t.Helper()
		got, err := engine.AllLaneTerms(t.Context(), other)
		if err != nil || !maps.Equal(got, want) {
			t.Errorf("the terms are %+v, %v, want %+v", got, err, want)
		}
	}
	set := func(lane engine.Lane, terms engine.LaneTerms) {
		t.Helper()
		if err := engine.SetLaneTerms(t.Context(), one, lane, terms); err != nil {
			t.Error(err)
		}
	}
	holds(map[engine.Lane]engine.LaneTerms{})
	set(deliver, engine.LaneTerms{Paused: true, Rate: 0.5, AtOnce: 3})
	set(handle, engine.LaneTerms{AtOnce: 1})
	holds(map[engine.Lane]engine.LaneTerms{deliver: {Paused: true, Rate: 0.5, AtOnce: 3}, handle: {AtOnce: 1}})
	set(deliver, engine.LaneTerms{Rate: 2})
	set(handle, engine.LaneTerms{})
	holds(map[engine.Lane]engine.LaneTerms{deliver: {Rate: 2}})
	for _, bad := range []engine.LaneTerms{{Rate: -1}, {Rate: math.NaN()}, {AtOnce: -1}} {
		if err := engine.SetLaneTerms(t.Context(), one, deliver, bad); !errors.Is(err, engine.ErrInvalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
	if err := engine.SetLaneTerms(t.Context(), one, engine.Lane{Kind: engine.Deliver}, engine.LaneTerms{}); !errors.Is(err, engine.ErrInvalid) {
		t.Errorf("a lane without a name: %v", err)
	}
	holds(map[engine.Lane]engine.LaneTerms{deliver: {Rate: 2}})
}
