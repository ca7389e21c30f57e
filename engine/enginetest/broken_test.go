package enginetest

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

// broken is the engine in memory with one promise broken on purpose, from
// outside: a mutant replaces what some methods do. With none it is intact.
//
// A mutant changes the fields of calls, and calls those that were there. They
// are called with the store locked, but for Watch, Close, SwapAttribute and
// Remember, whose mutants see to it on their own.
type broken struct {
	calls
	s *brokenStore
	r engine.Retention

	stalled bool                  // invalidations are held up
	changed time.Time             // when the engine heard last that its memory is out of date
	crash   func()                // what a mutant does when the engine is abandoned
	jump    func(d time.Duration) // what a mutant does when wall time jumps
}

// brokenStore is what the engines on a store have in common.
type brokenStore struct {
	mutant mutant

	mu      sync.Mutex
	inner   *memengine.Store
	engines []*broken
	claims  map[engine.Ticket]*claimNote
	jobs    map[key]*jobNote
	channel map[string]bool // those whose subscribers can't be read

	// What mutants note, as they like.
	flag    map[any]bool
	text    map[string]string
	ticket  map[engine.Ticket]engine.Ticket
	until   map[engine.Lane]time.Time
	hearers []*hearer
	forgot  map[key]int
	shut    []func() error
	same    map[any]key
}

// key is the identity of a job.
type key struct {
	channel, id, replay string
	lane                engine.Lane
}

func keyOf(e *engine.Event, l engine.Lane) key { return key{e.Channel, e.ID, e.Replay, l} }

// claimNote is what is known of a claim by its ticket.
type claimNote struct {
	event   *engine.Event
	lane    engine.Lane
	attempt int
	history []byte
	by      *broken
	until   time.Time
	spent   bool

	pushed   bool // the claim came with a Push or as a follow-up
	extended bool
}

// jobNote is what is known of a job by its identity.
type jobNote struct {
	by   *broken
	live bool // not done, not dead
}

func newBrokenStore(m mutant) *brokenStore {
	return &brokenStore{
		mutant:  m,
		inner:   memengine.NewStore(),
		claims:  map[engine.Ticket]*claimNote{},
		jobs:    map[key]*jobNote{},
		channel: map[string]bool{},
		flag:    map[any]bool{},
		text:    map[string]string{},
		ticket:  map[engine.Ticket]engine.Ticket{},
		until:   map[engine.Lane]time.Time{},
	}
}

func (s *brokenStore) open(r engine.Retention) (engine.Engine, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := &broken{s: s, r: r}
	if s.mutant.retention != nil {
		s.mutant.retention(&b.r)
	}
	b.calls = callsOf(s.inner.Open(b.r))
	b.takeNotes()
	b.breakChannels()
	if s.mutant.with != nil {
		s.mutant.with(b)
	}
	s.engines = append(s.engines, b)
	return b, nil
}

// harness is that of stores with a mutant, or of intact ones for the zero
// value.
func (m mutant) harness() Harness {
	return Harness{
		NewStore: func(testing.TB) Opener { return newBrokenStore(m).open },
		Abandon: func(e engine.Engine) {
			b := e.(*broken)
			if b.crash != nil {
				b.crash()
			}
			_ = b.close()
		},
		BreakChannel: func(e engine.Engine, channel string) {
			b := e.(*broken)
			defer b.lock()()
			b.s.channel[channel] = true
		},
		Stall: func(e engine.Engine) (resume func()) {
			b := e.(*broken)
			stall := func(yes bool) {
				defer b.lock()()
				b.stalled = yes
			}
			stall(true)
			return func() { stall(false) }
		},
		// The engine in memory goes by monotonic time only.
		Jump: func(e engine.Engine, d time.Duration) {
			b := e.(*broken)
			defer b.lock()()
			for _, b := range b.s.engines {
				if b.jump != nil {
					b.jump(d)
				}
			}
		},
	}
}

