package sqliteengine

import (
	"sync"

	"github.com/watermarkchurch/toot-go/engine"
)

// kinds is a set of engine.Kind.
type kinds uint8

func kindOf(k engine.Kind) kinds { return 1 << k }

// hinter calls watchers from a goroutine of its own, so that none of them
// holds up the writer.
type hinter struct {
	mu       sync.Mutex
	pending  kinds
	closed   bool
	watchers map[*watcher]struct{}
	wake     chan struct{}
	changed  func() // called when there is a first watcher
}

type watcher struct {
	mu      sync.Mutex // held during a call
	stopped bool
	call    func(engine.Kind)
}

func (h *hinter) start(running *sync.WaitGroup, changed func()) {
	h.wake = make(chan struct{}, 1)
	h.watchers = map[*watcher]struct{}{}
	h.changed = changed
	running.Go(h.loop)
}

// watched reports whether anybody listens.
func (h *hinter) watched() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.watchers) > 0
}

// add has the watchers called.
func (h *hinter) add(k kinds) {
	if k == 0 {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.watchers) == 0 {
		return
	}
	h.pending |= k
	h.signal()
}

func (h *hinter) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.closed = true
	h.signal()
}

func (h *hinter) signal() {
	select {
	case h.wake <- struct{}{}:
	default:
	}
}

func (h *hinter) loop() {
	for range h.wake {
		h.mu.Lock()
		pending, closed := h.pending, h.closed
		h.pending = 0
		watchers := make([]*watcher, 0, len(h.watchers))
		for w := range h.watchers {
			watchers = append(watchers, w)
		}
		h.mu.Unlock()
		if closed {
			return
		}
		for _, w := range watchers {
			w.hint(pending)
		}
	}
}

func (w *watcher) hint(pending kinds) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for k := engine.FanOut; k <= engine.Handle && !w.stopped; k++ {
		if pending&kindOf(k) != 0 {
			w.call(k)
		}
	}
}

// Watch implements engine.Engine. stop must not be called from within wake.
func (e *Engine) Watch(wake func(engine.Kind)) (stop func()) {
	w := &watcher{call: wake}
	h := &e.hints
	h.mu.Lock()
	h.watchers[w] = struct{}{}
	h.mu.Unlock()
	h.changed()
	return func() {
		h.mu.Lock()
		delete(h.watchers, w)
		h.mu.Unlock()
		w.mu.Lock()
		w.stopped = true
		w.mu.Unlock()
	}
}
