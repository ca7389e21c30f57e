// Package enginetest is the conformance suite of package engine. Every engine
// passes it unchanged:
//
//	func TestConformance(t *testing.T) {
//		enginetest.Run(t, enginetest.Harness{
//			NewStore: func(t testing.TB) enginetest.Opener {
//				file := filepath.Join(t.TempDir(), "toot.db")
//				return func(r engine.Retention) (engine.Engine, error) {
//					return myengine.Open(file, &myengine.Options{Retention: r})
//				}
//			},
//		})
//	}
//
// The name of each subtest states a promise of the contract, and a failure
// says how it was broken. The suite asserts nothing about time but what the
// contract says: that something does not happen too early, and that it happens
// at all, however slow the machine.
//
// docs/engines.md is a guide to writing an engine.
package enginetest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Harness is what the suite has to know about an engine. NewStore is required.
// Without the hooks some checks are skipped; the zero value of everything else
// is the strictest.
type Harness struct {
	// NewStore makes a new, empty store and returns the function that opens
	// engines on it. It is called for each subtest, by several at a time, and
	// registers with t what the store needs by way of cleaning up; engines
	// are closed by the suite before that.
	NewStore func(t testing.TB) Opener

	// Abandon drops an engine as the death of its process would: without
	// Close, with nothing flushed or given back. The engine is not used
	// again. If nil, the suite leaves such an engine alone until the end of
	// the subtest and closes it then.
	Abandon func(engine.Engine)

	// The three hooks that follow bring about what the suite cannot. Where one
	// is nil, the checks that need it are skipped. Each is given an engine that
	// is open on the store that it is about.

	// BreakChannel makes the subscribers of a channel unreadable for the rest
	// of the subtest: with a record that is damaged, or a part of the store
	// that is out of reach. The channel has subscribers then.
	BreakChannel func(e engine.Engine, channel string)

	// Stall holds up what tells an engine that its memory is out of date,
	// until resume is called. An engine without such a memory needs none.
	Stall func(e engine.Engine) (resume func())

	// Jump sets the wall clock by which the store goes forward by d, or back
	// if d is negative, for every engine on the store, as if somebody had set
	// the clocks of the machines. Monotonic time goes on as it did. A store
	// that is never told of wall time does nothing here.
	Jump func(e engine.Engine, d time.Duration)

	// NotShared says that only one engine at a time can be open on a store.
	// What the contract says about several is then skipped.
	NotShared bool

	// NoDeadLetters and the others say that the engine does not implement
	// engine.DeadLetters, engine.Inspector, engine.Credentials,
	// engine.Attributes, engine.Memory, engine.Retainer or engine.Contents.
	// Otherwise it has to.
	NoDeadLetters bool
	NoInspector   bool
	NoCredentials bool
	NoAttributes  bool
	NoMemory      bool
	NoRetainer    bool
	NoContents    bool
}

// Opener opens an engine on one store. Each call gives another engine on the
// same store, as another process would have it; also after the ones before
// were closed. Zero fields of the retention leave what the store has, the others
// are written with the first Claim.
type Opener func(r engine.Retention) (engine.Engine, error)

// Run runs the suite. Its subtests are parallel and mostly wait: twenty to forty
// seconds on two processors, a few with -parallel 16.
func Run(t *testing.T, h Harness) {
	if h.NewStore == nil {
		t.Fatal("enginetest: Harness.NewStore is required")
	}
	for _, g := range groups {
		t.Run(g.name, func(t *testing.T) {
			t.Parallel()
			for _, c := range g.checks {
				t.Run(c.name, func(t *testing.T) {
					t.Parallel()
					if why := h.lacks(c.needs); why != "" {
						t.Skip(why)
					}
					c.run(newEnv(t, h, patience))
				})
			}
		})
	}
}

// patience is how long something that is promised may take. It is far more
// than an engine needs: a slow machine must not fail the suite.
const patience = 15 * time.Second

// group is a part of the contract and check one promise of it. They are data,
// not test functions, so that the suite's own tests can run single checks on
// broken engines.
type group struct {
	name   string
	checks []check
}

type check struct {
	name  string
	needs needs
	run   func(*env)
}

// needs are the optional abilities, and the hooks, that a check makes use of.
type needs uint16

const (
	sharing needs = 1 << iota
	breaks
	stalls
	jumps
	deadLetters
	inspector
	credentials
	attributes
	memory
	retainer
	contents
)

// groups are in the order in which a new engine is best made to pass them.
var groups = []group{
	{"Push", pushChecks},
	{"Past", pastChecks},
	{"Identity", identityChecks},
	{"Claim", claimChecks},
	{"Next", nextChecks},
	{"Settle", settleChecks},
	{"Release", releaseChecks},
	{"Lease", leaseChecks},
	{"Extend", extendChecks},
	{"Follow", followChecks},
	{"Defer", deferChecks},
	{"Subscribers", subscriberChecks},
	{"Registration", registrationChecks},
	{"Audience", audienceChecks},
	{"Shared", sharedChecks},
	{"Clock", clockChecks},
	{"Watch", watchChecks},
	{"DeadLetters", deadChecks},
	{"Inspector", inspectorChecks},
	{"LanePage", lanePageChecks},
	{"Credentials", credentialChecks},
	{"Attributes", attributeChecks},
	{"Memory", memoryChecks},
	{"Retention", retentionChecks},
	{"Contents", contentsChecks},
	{"Invalid", invalidChecks},
	{"Ping", pingChecks},
	{"Context", contextChecks},
	{"Close", closeChecks},
	{"Many", manyChecks},
}

