package sqliteengine

import (
	"errors"
	"math/rand/v2"
	"runtime"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine/internal/sqlite"
)

// writer owns the connection that writes. It takes all calls that wait,
// runs them in one transaction and answers them once that is on disk: the
// more callers, the more calls share the price of a commit.
//
// What it remembers of the file is dropped when another process has written
// to it and when a transaction fails.
type writer struct {
	e *Engine
	c *conn

	owner   int64 // the engine's row in owners
	version int64 // PRAGMA data_version, which other connections' commits change
	lanes   laneCache
	seen    seenState
	nextSeq int64 // the next event's key; 0: not known
	dead    int   // how many dead letters there are; -1: not known
	aged    int64 // when dead letters were last trimmed by age

	// Of the current transaction:
	now    int64
	token  int64 // of its claims; another one every time, never 0
	hinted kinds // what became claimable
	// careful makes every row its own statement. Without it, runs of rows are
	// written on the assumption that all tickets are good and no job is there
	// already; errCareful says that this was wrong.
	careful bool

	carefulFor  int  // so many more transactions are careful from the start
	foreign     bool // another process has written something
	keys        []byte
	lastChannel string // see channel
}

// errCareful makes the transaction run again, carefully.
var errCareful = errors.New("a run of rows was not as assumed")

// carefulRounds is for how long the writer stays careful: tickets grow stale
// and jobs arrive twice in clumps.
const carefulRounds = 16

func newWriter(e *Engine, c *conn) *writer {
	w := &writer{e: e, c: c}
	w.forget()
	return w
}

// forget drops what is remembered of the file.
func (w *writer) forget() {
	w.lanes.reset()
	w.seen.known = false
	w.nextSeq = 0
	w.dead = -1
}

func (e *Engine) start() {
	e.queue.wake = make(chan struct{}, 1)
	e.hints.start(&e.running, e.queue.signal)
	e.running.Go(e.writer.loop)
}

// pollOthers is how often an idle writer with watchers looks for what other
// processes have written.
const pollOthers = 50 * time.Millisecond

func (w *writer) loop() {
	var ops []*op
	for {
		var more bool
		if ops, more = w.e.queue.take(ops[:0]); !more {
			return
		}
		if len(ops) == 0 {
			w.idle()
			continue
		}
		if w.probe(&ops); len(ops) > 0 {
			ops = w.group(ops)
		}
		clear(ops)
		w.hint()
		// Those that were answered may have more: where others want the
		// processor, they come first, and a push and a settle share a commit
		// instead of taking turns. With nobody there it takes no time.
		runtime.Gosched()
	}
}

// idle waits for a call, looking after the file meanwhile.
func (w *writer) idle() {
	wait := w.untilRotation()
	watched := w.e.hints.watched()
	if watched {
		wait = min(wait, pollOthers)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-w.e.queue.wake:
		return
	case <-timer.C:
	}
	if watched {
		// An error shows again in the next call, which can report it.
		_ = w.refresh()
		w.hint()
	}
	if w.untilRotation() <= 0 {
		// An empty transaction: begin does what is due.
		if err := w.transact(nil); err != nil {
			w.e.log.Warn("housekeeping failed and is tried again", "file", w.e.path, "error", err)
			w.seen.retryAt = time.Now().Add(time.Second)
		}
	}
}

// refresh drops what is remembered if another process has written.
func (w *writer) refresh() error {
	s, ok, err := w.c.query("PRAGMA data_version")
	if err != nil || !ok {
		return err
	}
	v := s.int(0)
	s.reset()
	if v != w.version {
		w.version = v
		w.foreign = true
		w.forget()
	}
	return nil
}

// probe answers the calls that have nothing to do, if no other call makes a
// transaction necessary anyway.
func (w *writer) probe(ops *[]*op) {
	for _, o := range *ops {
		if o.probe == nil {
			return
		}
	}
	rest := (*ops)[:0]
	for _, o := range *ops {
		if !o.start() {
			continue
		}
		w.now = w.clock()
		if answered, err := o.probe(w); err == nil && answered {
			o.answer(nil)
			continue
		}
		o.putBack()
		rest = append(rest, o)
	}
	clear((*ops)[len(rest):])
	*ops = rest
}

