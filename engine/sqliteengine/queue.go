package sqliteengine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// op is one call that writes.
type op struct {
	// run does the call's work in the writer's transaction. It may be run
	// again after a rollback, so it begins by resetting its results.
	run func(w *writer) error
	// probe, of a call that often finds nothing to do, says so by reading
	// alone (answered), which takes no lock and no disk.
	probe func(w *writer) (answered bool, err error)
	// weight is about how many rows it writes.
	weight int
	// anyway is whether it is done even when the files are gone, see intact.go.
	anyway bool

	state atomic.Int32 // opQueued, …
	done  chan struct{}
	err   error
}

const (
	opQueued int32 = iota
	opRunning
	opCancelled
)

// start reports whether the op is still wanted; from then on it is not
// cancelled any more, until it is put back.
func (o *op) start() bool { return o.state.CompareAndSwap(opQueued, opRunning) }

func (o *op) putBack() { o.state.Store(opQueued) }

func (o *op) answer(err error) {
	o.err = err
	close(o.done)
}

// queue holds the calls that wait for the writer.
type queue struct {
	mu     sync.Mutex
	ops    []*op
	closed bool
	wake   chan struct{} // holds a value when there is something to see
}

func (q *queue) push(o *op) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return engine.ErrClosed
	}
	q.ops = append(q.ops, o)
	q.signal()
	return nil
}

func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.signal()
}

func (q *queue) signal() {
	select {
	case q.wake <- struct{}{}:
	default:
	}
}

// maxWeight bounds a transaction, so that the first call of many does not
// wait for the last, and the pages fit into the cache.
const maxWeight = 4096

// take appends calls to ops up to maxWeight. more is false once the queue is
// closed and empty.
func (q *queue) take(ops []*op) (_ []*op, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	weight := 0
	for _, o := range ops {
		weight += o.weight
	}
	n := 0
	for n < len(q.ops) && (len(ops) == 0 || weight < maxWeight) {
		ops = append(ops, q.ops[n])
		weight += q.ops[n].weight
		n++
	}
	rest := copy(q.ops, q.ops[n:])
	clear(q.ops[rest:])
	q.ops = q.ops[:rest]
	return ops, len(ops) > 0 || !q.closed
}

// do hands a call to the writer and waits for its answer. It does not return
// before the writer is done with the caller's memory.
func (e *Engine) do(ctx context.Context, name string, o *op) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := e.laid.refuses(o.anyway); err != nil {
		return e.explain(name, err)
	}
	o.done = make(chan struct{})
	o.weight++
	if err := e.queue.push(o); err != nil {
		return err
	}
	select {
	case <-o.done:
		return e.explain(name, o.err)
	case <-ctx.Done():
	}
	for !o.state.CompareAndSwap(opQueued, opCancelled) {
		// It is being run, or probed, after which it may wait again.
		select {
		case <-o.done:
			return e.explain(name, o.err)
		case <-time.After(time.Millisecond):
		}
	}
	return ctx.Err()
}
