package sqliteengine

import (
	"context"

	"github.com/watermarkchurch/toot-go/engine"
)

// Push implements engine.Engine.
func (e *Engine) Push(ctx context.Context, jobs []engine.Job) ([]engine.Ticket, error) {
	b := &jobBatch{jobs: make([]newJob, 0, len(jobs)), events: make([]newEvent, 0, len(jobs))}
	for i := range jobs {
		if err := b.addJob(&jobs[i], -1, -1); err != nil {
			return nil, err
		}
	}
	err := e.do(ctx, "push", &op{weight: 2 * len(jobs), run: func(w *writer) error {
		if err := w.findFresh(b, func(int) bool { return true }); err != nil {
			return err
		}
		if err := w.insertEvents(b); err != nil {
			return err
		}
		return w.insertJobs(b)
	}})
	if err != nil {
		return nil, err
	}
	return b.out.strings(), nil
}