// takeNotes keeps account of jobs and claims.
func (b *broken) takeNotes() {
	push, claim, settle := b.push, b.claim, b.settle
	pushed := func(j engine.Job, own *engine.Event, t engine.Ticket) {
		if j.Event != nil {
			own = j.Event
		}
		k := keyOf(own, j.Lane)
		if b.s.jobs[k] == nil {
			b.s.jobs[k] = &jobNote{by: b, live: true}
		}
		if t != "" {
			b.s.claims[t] = &claimNote{event: own, lane: j.Lane, by: b, until: time.Now().Add(j.Lease), pushed: true}
		}
	}
	b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
		res, err := push(ctx, req)
		for i, t := range res.Tickets {
			pushed(req.Jobs[i], nil, t)
		}
		return res, err
	}
	b.claim = func(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
		res, err := claim(ctx, req)
		for _, j := range res.Jobs {
			b.s.claims[j.Ticket] = &claimNote{event: j.Event, lane: j.Lane, attempt: j.Attempt, history: j.History, by: b, until: time.Now().Add(req.Lease)}
		}
		return res, err
	}
	b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
		settled, err := settle(ctx, outcomes)
		for i, s := range settled {
			o := outcomes[i]
			note := b.s.claims[o.Ticket]
			if !s.OK || note == nil {
				continue
			}
			note.spent = true
			switch o.Result {
			case engine.Done, engine.Bury:
				if j := b.s.jobs[keyOf(note.event, note.lane)]; j != nil {
					j.live = false
				}
			case engine.Extend:
				extended := *note
				extended.spent, extended.extended, extended.by, extended.until = false, true, b, time.Now().Add(o.After)
				b.s.claims[s.Ticket] = &extended
			}
			for k, t := range s.Follow {
				pushed(o.Follow[k], note.event, t)
			}
		}
		return settled, err
	}
}

var errBroken = errors.New("the subscribers of this channel can't be read")

// breakChannels makes the subscribers of some channels unreadable.
func (b *broken) breakChannels() {
	push, subscribers := b.push, b.subscribers
	b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
		res, err := push(ctx, req)
		for i := range res.Audiences {
			if b.s.channel[req.Channels[i]] {
				res.Audiences[i] = engine.Audience{Err: errBroken}
			}
		}
		return res, err
	}
	b.subscribers = func(ctx context.Context, channel string) ([]string, error) {
		if b.s.channel[channel] {
			return nil, errBroken
		}
		return subscribers(ctx, channel)
	}
}

// calls are the methods of an engine.
type calls struct {
	addSubscriber    func(ctx context.Context, channel, callbackURL string, lease time.Duration) (bool, error)
	removeSubscriber func(ctx context.Context, channel, callbackURL string, olderThan time.Duration) (bool, error)
	subscribers      func(ctx context.Context, channel string) ([]string, error)
	channels         func(ctx context.Context, prefix string) (map[string][]string, error)
	push             func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error)
	claim            func(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error)
	settle           func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error)
	defers           func(ctx context.Context, lane engine.Lane, d time.Duration) error
	ping             func(ctx context.Context) error
	watch            func(wake func(engine.Kind)) (stop func())
	close            func() error
	dead             func(ctx context.Context, q engine.DeadQuery) ([]engine.Dead, error)
	redrive          func(ctx context.Context, ids []string) (int, error)
	discard          func(ctx context.Context, ids []string) (int, error)
	lanes            func(ctx context.Context) ([]engine.LaneStats, error)
	lanePage         func(ctx context.Context, q engine.LaneQuery) ([]engine.LaneSummary, error)
	credential       func(ctx context.Context, realm, username string) ([]byte, error)
	usernames        func(ctx context.Context, realm string) ([]string, error)
	putCredential    func(ctx context.Context, realm, username string, proof []byte) error
	removeCredential func(ctx context.Context, realm, username string) (bool, error)
	attribute        func(ctx context.Context, group, name string) (engine.Attribute, error)
	attributes       func(ctx context.Context, group string) (map[string]engine.Attribute, error)
	swapAttribute    func(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error)
	remember         func(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error)
	retention        func(ctx context.Context) (engine.Retention, error)
	registrations    func(ctx context.Context, channel string) ([]engine.Registration, error)
	attributeGroups  func(ctx context.Context) ([]string, error)
	realms           func(ctx context.Context, prefix string) ([]string, error)
	later            func(ctx context.Context, lane engine.Lane, after time.Duration, limit int) ([]engine.LaterJob, error)
}

func callsOf(e *memengine.Engine) calls {
	return calls{
		e.AddSubscriber, e.RemoveSubscriber, e.Subscribers, e.Channels,
		e.Push, e.Claim, e.Settle, e.Defer, e.Ping, e.Watch, e.Close,
		e.Dead, e.Redrive, e.Discard, e.Lanes, e.LanePage,
		e.Credential, e.Usernames, e.PutCredential, e.RemoveCredential,
		e.Attribute, e.Attributes, e.SwapAttribute, e.Remember,
		e.Retention,
		e.Registrations, e.AttributeGroups, e.Realms, e.Later,
	}
}

