package pgengine

import (
	"context"
	"fmt"
	"hash/fnv"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// kinds is a set of engine.Kind.
type kinds uint8

func kindOf(k engine.Kind) kinds { return 1 << k }

const allKinds = kinds(1<<engine.FanOut | 1<<engine.Deliver | 1<<engine.Handle)

// notifyEvery is how often a process sends a notification at most. Each takes a
// lock over the whole server when it is committed, so they are sent in statements
// of their own, and only while others have the store open.
const notifyEvery = 20 * time.Millisecond

// watcher passes on hints: those of this process from memory, those of others from
// notifications, each of which names its sender and the kinds of work, such as
// "KPZ… 23", and what lies there unasked from the pulse.
type watcher struct {
	mu      sync.Mutex
	wakes   map[int]func(engine.Kind)
	last    int
	pending kinds
	signal  chan struct{}

	told    kinds // to be sent to others
	tell    chan struct{}
	cancel  context.CancelFunc // nil until somebody watches
	stopped bool
	running sync.WaitGroup

	calling sync.Mutex // held while wakes are called
}

func (e *Engine) startWatch() {
	e.watch.signal = make(chan struct{}, 1)
	e.watch.tell = make(chan struct{}, 1)
	e.watch.wakes = make(map[int]func(engine.Kind))
	e.house.poke = make(chan struct{}, 1)
	e.house.others.Store(true) // until it is known
}

// channel is the name of the schema's notifications, which may have 63 bytes.
func (e *Engine) channel() string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(e.schema))
	return fmt.Sprintf("toot_%016x", h.Sum64())
}

// Watch calls wake when there may be work, as engine.Engine says.
func (e *Engine) Watch(wake func(engine.Kind)) (stop func()) {
	w := &e.watch
	if e.calls.enter() != nil {
		return func() {}
	}
	defer e.calls.leave()
	e.work()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.last++
	id := w.last
	w.wakes[id] = wake
	return func() {
		w.mu.Lock()
		delete(w.wakes, id)
		w.mu.Unlock()
		w.calling.Lock() // a call under way ends first
		defer w.calling.Unlock()
	}
}

// work starts what goes on beside the calls, of an engine that claims or watches.
func (e *Engine) work() {
	w := &e.watch
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cancel != nil || w.stopped {
		return
	}
	var ctx context.Context
	ctx, w.cancel = context.WithCancel(context.Background())
	w.running.Go(func() { e.passOn(ctx) })
	w.running.Go(func() { e.tellOthers(ctx) })
	w.running.Go(func() { e.pulse(ctx) })
	w.running.Go(func() { e.keepHouse(ctx) })
	if !e.pooled {
		w.running.Go(func() { e.listen(ctx) })
	}
}

func (e *Engine) stopWatch() {
	w := &e.watch
	w.mu.Lock()
	clear(w.wakes)
	w.stopped = true
	if w.cancel != nil {
		w.cancel()
	}
	w.mu.Unlock()
	w.running.Wait()
}

// hint tells watchers, of this process and of others, that there may be work.
func (e *Engine) hint(k kinds) {
	if k == 0 {
		return
	}
	e.work()
	e.wake(k)
	w := &e.watch
	w.mu.Lock()
	w.told |= k
	w.mu.Unlock()
	signal(w.tell)
}

// wake notes that there may be work; passOn does the rest.
func (e *Engine) wake(k kinds) {
	w := &e.watch
	w.mu.Lock()
	w.pending |= k
	w.mu.Unlock()
	signal(w.signal)
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
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
		w.pending = 0
		wakes := slices.Collect(maps.Values(w.wakes))
		w.mu.Unlock()
		for k := engine.FanOut; k <= engine.Handle; k++ {
			for _, wake := range wakes {
				if due&kindOf(k) != 0 {
					wake(k)
				}
			}
		}
		w.calling.Unlock()
	}
}

// tellOthers sends notifications, no more often than notifyEvery.
func (e *Engine) tellOthers(ctx context.Context) {
	w := &e.watch
	for {
		select {
		case <-ctx.Done():
			return
		case <-w.tell:
		}
		w.mu.Lock()
		told := w.told
		w.told = 0
		w.mu.Unlock()
		if told == 0 || e.pooled || !e.house.others.Load() {
			continue
		}
		var b strings.Builder
		fmt.Fprintf(&b, "%s ", e.id)
		for k := engine.FanOut; k <= engine.Handle; k++ {
			if told&kindOf(k) != 0 {
				fmt.Fprint(&b, int(k))
			}
		}
		if _, err := e.pool.Exec(ctx, "SELECT pg_notify($1, $2)", e.mode, e.channel(), b.String()); err != nil && ctx.Err() == nil {
			e.log.Debug("pgengine: a hint was not sent; other processes find the work a second later", "error", err)
		}
		sleep(ctx, notifyEvery)
	}
}

func sleep(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// listen receives the hints of other processes. Each time that it has begun to, it
// may have missed some before.
func (e *Engine) listen(ctx context.Context) {
	const first = 50 * time.Millisecond
	for pause := first; ctx.Err() == nil; pause = min(2*pause, time.Second) {
		err := e.listenOnce(ctx, func() { pause = first })
		if ctx.Err() != nil {
			return
		}
		e.log.Debug("pgengine: not listening for hints; jobs may start a second late until it works again", "error", err)
		sleep(ctx, pause)
	}
}

func (e *Engine) listenOnce(ctx context.Context, heard func()) error {
	conn, err := e.connect(ctx)
	if err != nil {
		return err
	}
	defer func() {
		// What is told on the way out need not arrive.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(ctx)
	}()
	if _, err := conn.Exec(ctx, "LISTEN "+e.channel()); err != nil {
		return err
	}
	e.wake(allKinds)
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		heard()
		sender, told, _ := strings.Cut(n.Payload, " ")
		if sender == string(e.id) {
			continue
		}
		k := kinds(0)
		for _, digit := range told {
			k |= 1 << (digit - '0') & allKinds
		}
		e.wake(k)
	}
}
