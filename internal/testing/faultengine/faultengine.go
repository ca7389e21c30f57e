// Package faultengine wraps an engine and makes it fail, hang, be slow or die,
// as a script says. What a script decides depends on nothing but what it is
// told of a call, so that a run can be repeated.
package faultengine

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var (
	// ErrInjected is the error of calls that are made to fail, unless the
	// fault has one of its own.
	ErrInjected = errors.New("faultengine: the store is out of reach")
	// ErrCrashed is what every call returns after a crash. To its caller the
	// engine looks closed: whatever it is told, it does not listen.
	ErrCrashed = fmt.Errorf("faultengine: the process has died: %w", engine.ErrClosed)
)

// Method is a method of an engine.
type Method string

// The methods of engine.Engine, engine.DeadLetters, engine.Inspector and
// engine.Retainer. Hint
// is a call the other way, of the function given to Watch.
const (
	AddSubscriber    Method = "AddSubscriber"
	RemoveSubscriber Method = "RemoveSubscriber"
	Subscribers      Method = "Subscribers"
	Channels         Method = "Channels"
	Push             Method = "Push"
	Claim            Method = "Claim"
	Settle           Method = "Settle"
	Defer            Method = "Defer"
	Dead             Method = "Dead"
	Redrive          Method = "Redrive"
	Discard          Method = "Discard"
	Lanes            Method = "Lanes"
	LanePage         Method = "LanePage"
	Retention        Method = "Retention"
	Ping             Method = "Ping"
	Hint             Method = "Hint"
)

// Call is a call about to be made.
type Call struct {
	Method   Method
	N        int              // the first of its method is 1
	Jobs     []engine.Job     // of Push
	Outcomes []engine.Outcome // of Settle
}

// Fault is what becomes of a call. The zero value lets it be.
type Fault struct {
	// Delay is how long the call takes longer.
	Delay time.Duration
	// Late lets the call take effect before anything of what follows.
	Late bool
	// Hang keeps the call from returning until its context ends or the script
	// is replaced, upon which it goes on.
	Hang bool
	// Err is returned instead of an answer. A hint is lost.
	Err error
	// Crash makes this call and all that follow return ErrCrashed.
	Crash bool
}

// Script decides on each call. It may be called concurrently.
type Script func(Call) Fault

// Engine is an engine with faults. It implements the optional interfaces, too;
// where the engine inside does not, their methods fail with
// errors.ErrUnsupported.
type Engine struct {
	inner engine.Engine

	mu      sync.Mutex
	script  Script
	changed chan struct{} // closed when the script is replaced
	counts  map[Method]int
	crashed bool
}

var (
	_ engine.Engine      = (*Engine)(nil)
	_ engine.DeadLetters = (*Engine)(nil)
	_ engine.Inspector   = (*Engine)(nil)
)

// Wrap returns an engine without faults as yet.
func Wrap(inner engine.Engine) *Engine {
	return &Engine{inner: inner, changed: make(chan struct{}), counts: map[Method]int{}}
}

// Play replaces the script; nil ends all faults but a crash.
func (e *Engine) Play(s Script) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.script = s
	close(e.changed)
	e.changed = make(chan struct{})
}

// Crash makes the engine behave, from now on, as if its process had died.
func (e *Engine) Crash() {
	e.mu.Lock()
	e.crashed = true
	e.mu.Unlock()
	e.Play(nil)
}

// Crashed reports whether it has.
func (e *Engine) Crashed() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.crashed
}

// Calls is how often a method has been called.
func (e *Engine) Calls(m Method) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.counts[m]
}

// judge counts a call and asks the script.
func (e *Engine) judge(c Call) (f Fault, changed <-chan struct{}) {
	e.mu.Lock()
	e.counts[c.Method]++
	c.N = e.counts[c.Method]
	script, changed := e.script, e.changed
	crashed := e.crashed
	e.mu.Unlock()
	switch {
	case crashed:
		return Fault{Crash: true}, changed
	case script == nil:
		return Fault{}, changed
	}
	return script(c), changed
}

