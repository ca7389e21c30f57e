package registry

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

const (
	// discardsGroup is the group of attributes that say for which registrations
	// what waited when they were set is discarded instead of being delivered.
	discardsGroup = "discards"
	// discardsLast is how long they are kept: by the schedule of retries every
	// event that waits is due within four days.
	discardsLast = 7 * 24 * time.Hour
	// discardsAge is how old what is known of them may be.
	discardsAge = time.Second
)

// discards is what is known of them.
type discards struct {
	state  atomic.Pointer[discardsState]
	update sync.Mutex
}

type discardsState struct {
	marks map[string]engine.Attribute
	at    time.Time // before they were read
	next  time.Time // when they are to be read again
}

// Discard has the events that wait for a callback URL on a channel discarded as
// each comes due, unless it is registered there again before. It does nothing
// about those published from now on. The error is ErrUnsupported where that can't
// be kept.
func (r *Registry) Discard(ctx context.Context, channel, callbackURL string) error {
	if r.attributes == nil {
		return ErrUnsupported
	}
	name := Registration{channel, callbackURL}.name()
	for range maxSwaps {
		old, err := r.attributes.Attribute(ctx, discardsGroup, name)
		if err != nil {
			return err
		}
		swapped, err := r.attributes.SwapAttribute(ctx, discardsGroup, name, old.Value, []byte{1}, discardsLast)
		if err != nil {
			return err
		}
		if swapped {
			r.discards.changed()
			return nil
		}
	}
	return errContended
}

// changed has the next delivery look. Nobody who has read the marks before says
// what they were after this.
func (d *discards) changed() {
	d.update.Lock()
	defer d.update.Unlock()
	d.state.Store(nil)
}

// keepWaiting has what still waits for a callback URL on a channel delivered, as it
// is registered again.
func (r *Registry) keepWaiting(ctx context.Context, channel, callbackURL string) {
	if r.attributes != nil {
		r.forget(ctx, discardsGroup, callbackURL, Registration{channel, callbackURL}.name())
		r.discards.changed()
	}
}

// IsDiscarded reports whether an event for a callback URL on a channel, pushed so
// long before now, is to be discarded. Where the store can't tell it is not.
func (r *Registry) IsDiscarded(ctx context.Context, channel, callbackURL string, age time.Duration, now time.Time) bool {
	state := r.discards.state.Load()
	if state == nil || !now.Before(state.next) {
		state = r.refreshDiscards(ctx, now)
	}
	if state == nil || len(state.marks) == 0 {
		return false
	}
	mark, ok := state.marks[Registration{channel, callbackURL}.name()]
	return ok && age > mark.Age+now.Sub(state.at)
}

// refreshDiscards reads the marks. One caller does it; others go by what is known
// meanwhile.
func (r *Registry) refreshDiscards(ctx context.Context, now time.Time) *discardsState {
	d := &r.discards
	if r.attributes == nil || !d.update.TryLock() {
		return d.state.Load()
	}
	defer d.update.Unlock()
	ctx, cancel := context.WithTimeout(ctx, r.Timeout)
	defer cancel()
	all, err := r.attributes.Attributes(ctx, discardsGroup)
	state := &discardsState{marks: all, at: now}
	if known := d.state.Load(); err != nil && known != nil { // it stays good, each mark with its age
		state.marks, state.at = known.marks, known.at
	}
	state.next = now.Add(discardsAge)
	d.state.Store(state)
	return state
}
