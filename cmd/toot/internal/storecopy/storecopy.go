// Package storecopy moves what an app keeps in a store into another one.
//
// What says who gets which events is copied and stays in the first store as well:
// subscribers, users, and the attributes, in which are secrets, consents, owners
// and the terms of lanes. Jobs, which must exist once, are moved: a job is stored in
// the second store before it is removed from the first, and known again there if
// that is done twice.
package storecopy

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

// Options say what is copied. The zero value is fine.
type Options struct {
	// Prefix is that of the names of the channels and the realms that are copied.
	// Default: all.
	Prefix string
	// Realms are realms that are copied besides those that the store names itself.
	Realms []string
	// NamedRealms says that no other realms are copied.
	NamedRealms bool
	// WithoutJobs leaves the jobs, dead ones included, and deferrals of lanes where
	// they are.
	WithoutJobs bool
	// Wait is for how long jobs are waited for that others are working on, or that
	// are due too soon to be taken from those who might. Default: not at all.
	Wait time.Duration
	// Lease is for how long due jobs are claimed in the first store while they are
	// moved. Default 3 minutes.
	Lease time.Duration
	// Progress, unless nil, is called now and then with the counts so far.
	Progress func(Counts)
}

// Counts tells what was done, or what there is to be done.
type Counts struct {
	Subscribers, Attributes, Users Copied
	// Due were to be done now, Later at a later time, Dead not at all.
	Due, Later, Dead Jobs
	// Held are jobs that are left because somebody is working on them; Soon those
	// that are due too soon to be taken from those who might.
	Held, Soon int
	// Doubled are jobs that somebody took from the first store when they were in
	// the second already: they may be done twice.
	Doubled int
}

// Copied is a number of things that were copied, and of those that were not,
// because they are there already or were removed there since they were copied.
type Copied struct{ New, Known int }

// Jobs is a number of jobs for each kind.
type Jobs struct{ FanOut, Deliver, Handle int }

func (j *Jobs) add(k engine.Kind, n int) {
	switch k {
	case engine.FanOut:
		j.FanOut += n
	case engine.Deliver:
		j.Deliver += n
	case engine.Handle:
		j.Handle += n
	}
}

// Total is the number of jobs of all kinds.
func (j Jobs) Total() int { return j.FanOut + j.Deliver + j.Handle }

// Moved is the number of all jobs that were moved.
func (c Counts) Moved() int { return c.Due.Total() + c.Later.Total() + c.Dead.Total() }

// ErrSame is returned if both stores are one.
var ErrSame = errors.New("both names are of the same store: there is nothing to copy")

// MovedAwayError is the error of copying jobs into a store out of which jobs were
// moved a short while ago: it knows them still, and would not store them if they
// came back.
type MovedAwayError struct {
	// Left is how much longer it may know them.
	Left time.Duration
}

func (e *MovedAwayError) Error() string {
	return fmt.Sprintf("jobs were moved out of the second store a short while ago, and it would take them for done if they came back: try again in %v", e.Left.Round(time.Second))
}

// DefaultLease is the default of Options.Lease.
const DefaultLease = 3 * time.Minute

// Copy copies and moves from one store to another. What it has done by the time it
// fails is in the counts. A context that ends stops it between two batches of jobs.
// Running it again goes on: what has been copied is known by
// notes that are kept in the second store for 30 days, and jobs for as long as they
// are there, and for the dedupe window after they were stored. Apps may be at work
// on both stores meanwhile, but no second Copy from the same store.
func Copy(ctx context.Context, from, to anyengine.Store, opts Options) (Counts, error) {
	if opts.Lease <= 0 {
		opts.Lease = DefaultLease
	}
	m := &mover{from: from, to: to, opts: opts, size: firstJobs}
	err := m.run(ctx)
	return m.counts, err
}

type mover struct {
	from, to anyengine.Store
	opts     Options
	counts   Counts
	notes    map[string]engine.Attribute // see notes.go
	size     int                         // how many jobs are moved at a time
	noted    []byte                      // see batch.go
	overdue  map[string]bool             // see batch.go
	told     time.Time                   // see noteMoved
}

