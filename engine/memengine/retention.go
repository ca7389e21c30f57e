package memengine

import (
	"context"

	"github.com/watermarkchurch/toot-go/engine"
)

// Retention implements engine.Retainer.
func (e *Engine) Retention(ctx context.Context) (engine.Retention, error) {
	end, err := e.begin(ctx, nil)
	if err != nil {
		return engine.Retention{}, err
	}
	defer end()
	return e.s.retention, nil
}

// retain writes what the engine was opened with into the store, once. The store
// is locked.
func (e *Engine) retain() {
	e.s.retention = e.s.retention.With(e.wanted)
	e.wanted = engine.Retention{}
}