func (w *writer) clock() int64 { return w.e.clock().UnixMicro() }

// group runs calls in one transaction, or each in its own if that fails, and
// answers them. It returns ops with those added that arrived meanwhile.
func (w *writer) group(ops []*op) []*op {
	if err := w.begin(); err != nil {
		for _, o := range ops {
			if o.start() {
				o.answer(err)
			}
		}
		return ops
	}
	ops, _ = w.e.queue.take(ops)
	wanted := ops[:0]
	for _, o := range ops {
		if o.start() {
			wanted = append(wanted, o)
		}
	}
	clear(ops[len(wanted):])
	ops = wanted
	err := w.finish(ops)
	if errors.Is(err, errCareful) {
		w.carefulFor = carefulRounds
		err = w.transact(ops)
	}
	if err != nil && len(ops) > 1 {
		// One of them may be to blame. The others must not suffer.
		for _, o := range ops {
			o.answer(w.alone(o))
		}
		return ops
	}
	for _, o := range ops {
		o.answer(err)
	}
	return ops
}

func (w *writer) alone(o *op) error {
	err := w.transact([]*op{o})
	if errors.Is(err, errCareful) {
		w.carefulFor = carefulRounds
		err = w.transact([]*op{o})
	}
	return err
}

func (w *writer) transact(ops []*op) error {
	if err := w.begin(); err != nil {
		return err
	}
	return w.finish(ops)
}

// begin takes the write lock. It polls for it at short intervals: SQLite's
// own waiting backs off to 100 ms, and a busy neighbour would get all turns.
func (w *writer) begin() error {
	deadline := time.Now().Add(busyTimeout)
	for {
		_, err := w.c.run("BEGIN IMMEDIATE")
		if err == nil {
			break
		}
		if !sqlite.HasCode(err, sqlite.Busy) || time.Now().After(deadline) {
			return err
		}
		time.Sleep(200*time.Microsecond + rand.N(800*time.Microsecond)) //nolint:gosec // no secret
	}
	err := w.refresh()
	if err == nil {
		w.now = w.clock()
		w.token = w.newToken()
		w.hinted = 0
		w.careful = w.carefulFor > 0
		w.lanes.bound()
		err = w.rotate()
	}
	if err != nil {
		w.rollback()
	}
	return err
}

// finish runs the calls in the transaction and commits it.
func (w *writer) finish(ops []*op) error {
	err := func() error {
		for _, o := range ops {
			if err := o.run(w); err != nil {
				return err
			}
		}
		if err := w.flushLanes(); err != nil {
			return err
		}
		return w.c.commit()
	}()
	if err != nil {
		w.rollback()
		return err
	}
	if w.carefulFor > 0 {
		w.carefulFor--
	}
	w.e.hints.add(w.hinted)
	return nil
}

func (w *writer) rollback() {
	w.forget()
	if w.c.inTransaction() {
		if _, err := w.c.run("ROLLBACK"); err != nil {
			w.e.log.Error("rolling back failed", "file", w.e.path, "error", err)
		}
	}
}

// hint tells watchers what other processes have left to do.
func (w *writer) hint() {
	if !w.foreign || !w.e.hints.watched() {
		w.foreign = false
		return
	}
	w.foreign = false
	now := w.clock()
	for kind := engine.FanOut; kind <= engine.Handle; kind++ {
		s, ok, err := w.c.query("SELECT wake FROM lanes WHERE kind = ?1 ORDER BY wake LIMIT 1", int64(kind))
		if err != nil {
			return
		}
		if ok {
			if s.int(0) <= now {
				w.e.hints.add(kindOf(kind))
			}
			s.reset()
		}
	}
}
