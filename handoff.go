package toot

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// handOff gathers jobs on their way into the store. Where this process has
// room to work on a job at once, it is stored under a lease and handed to its
// dispatcher as soon as it is durable, without being read back.
type handOff struct {
	jobs    []engine.Job
	targets []target
}

// target is where a job goes. lane is nil if there was no room.
type target struct {
	dispatcher *dispatcher
	lane       *lane
}

// add takes up a job. A nil event means that of the job being settled.
func (h *handOff) add(d *dispatcher, e *engine.Event, laneName string) {
	job := engine.Job{Event: e, Lane: engine.Lane{Kind: d.kind, Name: laneName}}
	l := d.reserve(laneName)
	if l != nil {
		job.Lease = d.lease
	}
	h.jobs = append(h.jobs, job)
	h.targets = append(h.targets, target{d, l})
}

// push stores the jobs and hands on those that were stored under a lease.
func (h *handOff) push(ctx context.Context, eng engine.Engine) error {
	if len(h.jobs) == 0 {
		return nil
	}
	began := time.Now()
	res, err := eng.Push(ctx, engine.PushRequest{Jobs: h.jobs})
	if err != nil {
		h.abandon()
		return err
	}
	h.stored(res.Tickets, nil, began)
	return nil
}

// stored is called once the jobs are durable. event stands for nil events;
// began is a time before the call that stored them, since when leases count.
func (h *handOff) stored(tickets []engine.Ticket, event *engine.Event, began time.Time) {
	for i, t := range h.targets {
		job := &h.jobs[i]
		switch {
		case t.lane == nil:
			t.dispatcher.pushed(job.Lane.Name)
		case tickets[i] == "":
			t.dispatcher.unreserve(t.lane) // it was there already
		default:
			e := job.Event
			if e == nil {
				e = event
			}
			t.dispatcher.accept(t.lane, engine.Claimed{Ticket: tickets[i], Event: e, Lane: job.Lane, Claims: 1}, began)
		}
	}
}

// abandon gives back the room that was reserved.
func (h *handOff) abandon() {
	for _, t := range h.targets {
		if t.lane != nil {
			t.dispatcher.unreserve(t.lane)
		}
	}
}
