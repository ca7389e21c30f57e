package sqliteengine

import (
	"context"

	"github.com/watermarkchurch/toot-go/engine"
)

// Push implements engine.Engine.
func (e *Engine) Push(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
	if err := req.Validate(); err != nil {
		return engine.PushResult{}, err
	}
	n := len(req.Jobs)
	b := &jobBatch{jobs: make([]newJob, 0, n), events: make([]newEvent, 0, n)}
	for i := range req.Jobs {
		b.addJob(e, &req.Jobs[i], -1, -1)
	}
	var audiences []engine.Audience
	if len(req.Channels) > 0 {
		audiences = make([]engine.Audience, len(req.Channels))
	}
	err := e.do(ctx, "push", &op{weight: 2 * n, run: func(w *writer) error {
		if err := w.findFresh(b, func(int) bool { return true }); err != nil {
			return err
		}
		if err := w.insertEvents(b); err != nil {
			return err
		}
		if err := w.insertJobs(b); err != nil {
			return err
		}
		if err := w.settlePasts(b, req.Jobs); err != nil {
			return err
		}
		for i, channel := range req.Channels {
			audiences[i] = w.audience(channel, req.MaxSubscribers)
		}
		return nil
	}})
	if err != nil {
		return engine.PushResult{}, err
	}
	tickets := b.out.strings()
	for i := range req.Jobs {
		if req.Jobs[i].Past != nil {
			tickets[i] = "" // it is settled
		}
	}
	return engine.PushResult{Tickets: tickets, Audiences: audiences}, nil
}

// settlePasts brings the new jobs of a Push that have a past to its outcome.
// They were stored under a lease.
func (w *writer) settlePasts(b *jobBatch, jobs []engine.Job) error {
	var outcomes []engine.Outcome
	var tickets []engine.Ticket
	for i := range jobs {
		if jobs[i].Past == nil || !b.jobs[i].fresh {
			continue
		}
		if tickets == nil {
			tickets = b.out.strings()
		}
		o := *jobs[i].Past
		o.Ticket, o.Follow = tickets[i], nil
		if o.Result == engine.Release {
			o.Result = engine.Retry // of a job that was stored with no claim
		}
		outcomes = append(outcomes, o)
	}
	if len(outcomes) == 0 {
		return nil
	}
	return newSettlement(w.e, outcomes).run(w)
}