func (h Harness) lacks(n needs) string {
	switch {
	case n&sharing != 0 && h.NotShared:
		return "the harness says that the store cannot be shared"
	case n&breaks != 0 && h.BreakChannel == nil:
		return "the harness has no BreakChannel"
	case n&stalls != 0 && h.Stall == nil:
		return "the harness has no Stall"
	case n&jumps != 0 && h.Jump == nil:
		return "the harness has no Jump"
	case n&deadLetters != 0 && h.NoDeadLetters:
		return "the harness says that the engine has no DeadLetters"
	case n&inspector != 0 && h.NoInspector:
		return "the harness says that the engine has no Inspector"
	case n&credentials != 0 && h.NoCredentials:
		return "the harness says that the engine has no Credentials"
	case n&attributes != 0 && h.NoAttributes:
		return "the harness says that the engine has no Attributes"
	case n&memory != 0 && h.NoMemory:
		return "the harness says that the engine has no Memory"
	case n&retainer != 0 && h.NoRetainer:
		return "the harness says that the engine has no Retainer"
	case n&contents != 0 && h.NoContents:
		return "the harness says that the engine has no Contents"
	}
	return ""
}

// env is what a check works with: the test and one store of its own.
type env struct {
	testing.TB
	ctx      context.Context
	h        Harness
	store    Opener
	patience time.Duration
	opened   int
	jumped   bool // wall time was set
	// inexact is how long the slowest call took by which an engine may have
	// found out how far wall time jumped, in nanoseconds; see grain.
	inexact atomic.Int64
}

// grain is how much too early something may be. An engine learns how far wall
// time has jumped from calls of its store, and no more exactly than they take;
// two engines may each be off by that. Calls that an engine makes by itself, such
// as those that see hints, are not measured here: unnoticed is for them.
func (e *env) grain() time.Duration {
	const unnoticed = 25 * time.Millisecond
	if !e.jumped {
		return clockGrain
	}
	return clockGrain + 2*time.Duration(e.inexact.Load()) + unnoticed
}

// asks runs a call by which an engine may find out about a jump.
func (e *env) asks(call func()) {
	began := time.Now()
	call()
	if took := int64(time.Since(began)); e.jumped && took > e.inexact.Load() {
		e.inexact.Store(took)
	}
}

func newEnv(t testing.TB, h Harness, patience time.Duration) *env {
	t.Helper()
	// A call that hangs becomes an error that names it.
	ctx, cancel := context.WithTimeout(t.Context(), 4*patience)
	e := &env{TB: t, ctx: ctx, h: h, patience: patience}
	e.store = h.NewStore(t)
	t.Cleanup(cancel)
	return e
}

// open opens one more engine on the check's store.
func (e *env) open() *client { e.Helper(); return e.openWith(engine.Retention{}) }

// openWith opens an engine as an app that runs has it: it has claimed.
func (e *env) openWith(r engine.Retention) *client {
	e.Helper()
	c := e.openAndLook(r)
	if r != (engine.Retention{}) {
		c.runs()
	}
	return c
}

// openAndLook opens an engine that has claimed nothing yet.
func (e *env) openAndLook(r engine.Retention) *client {
	e.Helper()
	eng, err := e.store(r)
	if err != nil {
		e.Fatalf("cannot open an engine on the store: %v", err)
	}
	e.opened++
	c := &client{Engine: eng, e: e, name: string(rune('@' + e.opened))}
	e.Cleanup(func() {
		if c.abandoned && e.h.Abandon != nil {
			return
		}
		if err := eng.Close(); err != nil {
			e.Errorf("engine %s: Close: %v", c.name, err)
		}
	})
	return c
}

// eventually polls until ok says yes, and fails with the rule if it never does.
func (e *env) eventually(rule string, ok func() bool) {
	e.Helper()
	e.eventuallySo(rule, func() (bool, string) { return ok(), "" })
}

// eventuallySo is eventually for what can say how it is instead.
func (e *env) eventuallySo(rule string, ok func() (yes bool, instead string)) {
	e.Helper()
	for end := time.Now().Add(e.patience); ; time.Sleep(pollEvery) {
		yes, instead := ok()
		if yes {
			return
		}
		if time.Now().After(end) {
			e.Fatalf("%s: still not so after %v %s", rule, e.patience, instead)
		}
	}
}

// pass waits until a span of time that the engine was told about is certainly
// over: d after the moment at which the call that named it returned.
func (e *env) pass(returned time.Time, d time.Duration) {
	time.Sleep(time.Until(returned.Add(d + clockGrain)))
}

// tick lets the clock of any engine move on, so that two calls get different
// times.
func (e *env) tick() { time.Sleep(2 * clockGrain) }

const (
	// pollEvery is short since most of what is polled for is there at once.
	pollEvery = 10 * time.Millisecond
	// clockGrain is how coarse an engine's clock may be.
	clockGrain = 5 * time.Millisecond
	// brief is a lease, delay or deferral that a check waits for the end of.
	brief = 250 * time.Millisecond
	// long is one that does not end while a check runs.
	long = time.Hour
)
