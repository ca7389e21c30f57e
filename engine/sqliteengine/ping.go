package sqliteengine

import "context"

// Ping implements engine.Engine. It takes the lock for writing, so that a file
// that another process keeps locked shows, and reads.
func (e *Engine) Ping(ctx context.Context) error {
	return e.do(ctx, "ping", &op{run: func(w *writer) error {
		_, err := w.c.queryInt("SELECT id FROM state")
		return err
	}})
}