// run makes a call with what the script has in store for it. The call's
// results count only if run returns nil.
func (e *Engine) run(ctx context.Context, c Call, call func() error) error {
	f, changed := e.judge(c)
	if f.Delay > 0 {
		timer := time.NewTimer(f.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.Late {
		if err := call(); err != nil {
			return err
		}
	}
	if f.Hang {
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if f.Crash {
		e.Crash()
	}
	if e.Crashed() {
		return ErrCrashed
	}
	if f.Late && f.Err != nil {
		return fmt.Errorf("%w: %w", f.Err, engine.ErrUncertain)
	}
	if f.Err != nil || f.Late {
		return f.Err
	}
	err := call()
	if e.Crashed() {
		return ErrCrashed // it took effect, but nobody is there to hear of it
	}
	return err
}

// get is run for calls with a result.
func get[T any](ctx context.Context, e *Engine, c Call, call func() (T, error)) (T, error) {
	var result, none T
	err := e.run(ctx, c, func() (err error) {
		result, err = call()
		return err
	})
	if err != nil {
		return none, err
	}
	return result, nil
}

// AddSubscriber implements engine.Engine.
func (e *Engine) AddSubscriber(ctx context.Context, channel, callbackURL string, lease time.Duration) (bool, error) {
	return get(ctx, e, Call{Method: AddSubscriber}, func() (bool, error) { return e.inner.AddSubscriber(ctx, channel, callbackURL, lease) })
}

// RemoveSubscriber implements engine.Engine.
func (e *Engine) RemoveSubscriber(ctx context.Context, channel, callbackURL string, olderThan time.Duration) (bool, error) {
	return get(ctx, e, Call{Method: RemoveSubscriber}, func() (bool, error) { return e.inner.RemoveSubscriber(ctx, channel, callbackURL, olderThan) })
}

// Subscribers implements engine.Engine.
func (e *Engine) Subscribers(ctx context.Context, channel string) ([]string, error) {
	return get(ctx, e, Call{Method: Subscribers}, func() ([]string, error) { return e.inner.Subscribers(ctx, channel) })
}

// Channels implements engine.Engine.
func (e *Engine) Channels(ctx context.Context, prefix string) (map[string][]string, error) {
	return get(ctx, e, Call{Method: Channels}, func() (map[string][]string, error) { return e.inner.Channels(ctx, prefix) })
}

// Push implements engine.Engine.
func (e *Engine) Push(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
	return get(ctx, e, Call{Method: Push, Jobs: req.Jobs}, func() (engine.PushResult, error) { return e.inner.Push(ctx, req) })
}

// Claim implements engine.Engine.
func (e *Engine) Claim(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
	return get(ctx, e, Call{Method: Claim}, func() (engine.ClaimResult, error) { return e.inner.Claim(ctx, req) })
}

// Settle implements engine.Engine.
func (e *Engine) Settle(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
	return get(ctx, e, Call{Method: Settle, Outcomes: outcomes}, func() ([]engine.Settled, error) { return e.inner.Settle(ctx, outcomes) })
}

// Defer implements engine.Engine.
func (e *Engine) Defer(ctx context.Context, lane engine.Lane, d time.Duration) error {
	return e.run(ctx, Call{Method: Defer}, func() error { return e.inner.Defer(ctx, lane, d) })
}

// Ping implements engine.Engine.
func (e *Engine) Ping(ctx context.Context) error {
	return e.run(ctx, Call{Method: Ping}, func() error { return e.inner.Ping(ctx) })
}

// Watch implements engine.Engine. Of a fault only an error and a crash are
// heeded: a hint is lost or comes.
func (e *Engine) Watch(wake func(engine.Kind)) (stop func()) {
	return e.inner.Watch(func(k engine.Kind) {
		if f, _ := e.judge(Call{Method: Hint}); f.Err == nil && !f.Crash {
			wake(k)
		}
	})
}

// Close implements engine.Engine. After a crash the engine inside stays open.
func (e *Engine) Close() error {
	if e.Crashed() {
		return nil
	}
	return e.inner.Close()
}

// Dead implements engine.DeadLetters.
func (e *Engine) Dead(ctx context.Context, q engine.DeadQuery) ([]engine.Dead, error) {
	return of(ctx, e, Dead, func(d engine.DeadLetters) ([]engine.Dead, error) { return d.Dead(ctx, q) })
}

// Redrive implements engine.DeadLetters.
func (e *Engine) Redrive(ctx context.Context, ids []string) (int, error) {
	return of(ctx, e, Redrive, func(d engine.DeadLetters) (int, error) { return d.Redrive(ctx, ids) })
}

// Discard implements engine.DeadLetters.
func (e *Engine) Discard(ctx context.Context, ids []string) (int, error) {
	return of(ctx, e, Discard, func(d engine.DeadLetters) (int, error) { return d.Discard(ctx, ids) })
}

// Lanes implements engine.Inspector.
func (e *Engine) Lanes(ctx context.Context) ([]engine.LaneStats, error) {
	return of(ctx, e, Lanes, func(i engine.Inspector) ([]engine.LaneStats, error) { return i.Lanes(ctx) })
}

// LanePage implements engine.Inspector.
func (e *Engine) LanePage(ctx context.Context, q engine.LaneQuery) ([]engine.LaneSummary, error) {
	return of(ctx, e, LanePage, func(i engine.Inspector) ([]engine.LaneSummary, error) { return i.LanePage(ctx, q) })
}

// Retention implements engine.Retainer.
func (e *Engine) Retention(ctx context.Context) (engine.Retention, error) {
	return of(ctx, e, Retention, func(r engine.Retainer) (engine.Retention, error) { return r.Retention(ctx) })
}
