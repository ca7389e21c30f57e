package toot

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/lanes"
	"github.com/watermarkchurch/toot-go/internal/outbound"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// App is a publisher, a subscriber, or both, on one engine. Its methods may
// be called concurrently.
type App struct {
	*core
	publisher  *publisher
	subscriber *subscriber
	lanes      *lanes.Group

	run struct {
		sync.Mutex
		running bool
		stop    context.CancelFunc // ends Run
	}
}

// core is what both halves of an App stand on.
type core struct {
	engine  engine.Engine
	opts    Options
	log     *slog.Logger
	retry   retryPolicy
	calls   calls
	intake  *wire.Intake // nil: no bound
	trouble storeTrouble
}

// New returns an App that keeps what must not be lost in eng, which the
// caller closes after the App. Nil options mean the defaults.
func New(eng engine.Engine, opts *Options) (*App, error) {
	if eng == nil {
		return nil, errors.New("toot: New needs an engine, such as one from sqliteengine.Open")
	}
	if opts == nil {
		opts = &Options{}
	}
	c := &core{engine: eng, opts: opts.withDefaults()}
	if err := c.opts.check(); err != nil {
		return nil, err
	}
	c.log = c.opts.Logger
	if names, ok := eng.(engine.ChannelNames); ok && c.opts.ChannelPrefix == "" {
		names.KeepChannelsApart()
	}
	c.retry = retryPolicy{max: max(c.opts.MaxRetries, 0), delay: c.opts.RetryDelay, keep: c.opts.KeepTries}
	if most := c.opts.MaxIntakeBytes; most > 0 {
		// One body more by a byte than it may be is read up to there.
		c.intake = wire.NewIntake(int64(max(most, c.opts.MaxEventBytes+1)))
	}
	a := &App{core: c, lanes: lanes.NewGroup(eng, c.log)}
	var err error
	if a.publisher, err = newPublisher(c, a.lanes); err != nil {
		return nil, err
	}
	if a.subscriber, err = newSubscriber(c, a.lanes); err != nil {
		return nil, err
	}
	return a, nil
}

// check says what is wrong with the options, if anything.
func (o *Options) check() error {
	if o.ChannelPrefix != "" {
		if err := checkChannel(o.ChannelPrefix); err != nil {
			return wrapf(err, "Options.ChannelPrefix")
		}
	}
	for _, prefix := range o.SubscriptionPrefixes {
		if err := checkChannel(prefix); err != nil {
			return wrapf(err, "Options.SubscriptionPrefixes")
		}
	}
	if o.CallbackURL != "" {
		if err := wire.CheckHTTPURL(o.CallbackURL); err != nil {
			return wrapf(err, "Options.CallbackURL")
		}
	}
	if err := outbound.Hosts(o.BaggageHosts).Check(); err != nil {
		return wrapf(err, "Options.BaggageHosts")
	}
	return nil
}

// Close ends the App: methods that are called afterwards return ErrClosed, and the
// services answer 503. It ends Run, and waits for it and for other calls under way.
// The engine stays open; whoever opened it closes it. Closing twice is harmless.
func (a *App) Close() error {
	a.calls.close()
	a.run.Lock()
	if a.run.stop != nil {
		a.run.stop()
	}
	a.run.Unlock()
	a.calls.wait()
	a.publisher.close()
	a.subscriber.close()
	return nil
}

// Run works on this app's events: it delivers what was published and runs the
// handlers of what arrived. It works until ctx ends; then it takes nothing
// new, waits up to Options.DrainTimeout for what is in flight, gives back
// what it had not begun, and returns nil, or an error if something had to be
// cancelled. Nothing is lost either way.
//
// Any number of processes may run on one store. An app can publish without
// running. While the store can't be reached, Run keeps trying.
func (a *App) Run(ctx context.Context) error {
	if err := a.calls.enter(); err != nil {
		return err
	}
	defer a.calls.leave()
	ctx, err := a.beginRun(ctx)
	if err != nil {
		return err
	}
	defer a.endRun()

	a.lanes.Start()
	stop := a.engine.Watch(a.lanes.Wake)
	var beside sync.WaitGroup
	beside.Go(func() { a.subscriber.renew(ctx) })
	beside.Go(func() { a.subscriber.keepAnnounced(ctx) })
	beside.Go(func() { a.publisher.warnOfExcluded(ctx) })
	<-ctx.Done()
	stop()
	beside.Wait()
	if cancelled := a.lanes.Drain(a.opts.DrainTimeout); cancelled > 0 {
		return fmt.Errorf("toot: %d jobs were still running after the drain timeout of %v and were cancelled; they will be tried again", cancelled, a.opts.DrainTimeout)
	}
	return nil
}

// beginRun returns the context of a Run, of which there is one at a time.
func (a *App) beginRun(ctx context.Context) (context.Context, error) {
	a.run.Lock()
	defer a.run.Unlock()
	if a.run.running {
		return nil, ErrRunning
	}
	if a.calls.isClosed() { // since Run was called
		return nil, ErrClosed
	}
	a.run.running = true
	ctx, a.run.stop = context.WithCancel(ctx)
	return ctx, nil
}

func (a *App) endRun() {
	a.run.Lock()
	defer a.run.Unlock()
	a.run.stop()
	a.run.running = false
}

func (a *App) isRunning() bool {
	a.run.Lock()
	defer a.run.Unlock()
	return a.run.running
}

// calls counts the calls under way, which Close waits for.
type calls struct {
	mu     sync.RWMutex
	closed bool
	under  sync.WaitGroup
}

// enter begins a call; its caller calls leave when it ends.
func (c *calls) enter() error {
	c.mu.RLock()
	defer c.mu.RUnlock()
	if c.closed {
		return ErrClosed
	}
	c.under.Add(1)
	return nil
}

func (c *calls) leave() { c.under.Done() }

// join adds a goroutine to a call that has entered.
func (c *calls) join() { c.under.Add(1) }

func (c *calls) isClosed() bool {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.closed
}

func (c *calls) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
}

func (c *calls) wait() { c.under.Wait() }
