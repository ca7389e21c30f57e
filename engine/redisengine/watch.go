package redisengine

import (
	"context"
	"crypto/rand"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// watcher passes on hints: those of this process from memory, those of others
// from a pub/sub channel of the namespace. A message names its sender and the
// kinds of work, such as "KPZ… 23".
type watcher struct {
	channel string
	sender  string

	mu      sync.Mutex
	wakes   map[int]func(engine.Kind)
	last    int
	pending wakeups
	signal  chan struct{}
	cancel  context.CancelFunc // nil until somebody watches
	running sync.WaitGroup

	calling sync.Mutex // held while wakes are called
}

func (e *Engine) startWatch() {
	e.watch.channel = e.namespace + ":wake"
	e.watch.sender = rand.Text()
	e.watch.signal = make(chan struct{}, 1)
	e.watch.wakes = make(map[int]func(engine.Kind))
}

// Watch calls wake when there may be work, as engine.Engine says.
func (e *Engine) Watch(wake func(engine.Kind)) (stop func()) {
	w := &e.watch
	if e.calls.enter() != nil {
		return func() {}
	}
	defer e.calls.calls.Done()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	id := w.last
	w.wakes[id] = wake
	if w.cancel == nil {
		var ctx context.Context
		ctx, w.cancel = context.WithCancel(context.Background())
		w.running.Go(func() { e.passOn(ctx) })
		w.running.Go(func() { e.listen(ctx) })
	}
	return func() {
		w.mu.Lock()
		delete(w.wakes, id)
		w.mu.Unlock()
		w.calling.Lock() // a call under way ends first
		defer w.calling.Unlock()
	}
}

func (e *Engine) stopWatch() {
	w := &e.watch
	w.mu.Lock()
	clear(w.wakes)
	if w.cancel != nil {
		w.cancel()
	}
	w.mu.Unlock()
	w.running.Wait()
}

// wake notes that there may be work; passOn does the rest.
func (e *Engine) wake(kinds wakeups) {
	if kinds == (wakeups{}) {
		return
	}
	w := &e.watch
	w.mu.Lock()
	for i, due := range kinds {
		w.pending[i] = w.pending[i] || due
	}
	w.mu.Unlock()
	select {
	case w.signal <- struct{}{}:
	default:
	}
}

// wakeTold is wake for kinds that a script names.
func (e *Engine) wakeTold(told string) {
	var kinds wakeups
	kinds.addTold(told)
	e.wake(kinds)
}

func (e *Engine) passOn(ctx context.Context) {
	w := &e.watch
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.signal:
		}
		w.calling.Lock()
		w.mu.Lock()
		due := w.pending
		w.pending = wakeups{}
		wakes := slices.Collect(maps.Values(w.wakes))
		w.mu.Unlock()
		for _, kind := range kinds {
			for _, wake := range wakes {
				if due[kind] {
					wake(kind)
				}
			}
		}
		w.calling.Unlock()
	}
}

// listen receives the hints of other processes. Each time that it has
// subscribed, it may have missed some before.
func (e *Engine) listen(ctx context.Context) {
	w := &e.watch
	everything := wakeups{false, true, true, true}
	hooked := rueidis.WithOnSubscriptionHook(ctx, func(s rueidis.PubSubSubscription) {
		if s.Kind == "subscribe" {
			e.wake(everything)
		}
	})
	for pause := 50 * time.Millisecond; ctx.Err() == nil; pause = min(2*pause, time.Second) {
		err := e.client.Receive(hooked, e.client.B().Subscribe().Channel(w.channel).Build(), func(m rueidis.PubSubMessage) {
			sender, told, _ := strings.Cut(m.Message, " ")
			if sender != w.sender {
				e.stirAll()
				e.wakeTold(told)
			}
			pause = 50 * time.Millisecond
		})
		if ctx.Err() != nil {
			return
		}
		e.log.Debug("toot: not listening for hints; jobs may start late until it works again", "error", err)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}
