package memengine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// thing is what is remembered, and until when.
type thing struct {
	value []byte
	until time.Time
}

// Remember implements engine.Memory.
func (e *Engine) Remember(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
	end, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if key == "" || len(value) == 0 || d <= 0 {
		return nil, fmt.Errorf("memengine: to remember takes a key, a value and a time: %w", engine.ErrInvalid)
	}
	now := time.Now()
	maps.DeleteFunc(e.s.memory, func(_ string, t thing) bool { return !now.Before(t.until) })
	kept, there := e.s.memory[key]
	if !there {
		kept = thing{slices.Clone(value), now.Add(d)}
		e.s.memory[key] = kept
	}
	return slices.Clone(kept.value), nil
}
