// Package demo is the course of `toot demo`: a publisher and a subscriber,
// each an app of its own with a store and a port of its own, and events on
// their way from the one to the other until every one is accounted for.
//
//	demo.go     the course
//	site.go     where it plays: stores, addresses, what is kept of them
//	apps.go     the publisher and the subscriber
//	faults.go   what goes wrong with --faults
//	ledger.go   which events were published, delivered, handled
//	journal.go  the same on disk, for the next run
//	journey.go  the way of the first few events, step by step
//	report.go   what is shown
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
)

// Options are what the demo can be told.
type Options struct {
	Events int
	Dir    string // where to keep the stores; "" for a folder that is removed
	Faults bool
	Store  string // "sqlite", or the URL of a Redis server or of a PostgreSQL database
	Out    *ui.UI
	Status *ui.UI // for progress
	Logger *slog.Logger
}

const (
	// shown is how many events are followed step by step.
	shown = 5
	// publishers and batch are how the others are published.
	publishers = 4
	batch      = 256
	// patience is how long nothing may happen before the demo gives up.
	patience = 30 * time.Second
)

// ErrLost is returned if an event was lost, or handled twice.
var ErrLost = errors.New("not every event was handled exactly once")

// ErrInterrupted is returned if ctx ended before the demo did.
var ErrInterrupted = errors.New("interrupted")

// Run runs the demo. When ctx ends it stops publishing, finishes what is in
// flight, and tells what is left.
func Run(ctx context.Context, o Options) error {
	s, err := openSite(ctx, o)
	if err != nil {
		return err
	}
	err = newCourse(o, s).run(ctx)
	return errors.Join(err, s.close())
}

// course is one run of the demo.
type course struct {
	Options
	site     *site
	ledger   *ledger
	faults   *faultPlan // nil: none
	journeys *journeys
	retries  *retryCount
}

func newCourse(o Options, s *site) *course {
	d := &course{Options: o, site: s, ledger: s.ledger, retries: &retryCount{}}
	d.journeys = newJourneys(s.ledger, min(shown, o.Events))
	if o.Faults {
		d.faults = planFaults(s.ledger.run, o.Events)
	}
	return d
}

func (d *course) run(ctx context.Context) error {
	sub, err := newSubscriber(d)
	if err != nil {
		return err
	}
	defer func() { _ = sub.stop() }() // said again where it matters
	pub, err := newPublisher(d)
	if err != nil {
		return err
	}
	defer func() { _ = pub.stop() }()
	if err := sub.register(ctx); err != nil {
		return err
	}
	d.showStart(pub, sub)
	pub.start()
	sub.start()

	err = d.sendFirst(ctx, pub)
	d.ledger.restBegins()
	if err == nil {
		err = d.sendRest(ctx, pub)
	}
	interrupted := errors.Is(err, ErrInterrupted)
	if err != nil && !interrupted {
		return err
	}
	// In the order of the path: what one hands on, the next still takes.
	if err := errors.Join(pub.stop(), sub.stop()); err != nil {
		return err
	}
	left, err := d.site.left(context.WithoutCancel(ctx))
	if err != nil {
		return err
	}
	return d.showEnd(left, interrupted)
}

// sendFirst publishes the first few events one by one, each once the one
// before it has been handled, so that their times are those of a quiet system.
func (d *course) sendFirst(ctx context.Context, pub *publisher) error {
	d.showJourneyTitle()
	for i, j := range d.journeys.all {
		j.begin()
		if err := pub.publish(ctx, i, i+1); err != nil {
			if ctx.Err() != nil {
				return ErrInterrupted
			}
			return err
		}
		select {
		case <-j.done:
			d.showJourney(j)
		case <-time.After(patience):
			d.showJourney(j)
			return nil // whoever waits for all will tell
		case <-ctx.Done():
			return ErrInterrupted
		}
	}
	return nil
}

// sendRest publishes the others as fast as it goes, and waits until every
// event, those of earlier runs included, has been handled.
func (d *course) sendRest(ctx context.Context, pub *publisher) error {
	d.showRestTitle()
	var next atomic.Int64
	next.Store(int64(len(d.journeys.all)))
	group, publishing := errgroup.WithContext(ctx)
	for range publishers {
		group.Go(func() error {
			for publishing.Err() == nil {
				from := int(next.Add(batch)) - batch
				if from >= d.Events {
					return nil
				}
				// A call that is cut short may or may not have published;
				// let it end.
				if err := pub.publish(context.WithoutCancel(ctx), from, min(from+batch, d.Events)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	published := make(chan error, 1)
	go func() { published <- group.Wait() }()
	return d.await(ctx, published)
}

// await shows how far it has come until all is done, or nothing moves.
func (d *course) await(ctx context.Context, published <-chan error) error {
	progress := d.Status.NewProgress(d.Events + d.ledger.carried)
	defer progress.End()
	ticker := time.NewTicker(5 * time.Millisecond)
	defer ticker.Stop()
	stopping := ctx.Done()
	var interrupted, all bool
	var last counts
	var lastLeft left
	moved := time.Now()
	for {
		select {
		case <-stopping:
			interrupted, stopping = true, nil
		case err := <-published:
			if err != nil {
				return fmt.Errorf("publishing: %w", err)
			}
			all, published = true, nil
		case <-ticker.C:
		}
		now := d.ledger.counts()
		d.showProgress(progress, now)
		if now != last {
			last, moved = now, time.Now()
		}
		if !all { // until Publish has returned, nobody can say what it did
			continue
		}
		if interrupted {
			return ErrInterrupted
		}
		if now.delivered >= now.published && now.handled >= now.published {
			if !d.site.resumed {
				return nil
			}
			// A run that was killed may have left jobs whose events it has
			// accounted for, or that it came not to note.
			l, err := d.site.left(ctx)
			if err != nil || l.waiting() == 0 {
				return err
			}
			if l != lastLeft {
				lastLeft, moved = l, time.Now()
			}
			ticker.Reset(50 * time.Millisecond)
		}
		if time.Since(moved) > patience {
			return nil // showEnd tells what is missing
		}
	}
}

// hurry makes trouble pass within seconds rather than weeks.
func (d *course) hurry(o *toot.Options) {
	o.RetryDelay = func(n int) time.Duration { return min(time.Duration(n+1)*200*time.Millisecond, 2*time.Second) }
	o.ProbeInterval = 2 * time.Second
	o.DrainTimeout = 5 * time.Second
	o.Logger = d.Logger
	if d.Faults {
		o.RequestTimeout = time.Second
	}
}
