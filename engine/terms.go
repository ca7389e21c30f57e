package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
)

// LaneTerms are what an operator has said of a lane. They belong to the store,
// so that all processes on it heed the same ones. The zero value says nothing.
//
// They are kept among the attributes, which every store has: they are few,
// written by hand, and read by each process now and then.
type LaneTerms struct {
	// Paused keeps everybody from working on the lane.
	Paused bool `json:"paused,omitempty"`
	// Rate bounds the tries that are begun, in tries per second over all
	// processes; 0 means no bound.
	Rate float64 `json:"rate,omitempty"`
	// AtOnce bounds the tries that are under way in each process; 0 means no
	// bound but the process's own.
	AtOnce int `json:"at_once,omitempty"`
}

// termsGroup is the group of attributes in which the terms of lanes are kept,
// by kind and name.
const termsGroup = "lane-terms"

// Validate checks the terms of a lane.
func (t LaneTerms) Validate() error {
	if !(t.Rate >= 0) || t.AtOnce < 0 { // !(… >= 0): what is no number, too
		return invalid("a lane with a rate of %v and %d tries at once", t.Rate, t.AtOnce)
	}
	return nil
}

// SetLaneTerms keeps the terms of a lane instead of those that were kept
// before, of which nothing remains if they are zero.
func SetLaneTerms(ctx context.Context, store Attributes, lane Lane, t LaneTerms) error {
	if err := lane.Validate(); err != nil {
		return err
	}
	if err := t.Validate(); err != nil {
		return err
	}
	var value []byte
	if t != (LaneTerms{}) {
		var err error
		if value, err = json.Marshal(t); err != nil {
			return err
		}
	}
	name := termsName(lane)
	for {
		old, err := store.Attribute(ctx, termsGroup, name)
		if err != nil {
			return err
		}
		swapped, err := store.SwapAttribute(ctx, termsGroup, name, old.Value, value, 0)
		if swapped || err != nil {
			return err
		}
	}
}

// AllLaneTerms returns the terms of the lanes that have any.
func AllLaneTerms(ctx context.Context, store Attributes) (map[Lane]LaneTerms, error) {
	kept, err := store.Attributes(ctx, termsGroup)
	if err != nil {
		return nil, err
	}
	all := make(map[Lane]LaneTerms, len(kept))
	for name, a := range kept {
		lane, ok := laneOfTerms(name)
		var t LaneTerms
		if !ok || json.Unmarshal(a.Value, &t) != nil {
			return nil, fmt.Errorf("engine: the terms of the lane %q can't be read", name)
		}
		all[lane] = t
	}
	return all, nil
}

func termsName(l Lane) string { return l.Kind.String() + " " + l.Name }

func laneOfTerms(name string) (Lane, bool) {
	kind, name, ok := strings.Cut(name, " ")
	for k := FanOut; ok && k <= Handle; k++ {
		if k.String() == kind {
			return Lane{Kind: k, Name: name}, true
		}
	}
	return Lane{}, false
}