func (b *broken) Registrations(ctx context.Context, channel string) ([]engine.Registration, error) {
	defer b.lock()()
	return b.registrations(ctx, channel)
}

func (b *broken) AttributeGroups(ctx context.Context) ([]string, error) {
	defer b.lock()()
	return b.attributeGroups(ctx)
}

func (b *broken) Realms(ctx context.Context, prefix string) ([]string, error) {
	defer b.lock()()
	return b.realms(ctx, prefix)
}

func (b *broken) Later(ctx context.Context, lane engine.Lane, after time.Duration, limit int) ([]engine.LaterJob, error) {
	defer b.lock()()
	return b.later(ctx, lane, after, limit)
}

func (b *broken) lock() (unlock func()) {
	b.s.mu.Lock()
	return b.s.mu.Unlock
}

func (b *broken) AddSubscriber(ctx context.Context, channel, callbackURL string, lease time.Duration) (bool, error) {
	defer b.lock()()
	return b.addSubscriber(ctx, channel, callbackURL, lease)
}

func (b *broken) RemoveSubscriber(ctx context.Context, channel, callbackURL string, olderThan time.Duration) (bool, error) {
	defer b.lock()()
	return b.removeSubscriber(ctx, channel, callbackURL, olderThan)
}

func (b *broken) Subscribers(ctx context.Context, channel string) ([]string, error) {
	defer b.lock()()
	return b.subscribers(ctx, channel)
}

func (b *broken) Channels(ctx context.Context, prefix string) (map[string][]string, error) {
	defer b.lock()()
	return b.channels(ctx, prefix)
}

func (b *broken) Push(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
	defer b.lock()()
	return b.push(ctx, req)
}

func (b *broken) Claim(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
	defer b.lock()()
	return b.claim(ctx, req)
}

func (b *broken) Settle(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
	defer b.lock()()
	return b.settle(ctx, outcomes)
}

func (b *broken) Defer(ctx context.Context, lane engine.Lane, d time.Duration) error {
	defer b.lock()()
	return b.defers(ctx, lane, d)
}

func (b *broken) Ping(ctx context.Context) error {
	defer b.lock()()
	return b.ping(ctx)
}

func (b *broken) Watch(wake func(engine.Kind)) (stop func()) { return b.watch(wake) }

func (b *broken) Close() error { return b.close() }

func (b *broken) Dead(ctx context.Context, q engine.DeadQuery) ([]engine.Dead, error) {
	defer b.lock()()
	return b.dead(ctx, q)
}

func (b *broken) Redrive(ctx context.Context, ids []string) (int, error) {
	defer b.lock()()
	return b.redrive(ctx, ids)
}

func (b *broken) Discard(ctx context.Context, ids []string) (int, error) {
	defer b.lock()()
	return b.discard(ctx, ids)
}

func (b *broken) Lanes(ctx context.Context) ([]engine.LaneStats, error) {
	defer b.lock()()
	return b.lanes(ctx)
}

func (b *broken) LanePage(ctx context.Context, q engine.LaneQuery) ([]engine.LaneSummary, error) {
	defer b.lock()()
	return b.lanePage(ctx, q)
}

func (b *broken) Credential(ctx context.Context, realm, username string) ([]byte, error) {
	defer b.lock()()
	return b.credential(ctx, realm, username)
}

func (b *broken) Usernames(ctx context.Context, realm string) ([]string, error) {
	defer b.lock()()
	return b.usernames(ctx, realm)
}

func (b *broken) PutCredential(ctx context.Context, realm, username string, proof []byte) error {
	defer b.lock()()
	return b.putCredential(ctx, realm, username, proof)
}

func (b *broken) RemoveCredential(ctx context.Context, realm, username string) (bool, error) {
	defer b.lock()()
	return b.removeCredential(ctx, realm, username)
}

func (b *broken) Attribute(ctx context.Context, group, name string) (engine.Attribute, error) {
	defer b.lock()()
	return b.attribute(ctx, group, name)
}

func (b *broken) Attributes(ctx context.Context, group string) (map[string]engine.Attribute, error) {
	defer b.lock()()
	return b.attributes(ctx, group)
}

func (b *broken) SwapAttribute(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
	return b.swapAttribute(ctx, group, name, old, value, keep)
}

func (b *broken) Remember(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
	return b.remember(ctx, key, value, d)
}

func (b *broken) Retention(ctx context.Context) (engine.Retention, error) {
	defer b.lock()()
	return b.retention(ctx)
}
