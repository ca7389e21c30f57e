package sqliteengine

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Defer implements engine.Engine.
func (e *Engine) Defer(ctx context.Context, key engine.Lane, d time.Duration) error {
	if err := key.Validate(); err != nil {
		return err
	}
	return e.do(ctx, "defer", &op{anyway: true, run: func(w *writer) error {
		l, err := w.findLane(key)
		if err != nil || l == nil && d <= 0 {
			return err
		}
		if l == nil {
			if l, err = w.makeLane(key); err != nil {
				return err
			}
		}
		until := int64(0)
		if d > 0 {
			until = w.now + micros(d)
		}
		w.setLane(l, l.next, until)
		if until == 0 && l.next <= w.now {
			w.hinted |= kindOf(key.Kind)
		}
		return nil
	}})
}
