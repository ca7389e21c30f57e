package lanes

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Push gathers jobs on their way into the store. Where a pool has room to work
// on a job at once, the job is stored under a lease and handed to the pool as
// soon as it is durable, without being read back. Its zero value is empty. It
// ends with Store or Cancel, or as what follows a job that is Finished.
type Push struct {
	jobs    []engine.Job
	targets []target
}

// target is where a job goes. lane is nil if there was no room.
type target struct {
	pool  *Pool
	lane  *Lane
	bytes int // of the room
	since int // Pool.giveBacks then
	// delay, if more than zero, is how long from now the job is due.
	delay time.Duration
}

// Add takes up a job of a pool. A nil event means that of the job which this
// Push follows.
func (h *Push) Add(to *Pool, e *engine.Event, lane string) {
	job := engine.Job{Event: e, Lane: engine.Lane{Kind: to.Kind, Name: lane}}
	bytes := 0
	if e != nil && (len(h.jobs) == 0 || h.jobs[len(h.jobs)-1].Event != e) {
		bytes = len(e.Body)
	}
	l, since := to.reserve(lane, bytes)
	if l != nil {
		job.Lease = to.Lease
	}
	h.jobs = append(h.jobs, job)
	h.targets = append(h.targets, target{pool: to, lane: l, bytes: bytes, since: since})
}

// AddLater takes up a job of a pool that is due after a delay of more than zero.
// It waits in the store alone: nothing of it is kept in memory, and jobs that are
// added to its lane meanwhile don't queue up behind it.
func (h *Push) AddLater(to *Pool, e *engine.Event, lane string, delay time.Duration) {
	h.jobs = append(h.jobs, engine.Job{Event: e, Lane: engine.Lane{Kind: to.Kind, Name: lane}, Delay: delay})
	h.targets = append(h.targets, target{pool: to, delay: delay})
}

// Store stores the jobs and hands on those that were stored under a lease. It
// returns the audiences of channels, of which up to most subscribers are listed,
// as of a moment after the call began.
func (h *Push) Store(ctx context.Context, eng engine.Engine, channels []string, most int) ([]engine.Audience, error) {
	if len(h.jobs) == 0 && len(channels) == 0 {
		return nil, nil
	}
	began := time.Now()
	res, err := eng.Push(ctx, engine.PushRequest{Jobs: h.jobs, Channels: channels, MaxSubscribers: most})
	if err != nil {
		h.Cancel()
		return nil, err
	}
	h.stored(res.Tickets, nil, began)
	return res.Audiences, nil
}

// StoreIn is Store in a transaction that somebody else ends, by a function that
// pushes in it. Jobs are handed on when ended is told that it has committed; if
// it has not, or nobody knows, the room that was reserved is given back.
func (h *Push) StoreIn(ctx context.Context, push func(context.Context, engine.PushRequest) (engine.PushResult, func(), error), channels []string, most int) (audiences []engine.Audience, ended func(committed bool), err error) {
	if len(h.jobs) == 0 && len(channels) == 0 {
		return nil, func(bool) {}, nil
	}
	began := time.Now()
	res, committed, err := push(ctx, engine.PushRequest{Jobs: h.jobs, Channels: channels, MaxSubscribers: most})
	if err != nil {
		h.Cancel()
		return nil, nil, err
	}
	return res.Audiences, func(yes bool) {
		if !yes {
			h.Cancel()
			return
		}
		committed()
		h.stored(res.Tickets, nil, began)
	}, nil
}

// stored is called once the jobs are durable. event stands for nil events;
// began is a time before the call that stored them, since when leases count.
func (h *Push) stored(tickets []engine.Ticket, event *engine.Event, began time.Time) {
	for i, t := range h.targets {
		job := &h.jobs[i]
		switch {
		case t.delay > 0:
			t.pool.lookAfter(t.delay)
		case t.lane == nil:
			t.pool.noteStored(job.Lane.Name)
		case tickets[i] == "":
			t.pool.cancelReservation(t.lane, t.bytes) // it was there already
		default:
			e := job.Event
			if e == nil {
				e = event
			}
			t.pool.receive(t, engine.Claimed{Ticket: tickets[i], Event: e, Lane: job.Lane, Claims: 1}, began)
		}
	}
}

// Cancel gives back the room that was reserved.
func (h *Push) Cancel() {
	for _, t := range h.targets {
		if t.lane != nil {
			t.pool.cancelReservation(t.lane, t.bytes)
		}
	}
}

// noteStored notes a job that went into the store without being handed over.
func (p *Pool) noteStored(lane string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != running {
		return
	}
	l := p.meetLaneLocked(lane)
	l.noteLeftInStore()
	now := time.Now()
	if l.wantsMore() && !l.rests(now) && !l.hangs(now) && !l.terms.Paused {
		p.Wake()
	}
}
