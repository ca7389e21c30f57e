package memengine

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/watermarkchurch/toot-go/engine"
)

// Engine is one process's view of a store. It implements the optional
// interfaces of package engine, too.
type Engine struct {
	s      *Store
	wanted engine.Retention // what is to be written with the first Claim; guarded by s.mu

	calls    sync.RWMutex // held for writing by Close
	closed   bool
	watching map[*watcher]bool // guarded by s.mu
}

var (
	_ engine.Engine      = (*Engine)(nil)
	_ engine.DeadLetters = (*Engine)(nil)
	_ engine.Inspector   = (*Engine)(nil)
	_ engine.Credentials = (*Engine)(nil)
	_ engine.Attributes  = (*Engine)(nil)
	_ engine.Memory      = (*Engine)(nil)
	_ engine.Retainer    = (*Engine)(nil)
)

// begin starts a call, for which the store is locked, unless the request was
// found to be invalid. end, its result, ends the call.
func (e *Engine) begin(ctx context.Context, invalid error) (end func(), err error) {
	e.calls.RLock()
	switch {
	case e.closed:
		err = fmt.Errorf("memengine: %w", engine.ErrClosed)
	case ctx.Err() != nil:
		err = ctx.Err()
	case invalid != nil:
		err = fmt.Errorf("memengine: %w", invalid)
	}
	if err != nil {
		e.calls.RUnlock()
		return nil, err
	}
	e.s.mu.Lock()
	return func() {
		e.s.mu.Unlock()
		e.calls.RUnlock()
	}, nil
}

// Ping implements engine.Engine.
func (e *Engine) Ping(ctx context.Context) error {
	end, err := e.begin(ctx, nil)
	if err != nil {
		return err
	}
	end()
	return nil
}

// Close implements engine.Engine.
func (e *Engine) Close() error {
	e.calls.Lock()
	defer e.calls.Unlock()
	e.closed = true
	e.s.mu.Lock()
	watching := slices.Collect(maps.Keys(e.watching))
	e.s.noteChange() // AwaitTried finds the engine closed
	e.s.mu.Unlock()
	for _, w := range watching {
		e.s.unwatch(w)
	}
	return nil
}