func (m *mover) run(ctx context.Context) error {
	if err := m.refuseSame(ctx); err != nil {
		return err
	}
	if err := m.refuseBack(ctx); err != nil {
		return err
	}
	if err := m.readNotes(ctx); err != nil {
		return err
	}
	// What a subscriber or a user must not be without comes before it.
	if err := m.copyAttributes(ctx); err != nil {
		return err
	}
	if err := m.copyUsers(ctx); err != nil {
		return err
	}
	if err := m.copySubscribers(ctx); err != nil {
		return err
	}
	if m.opts.WithoutJobs {
		return nil
	}
	if err := m.resume(ctx); err != nil {
		return err
	}
	lanes, err := m.from.Lanes(ctx)
	for began := time.Now(); err == nil; {
		var next time.Duration
		if next, err = m.pass(ctx, lanes); err != nil {
			return err
		}
		if lanes, err = m.from.Lanes(ctx); err != nil {
			return err
		}
		m.counts.Held, m.counts.Soon = 0, 0
		for i := range lanes {
			m.counts.Held += lanes[i].Leased
			m.counts.Soon += lanes[i].Waiting
		}
		left := m.counts.Held + m.counts.Soon
		rest := m.opts.Wait - time.Since(began)
		if left == 0 || rest <= 0 {
			return m.forgetBatch(ctx)
		}
		err = sleep(ctx, min(rest, max(next, 20*time.Millisecond), time.Second))
	}
	return err
}

// pass moves what can be moved now from lanes, and tells when to come again.
func (m *mover) pass(ctx context.Context, lanes []engine.LaneStats) (next time.Duration, err error) {
	if err := m.moveDeferrals(ctx, lanes); err != nil {
		return 0, err
	}
	next = time.Second
	for _, kind := range []engine.Kind{engine.FanOut, engine.Deliver, engine.Handle} {
		after, err := m.moveDue(ctx, kind)
		if err != nil {
			return 0, err
		}
		if after >= 0 {
			next = min(next, after)
		}
	}
	for i := range lanes {
		if lanes[i].Waiting > 0 {
			if err := m.moveLater(ctx, lanes[i].Lane); err != nil {
				return 0, err
			}
		}
	}
	return next, m.moveDead(ctx)
}

// refuseSame finds out whether what is written into the second store is in the
// first one, whatever their names.
func (m *mover) refuseSame(ctx context.Context) error {
	name := "probe " + rand.Text()
	if _, err := m.to.SwapAttribute(ctx, notesGroup, name, nil, []byte("1"), time.Minute); err != nil {
		return err
	}
	found, err := m.from.Attribute(ctx, notesGroup, name)
	if err != nil {
		return err
	}
	if _, err := m.to.SwapAttribute(ctx, notesGroup, name, []byte("1"), nil, 0); err != nil {
		return err
	}
	if len(found.Value) > 0 {
		return ErrSame
	}
	return nil
}

// movedName is the name of the note in a store out of which jobs are moved, which
// is kept for as long as it may know them.
const movedName = "moved"

// noteMoved says in the first store that jobs are moved out of it now.
func (m *mover) noteMoved(ctx context.Context) error {
	if !m.told.IsZero() && time.Since(m.told) < time.Minute {
		return nil
	}
	kept, err := m.from.Retention(ctx)
	if err != nil {
		return err
	}
	m.told = time.Now()
	old, err := m.from.Attribute(ctx, notesGroup, movedName)
	if err != nil {
		return err
	}
	_, err = m.from.SwapAttribute(ctx, notesGroup, movedName, old.Value, []byte("1"), 2*kept.Dedupe+2*time.Minute)
	return err
}

// refuseBack refuses to store jobs in a store out of which some were moved lately.
func (m *mover) refuseBack(ctx context.Context) error {
	if m.opts.WithoutJobs {
		return nil
	}
	moved, err := m.to.Attribute(ctx, notesGroup, movedName)
	if err == nil && len(moved.Value) > 0 {
		err = &MovedAwayError{moved.Left}
	}
	return err
}

func (m *mover) progress() {
	if m.opts.Progress != nil {
		m.opts.Progress(m.counts)
	}
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// named is the error of what was done about something.
func named(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", fmt.Sprintf(format, args...), err)
}
