package storecopy

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

const (
	// firstJobs are moved at first, when it is not known how large they are, and
	// then as many at a time as mostJobs and, at their size, mostBytes allow.
	firstJobs = 16
	mostJobs  = 250
	mostBytes = 8 << 20
	// horizon is how much later jobs have to be due to be moved without being
	// claimed: nobody else takes them while they are.
	horizon = time.Minute
	// lanePage is how many lanes are read at a time.
	lanePage = 500
)

// moveDue moves what is due in lanes of a kind, and tells when something will be
// again; a negative time if that is not known.
func (m *mover) moveDue(ctx context.Context, kind engine.Kind) (next time.Duration, err error) {
	for more := true; more; {
		if err := ctx.Err(); err != nil {
			return 0, context.Cause(ctx)
		}
		more, next, err = m.moveBatch(ctx, kind)
		if err != nil {
			return 0, err
		}
	}
	return next, nil
}

// toTheEnd is the context of what had better not be stopped by the one that it comes
// from: others would have to wait for the end of a lease, or jobs be in both stores.
func (m *mover) toTheEnd(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), m.opts.Lease/2)
}

// moveBatch moves some of what is due.
func (m *mover) moveBatch(ctx context.Context, kind engine.Kind) (more bool, next time.Duration, err error) {
	ctx, cancel := m.toTheEnd(ctx)
	defer cancel()
	res, err := m.from.Claim(ctx, engine.ClaimRequest{Kind: kind, Max: m.size, MaxPerLane: m.size, Lease: m.opts.Lease})
	if err != nil || len(res.Jobs) == 0 {
		return false, res.Next, err
	}
	if err := m.noteBatch(ctx, res.Jobs); err != nil {
		return false, 0, errors.Join(err, m.giveBack(ctx, res.Jobs))
	}
	jobs := make([]engine.LaterJob, len(res.Jobs))
	for i := range res.Jobs {
		jobs[i].Claimed = res.Jobs[i]
	}
	_, err = m.move(ctx, jobs, &m.counts.Due)
	return true, 0, err
}

// giveBack has jobs that were claimed wait as before.
func (m *mover) giveBack(ctx context.Context, jobs []engine.Claimed) error {
	outcomes := make([]engine.Outcome, len(jobs))
	for i := range jobs {
		outcomes[i] = engine.Outcome{Ticket: jobs[i].Ticket, Result: engine.Release}
	}
	_, err := m.from.Settle(ctx, outcomes)
	return err
}

// moveLater moves what is due later in a lane.
func (m *mover) moveLater(ctx context.Context, lane engine.Lane) error {
	for {
		jobs, err := m.from.Later(ctx, lane, horizon, m.size)
		if err != nil || len(jobs) == 0 {
			return err
		}
		var due, later []engine.LaterJob
		for _, j := range jobs {
			if m.overdue[jobName(&j.Claimed)] {
				j.Due = 0
				due = append(due, j)
			} else {
				later = append(later, j)
			}
		}
		done1, err := m.move(ctx, due, &m.counts.Due)
		if err != nil {
			return err
		}
		done2, err := m.move(ctx, later, &m.counts.Later)
		if err != nil || done1+done2 == 0 { // others are quicker
			return err
		}
	}
}

// move stores jobs in the second store and removes them from the first. It returns
// how many it has removed.
func (m *mover) move(ctx context.Context, jobs []engine.LaterJob, count *Jobs) (removed int, err error) {
	if len(jobs) == 0 {
		return 0, nil
	}
	ctx, cancel := m.toTheEnd(ctx)
	defer cancel()
	if err := m.noteMoved(ctx); err != nil {
		return 0, err
	}
	pushed := make([]engine.Job, len(jobs))
	outcomes := make([]engine.Outcome, len(jobs))
	var events events
	for i := range jobs {
		j := &jobs[i]
		pushed[i] = engine.Job{
			Event: events.shared(j.Event), Lane: j.Lane, Age: j.Age,
			Past: &engine.Outcome{Result: engine.Release, After: max(j.Due, 0), Attempt: j.Attempt, History: j.History},
		}
		outcomes[i] = engine.Outcome{Ticket: j.Ticket, Result: engine.Done}
	}
	if err := m.push(ctx, pushed); err != nil {
		return 0, err
	}
	settled, err := m.from.Settle(ctx, outcomes)
	if err != nil {
		return 0, err
	}
	for i := range settled {
		if settled[i].OK {
			removed++
			count.add(jobs[i].Lane.Kind, 1)
		} else {
			m.counts.Doubled++
		}
	}
	m.adapt(pushed)
	m.progress()
	return removed, nil
}

// push stores jobs in the second store.
func (m *mover) push(ctx context.Context, jobs []engine.Job) error {
	_, err := m.to.Push(ctx, engine.PushRequest{Jobs: jobs})
	if errors.Is(err, engine.ErrInvalid) && len(jobs) > 1 {
		for i := range jobs {
			if err := m.push(ctx, jobs[i:i+1]); err != nil {
				return err
			}
		}
		return nil
	}
	if errors.Is(err, engine.ErrInvalid) {
		return named(err, "the second store does not take the event %q of the channel %q", jobs[0].Event.ID, jobs[0].Event.Channel)
	}
	return err
}

// adapt has so many jobs moved next time as fit into memory easily, if they are as
// large as these.
func (m *mover) adapt(jobs []engine.Job) {
	size := 1
	for i := range jobs {
		size += len(jobs[i].Event.Body) + len(jobs[i].Past.History)
	}
	m.size = min(max(mostBytes*len(jobs)/size, 1), mostJobs)
}

// events are those of a call: jobs about the same event are stored with one copy of
// it.
type events struct {
	known map[[3]string]*engine.Event
}

func (e *events) shared(event *engine.Event) *engine.Event {
	key := [3]string{event.Channel, event.ID, event.Replay}
	known := e.known[key]
	if known != nil && bytes.Equal(known.Body, event.Body) && bytes.Equal(known.Meta, event.Meta) {
		return known
	}
	if e.known == nil {
		e.known = map[[3]string]*engine.Event{}
	}
	e.known[key] = event
	return event
}

// moveDeferrals keeps everybody from lanes of the second store for as long as from
// those of the first, of which those that have jobs are opened, so that these can be
// claimed.
func (m *mover) moveDeferrals(ctx context.Context, lanes []engine.LaneStats) error {
	lanes = slices.DeleteFunc(slices.Clone(lanes), func(l engine.LaneStats) bool { return l.Deferred <= 0 })
	if len(lanes) == 0 {
		return nil
	}
	there, err := m.deferredThere(ctx)
	if err != nil {
		return err
	}
	for i := range lanes {
		l := &lanes[i]
		if l.Deferred > there[l.Lane] {
			if err := m.to.Defer(ctx, l.Lane, l.Deferred); err != nil {
				return err
			}
		}
		if l.Waiting > 0 {
			if err := m.from.Defer(ctx, l.Lane, 0); err != nil {
				return err
			}
		}
	}
	return nil
}

// deferredThere are the lanes of the second store that are deferred.
func (m *mover) deferredThere(ctx context.Context) (map[engine.Lane]time.Duration, error) {
	there := map[engine.Lane]time.Duration{}
	for q := (engine.LaneQuery{Max: lanePage}); ; {
		page, err := m.to.LanePage(ctx, q)
		if err != nil {
			return nil, err
		}
		for i := range page {
			if page[i].Deferred > 0 {
				there[page[i].Lane] = page[i].Deferred
			}
		}
		if len(page) < lanePage {
			return there, nil
		}
		q.After = page[len(page)-1].Lane
	}
}
