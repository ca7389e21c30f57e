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
	started bool  // whether the clock goes
	lanes   laneCache
	tidying tidying
	counts  counts
	nextSeq int64 // the next event's key; 0: not known
	dead    int   // how many dead letters there are; -1: not known
	aged    int64 // when dead letters were last trimmed by age

	stateKnown bool // whether the following are as the row of state says
	retention  engine.Retention
	seen       seenState
	audiences  audiences
	time       clockRow

	// Of the current transaction:
	now    int64
	token  int64 // of its claims; another one every time, never 0
	hinted kinds // what became claimable
	// careful makes every row its own statement. Without it, runs of rows are
	// written on the assumption that all tickets are good and no job is there
	// already; errCareful says that this was wrong.
	careful bool

	carefulFor  int       // so many more transactions are careful from the start
	retryAt     time.Time // what is due without calls has failed: not before
	foreign     bool      // another process has written something
	listen      bool      // it may ask for the time: see asked
	answer      bool      // it does
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
	w.stateKnown = false
	w.nextSeq = 0
	w.dead = -1
}

func (e *Engine) start() {
	e.queue.wake = make(chan struct{}, 1)
	e.hints.start(&e.running, e.queue.signal)
	e.running.Go(e.writer.loop)
	e.laid.stop = make(chan struct{})
	e.running.Go(e.compareFiles)
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
	wait := min(w.untilDuty(), lookEvery)
	if w.e.hints.watched() {
		wait = min(wait, pollOthers)
	}
	timer := time.NewTimer(wait)
	defer timer.Stop()
	select {
	case <-w.e.queue.wake:
		return
	case <-timer.C:
	}
	// An error shows again in the next call, which can report it.
	_ = w.refresh()
	w.hint()
	if w.untilDuty() <= 0 && w.e.laid.refuses(true) == nil {
		// An empty transaction: its beginning and end do what is due.
		if err := w.transact(nil); err != nil {
			w.e.log.Warn("housekeeping failed and is tried again", "file", w.e.path, "error", err)
			w.retryAt = time.Now().Add(time.Second)
		}
	}
}

// untilDuty is how long there is nothing to do, with no calls.
func (w *writer) untilDuty() time.Duration {
	now := w.e.clock.now()
	wait := min(w.untilRotation(now), w.counts.untilDue(now), time.Duration(w.tidying.next-now)*time.Microsecond)
	if w.e.clock.jumped() || w.asked() {
		wait = 0
	}
	return max(wait, time.Until(w.retryAt))
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
		w.foreign, w.listen = true, true
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
		w.now = w.e.clock.now()
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
	if err := w.e.laid.refuses(true); err != nil {
		return err
	}
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
	err := w.prepare()
	if err != nil {
		w.rollback()
	}
	return err
}

// prepare brings what is remembered up to date with the file, and the file
// with the time.
func (w *writer) prepare() error {
	for _, step := range []func() error{w.refresh, w.readState, w.tellTime} {
		if err := step(); err != nil {
			return err
		}
	}
	w.counts.begin()
	w.token = w.newToken()
	w.hinted = 0
	w.careful = w.carefulFor > 0
	w.lanes.bound()
	if err := w.tidy(); err != nil {
		return err
	}
	return w.rotate()
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
		if err := w.keepCounts(); err != nil {
			return err
		}
		return w.c.commit()
	}()
	if err != nil {
		w.rollback()
		return err
	}
	w.counts.committed()
	w.e.clock.committed(w.time)
	w.answered()
	if w.carefulFor > 0 {
		w.carefulFor--
	}
	w.e.hints.add(w.hinted)
	return nil
}

func (w *writer) rollback() {
	w.forget()
	w.audiences = audiences{} // may be of the transaction
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
	now := w.e.clock.now()
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
