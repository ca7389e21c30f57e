package memengine

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// remembered is a value, and until when it is kept.
type remembered struct {
	value []byte
	until time.Time
}

// Remember implements engine.Memory.
func (e *Engine) Remember(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
	end, err := e.begin(ctx, engine.ValidateMemory(key, value, d))
	if err != nil {
		return nil, err
	}
	defer end()
	now := time.Now()
	maps.DeleteFunc(e.s.memory, func(_ string, r remembered) bool { return !now.Before(r.until) })
	r, there := e.s.memory[key]
	if !there {
		r = remembered{slices.Clone(value), now.Add(d)}
		e.s.memory[key] = r
	}
	return slices.Clone(r.value), nil
}
