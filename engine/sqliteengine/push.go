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
		for i, channel := range req.Channels {
			audiences[i] = w.audience(channel, req.MaxSubscribers)
		}
		return nil
	}})
	if err != nil {
		return engine.PushResult{}, err
	}
	return engine.PushResult{Tickets: b.out.strings(), Audiences: audiences}, nil
}
