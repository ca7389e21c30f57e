package memengine

import (
	"sync"

	"github.com/watermarkchurch/toot-go/engine"
)

// watcher calls wake from a goroutine of its own.
type watcher struct {
	wake  func(engine.Kind)
	kinds chan engine.Kind
	stop  chan struct{}
	ended chan struct{}
	once  sync.Once
}

// Watch implements engine.Engine.
func (e *Engine) Watch(wake func(engine.Kind)) (stop func()) {
	w := &watcher{wake: wake, kinds: make(chan engine.Kind, 16), stop: make(chan struct{}), ended: make(chan struct{})}
	go w.run()
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	e.s.watchers[w] = true
	e.watching[w] = true
	return func() { e.s.unwatch(w) }
}

func (w *watcher) run() {
	defer close(w.ended)
	for {
		select {
		case <-w.stop:
			return
		case k := <-w.kinds:
			w.wake(k)
		}
	}
}

func (s *Store) unwatch(w *watcher) {
	s.mu.Lock()
	delete(s.watchers, w)
	s.mu.Unlock()
	w.once.Do(func() { close(w.stop) })
	<-w.ended
}

// hint tells watchers of work of a kind. The store is locked.
func (s *Store) hint(k engine.Kind) {
	for w := range s.watchers {
		select {
		case w.kinds <- k:
		default: // a hint too many
		}
	}
}
