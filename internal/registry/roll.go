package registry

import (
	"context"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

const (
	// rollAge is how old what a process knows of the others' subscriptions may
	// become while it takes events in.
	rollAge = 3 * time.Second
	// rollSpacing is the least time between two readings, however many ask.
	rollSpacing = time.Second
)

// Roster knows what all processes of an app subscribe to. Its methods may be
// called concurrently.
type Roster struct {
	attributes engine.Attributes // nil if the engine keeps none
	timeout    time.Duration     // of a reading
	last       atomic.Pointer[Roll]

	mu    sync.Mutex
	next  *reading  // which has yet to begin
	under *reading  // which has begun
	began time.Time // when the last one did
}

// NewRoster returns the roster on an engine. Where that keeps no attributes,
// each process knows its own subscriptions only.
func NewRoster(eng engine.Engine, timeout time.Duration) *Roster {
	r := &Roster{timeout: timeout}
	r.attributes, _ = eng.(engine.Attributes)
	return r
}

// IsShared says that processes can tell each other of their subscriptions.
func (r *Roster) IsShared() bool { return r.attributes != nil }

// Roll is the subscriptions of an app's processes, as the store had them at
// some moment; those that are retired are not among them. It does not change.
type Roll struct {
	looked   time.Time // when the store was last asked
	channels map[string][]Listed
	running  map[string]bool // by the names of subscriptions
}

// nobody is the roll of those who know of no others.
var nobody Roll

// Listed is a subscription on the roll.
type Listed struct {
	Subscription
	// Running says that a process that has it is taken to run.
	Running bool
}

func newRoll(all map[string]engine.Attribute, releases map[string]*release, looked time.Time) *Roll {
	roll := &Roll{looked: looked, channels: map[string][]Listed{}, running: map[string]bool{}}
	for name, release := range releases {
		if age := all[name].Age; !release.isRetired(age) {
			for _, s := range release.Subscriptions {
				roll.add(s, release.isRunning(age))
			}
		}
	}
	return roll
}

func (r *Roll) add(s Subscription, running bool) {
	r.running[s.Name] = r.running[s.Name] || running
	listed := r.channels[s.Channel]
	for i := range listed {
		if listed[i].Subscription == s {
			listed[i].Running = listed[i].Running || running
			return
		}
	}
	r.channels[s.Channel] = append(listed, Listed{s, running})
}

// On returns the subscriptions to a channel. The caller must not change the
// slice.
func (r *Roll) On(channel string) []Listed { return r.channels[channel] }

// Has says whether a subscription of that name is on the roll, and whether a
// process that has it is taken to run.
func (r *Roll) Has(name string) (listed, running bool) {
	running, listed = r.running[name]
	return listed, running
}

// isNews says that some subscriptions are to channels that are on the roll with
// others only. A process that takes in the events of such a channel may do so
// for a while before it looks again; for any other it looks before it says no.
func (r *Roll) isNews(subscriptions []Subscription) bool {
	for _, s := range subscriptions {
		listed := r.channels[s.Channel]
		if len(listed) > 0 && !slices.ContainsFunc(listed, func(l Listed) bool { return l.Name == s.Name }) {
			return true
		}
	}
	return false
}

// IsEmpty says that no process has or had subscriptions.
func (r *Roll) IsEmpty() bool { return len(r.running) == 0 }

// Lately returns the roll as it was a few seconds ago at most. Where the store
// can't be read, it is as it was when that was last possible.
func (r *Roster) Lately(ctx context.Context) *Roll {
	if r.attributes == nil {
		return &nobody
	}
	if last := r.last.Load(); last.isRecent() {
		return last
	}
	r.mu.Lock()
	switch under := r.under; {
	case under != nil:
		r.mu.Unlock()
		_, _ = under.wait(ctx)
	case r.last.Load().isRecent(): // by a reading that has ended since
		r.mu.Unlock()
	default:
		_, _ = r.read(ctx)
	}
	if last := r.last.Load(); last != nil {
		return last
	}
	return &nobody
}

func (r *Roll) isRecent() bool { return r != nil && time.Since(r.looked) < rollAge }

// Now returns the roll as of a moment after the call began. Calls share
// readings, of which one begins each second at the most; so this may take a
// second.
func (r *Roster) Now(ctx context.Context) (*Roll, error) {
	if r.attributes == nil {
		return &nobody, nil
	}
	r.mu.Lock()
	return r.read(ctx)
}

// read takes part in the next reading. r.mu is locked, and is not when it returns.
func (r *Roster) read(ctx context.Context) (*Roll, error) {
	read, wait := r.next, time.Until(r.began.Add(rollSpacing))
	if read != nil {
		r.mu.Unlock()
		return read.wait(ctx)
	}
	read = &reading{done: make(chan struct{})}
	r.next = read
	r.mu.Unlock()
	// Others count on it, so it goes on if this caller goes away.
	time.Sleep(wait)
	r.carryOut(context.WithoutCancel(ctx), read)
	return read.roll, read.err
}

// reading is a look into the store that several calls share.
type reading struct {
	done chan struct{} // closed when the following is known
	roll *Roll
	err  error
}

func (r *reading) wait(ctx context.Context) (*Roll, error) {
	select {
	case <-r.done:
		return r.roll, r.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

func (r *Roster) carryOut(ctx context.Context, read *reading) {
	began := time.Now()
	r.mu.Lock()
	r.next, r.under, r.began = nil, read, began
	r.mu.Unlock()
	read.roll, read.err = r.load(ctx, began)
	last := read.roll
	if read.err != nil { // what is known stays good, and is not asked for by each event
		known := Roll{}
		if before := r.last.Load(); before != nil {
			known = *before
		}
		known.looked = began
		last = &known
	}
	r.last.Store(last)
	r.mu.Lock()
	if r.under == read {
		r.under = nil
	}
	r.mu.Unlock()
	close(read.done)
}

// Look reads the roll for somebody who seldom does.
func (r *Roster) Look(ctx context.Context) (*Roll, error) {
	if r.attributes == nil {
		return &nobody, nil
	}
	return r.load(ctx, time.Now())
}

func (r *Roster) load(ctx context.Context, began time.Time) (*Roll, error) {
	ctx, cancel := context.WithTimeout(ctx, r.timeout)
	defer cancel()
	all, err := r.attributes.Attributes(ctx, rosterGroup)
	if err != nil {
		return nil, err
	}
	releases, err := decodeReleases(all)
	if err != nil {
		return nil, err
	}
	return newRoll(all, releases, began), nil
}
