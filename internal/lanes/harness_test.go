package lanes

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

// In the tests of this package time is that of a bubble (testing/synctest).
// Pools work on engines in memory whose calls a test can look at, hold up, make
// fail or answer itself (hooks), and try jobs by a function of the test's. When
// a test ends, every process is drained; whatever is held then, and every
// goroutine that is left, fails the test.

const (
	testKind  = engine.Handle
	testLease = 8 * time.Second // looked after every second, every other if nothing is held; extended after 4 s
)

// world is what is inside of a bubble.
type world struct {
	*testing.T
	store     *memengine.Store
	outside   *memengine.Engine // another process's
	began     time.Time
	log       logbook
	tries     tries
	steps     atomic.Int64 // see step
	processes []*process
}

// inBubble runs a test under a clock of its own.
func inBubble(t *testing.T, run func(w *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{T: t, store: memengine.NewStore(), began: time.Now()}
		w.outside = w.store.Open(engine.Retention{})
		defer func() { // also of a test that fails
			for _, p := range w.processes {
				p.end()
			}
		}()
		run(w)
	})
}

// step is called before time passes: what the test has changed by then, hooks
// and replies that a timer wakes are to see. That it is so the race detector
// does not know by itself.
func (w *world) step() { w.steps.Add(1) }

// at waits until some time after the test began, and for everything that
// happens by then.
func (w *world) at(d time.Duration) {
	w.Helper()
	if now := time.Since(w.began); now > d {
		w.Fatalf("it is %v already, no longer %v", now, d)
	}
	w.wait(d - time.Since(w.began))
}

// wait lets some time pass.
func (w *world) wait(d time.Duration) {
	w.step()
	time.Sleep(d)
	synctest.Wait()
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// same compares what is with what should be.
func same[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if g, w := fmt.Sprint(got), fmt.Sprint(want); g != w {
		t.Errorf("%s: %s, want %s", what, g, w)
	}
}

// process is a Group as one process would have it, on an engine of its own.
type process struct {
	*Group
	w       *world
	engine  *hooked
	running bool
	unwatch func()
	deaf    bool // gets no hints
}

// process returns one without pools.
func (w *world) process() *process {
	p := &process{w: w, engine: &hooked{Engine: w.store.Open(engine.Retention{}), steps: &w.steps}}
	p.Group = NewGroup(p.engine, slog.New(&w.log))
	w.processes = append(w.processes, p)
	return p
}

// one returns a process at work with a single pool.
func (w *world) one(c Config) (*process, *Pool) {
	p := w.process()
	pool := p.Add(c)
	p.start()
	return p, pool
}

func (p *process) start() {
	p.Start()
	p.running = true
	p.unwatch = func() {}
	if !p.deaf {
		p.unwatch = p.engine.Watch(p.Wake)
	}
	synctest.Wait()
}

// drain ends what start began.
func (p *process) drain(timeout time.Duration) (cancelled int) {
	p.unwatch()
	p.running = false
	return p.Drain(timeout)
}

// end drains a process and sees that nothing is left of it.
func (p *process) end() {
	p.engine.hook(hooks{})
	if p.running {
		p.drain(time.Hour)
	}
	synctest.Wait()
	for _, pool := range p.pools {
		if held(pool) > 0 { // a drain gave up on something
			time.Sleep(time.Hour)
		}
	}
	for i, pool := range p.pools {
		pool.mu.Lock()
		if pool.room.held != 0 || pool.room.bytes != 0 || pool.jobs.n != 0 || pool.jobs.first != nil {
			p.w.Errorf("pool %d still holds %d jobs (%d bytes), and lists %d", i, pool.room.held, pool.room.bytes, pool.jobs.n)
		}
		if pool.workers.busy != 0 || pool.workers.idle != 0 || pool.workers.rounds != 0 || pool.turns.busySick != 0 {
			p.w.Errorf("pool %d is left with %d busy workers, %d of them on sick lanes, and %d idle ones", i, pool.workers.busy, pool.turns.busySick, pool.workers.idle)
		}
		if len(pool.staleDuringClaim) != 0 || pool.claiming {
			p.w.Errorf("pool %d still waits for a claim", i)
		}
		pool.mu.Unlock()
	}
	must(p.w, p.engine.Close())
}

// reply says what comes of a try: the verdict on each of its jobs.
type reply func(ctx context.Context, t *try) Verdict

var (
	fine    = Verdict{Action: Finish, Evidence: Works}
	trouble = Verdict{Action: TryAgain, Evidence: Trouble, Reason: "out of order"}
)

// replies returns what replies with one verdict after a time.
func replies(v Verdict, after time.Duration) reply {
	return func(context.Context, *try) Verdict {
		time.Sleep(after)
		return v
	}
}

// config returns that of a pool with room for most tests.
func (w *world) config(r reply) Config {
	return Config{
		Kind: testKind, Lease: testLease, Workers: 64, RoundBytes: 1 << 20, EventBytes: 100,
		Terms: func(lane string) Terms { return Terms{AtOnce: 4, Shown: lane} },
		Try:   w.tries.trying(w, r),
		Retry: retryAfter(10 * time.Second),
	}
}

// adapting returns terms of lanes that follow the evidence.
func adapting(atOnce int) func(string) Terms {
	return func(lane string) Terms {
		return Terms{AtOnce: atOnce, Adapts: true, Quick: time.Second, Probe: time.Minute, Shown: lane}
	}
}

// retryAfter is a policy.
func retryAfter(d time.Duration) func(Failure) engine.Outcome {
	return func(f Failure) engine.Outcome {
		out := engine.Outcome{Result: engine.Retry, Attempt: f.Attempt + 1, After: d}
		switch {
		case f.Verdict.Action == Bury:
			out.Result, out.Reason = engine.Bury, f.Verdict.Reason
		case f.ProbeIn >= 0:
			out.After = f.ProbeIn
		case f.AskedFor >= 0:
			out.After = f.AskedFor
		}
		return out
	}
}

// try is one try of some jobs.
type try struct {
	lane         string
	ids          []string
	jobs         []*Job
	began, ended time.Duration // since the test began; ended is negative while it is under way
	cause        error         // with which its context had ended by then
}

// tries are what was tried, in the order in which it began.
type tries struct {
	mu  sync.Mutex
	all []*try
}

// trying returns a TryFunc that keeps account, and does what r says.
func (ts *tries) trying(w *world, r reply) TryFunc {
	return func(ctx context.Context, lane *Lane, jobs []*Job, verdicts []Verdict) {
		t := &try{lane: lane.Name(), jobs: slices.Clone(jobs), began: time.Since(w.began), ended: -1}
		for _, j := range jobs {
			t.ids = append(t.ids, j.Event.ID)
		}
		w.steps.Load()
		ts.mu.Lock()
		ts.all = append(ts.all, t)
		ts.mu.Unlock()
		v := fine
		if r != nil {
			v = r(ctx, t)
		}
		for i := range verdicts {
			verdicts[i] = v
		}
		ts.mu.Lock()
		t.ended, t.cause = time.Since(w.began), context.Cause(ctx)
		ts.mu.Unlock()
	}
}

// of returns the tries of a lane, of all for "".
func (ts *tries) of(lane string) (found []*try) {
	ts.mu.Lock()
	defer ts.mu.Unlock()
	for _, t := range ts.all {
		if lane == "" || t.lane == lane {
			found = append(found, t)
		}
	}
	return found
}

// running is how many tries of a lane are under way.
func (ts *tries) running(lane string) (n int) {
	for _, t := range ts.of(lane) {
		ts.mu.Lock()
		if t.ended < 0 {
			n++
		}
		ts.mu.Unlock()
	}
	return n
}

// ids returns what was tried in a lane, in order, again if it was tried again.
func (ts *tries) ids(lane string) (ids []string) {
	for _, t := range ts.of(lane) {
		ids = append(ids, t.ids...)
	}
	return ids
}

// sizes returns of how many jobs the tries were.
func (ts *tries) sizes(lane string) (sizes []int) {
	for _, t := range ts.of(lane) {
		sizes = append(sizes, len(t.ids))
	}
	return sizes
}

// begins returns when the tries began, in whole seconds or parts of them.
func (ts *tries) begins(lane string, unit time.Duration) (begins []time.Duration) {
	for _, t := range ts.of(lane) {
		begins = append(begins, t.began.Truncate(unit))
	}
	return begins
}

// most is the largest number of tries of a lane that were under way at a time.
func (ts *tries) most(lane string) (most int) {
	all := ts.of(lane)
	for _, t := range all {
		n := 0
		for _, other := range all {
			if other.began <= t.began && (other.ended < 0 || other.ended > t.began) {
				n++
			}
		}
		most = max(most, n)
	}
	return most
}

// once sees that each of some jobs was tried, and once.
func (w *world) once(ids []string) {
	w.Helper()
	count := map[string]int{}
	for _, id := range w.tries.ids("") {
		count[id]++
	}
	for _, id := range ids {
		if count[id] != 1 {
			w.Errorf("%s was tried %d times", id, count[id])
		}
		delete(count, id)
	}
	for id, n := range count {
		w.Errorf("%s was tried %d times, nobody knows why", id, n)
	}
}

// named returns n names.
func named(prefix string, n int) (names []string) {
	for i := range n {
		names = append(names, fmt.Sprintf("%s%d", prefix, i+1))
	}
	return names
}

func event(id string) *engine.Event { return &engine.Event{ID: id, Channel: "a", Body: []byte(id)} }

// Calls that push to the engine are only here.

// push stores jobs as the owner of a pool does: handed over if there is room.
func (w *world) push(p *process, to *Pool, lane string, ids ...string) {
	w.Helper()
	for _, id := range ids {
		w.pushEvents(p, to, lane, event(id))
	}
}

// store stores the jobs of a push, and asks about no channels.
func store(ctx context.Context, push *Push, eng engine.Engine) error {
	_, err := push.Store(ctx, eng, nil, 0)
	return err
}

// pushEvents stores jobs in one call.
func (w *world) pushEvents(p *process, to *Pool, lane string, events ...*engine.Event) {
	w.Helper()
	var push Push
	for _, e := range events {
		push.Add(to, e, lane)
	}
	must(w, store(w.Context(), &push, p.engine))
	synctest.Wait()
}

// deposit stores jobs as another process would.
func (w *world) deposit(lane string, ids ...string) {
	w.Helper()
	var jobs []engine.Job
	for _, id := range ids {
		jobs = append(jobs, engine.Job{Event: event(id), Lane: engine.Lane{Kind: testKind, Name: lane}})
	}
	_, err := w.outside.Push(w.Context(), engine.PushRequest{Jobs: jobs})
	must(w, err)
	synctest.Wait()
}

// depositLater stores a job that is due only after a while.
func (w *world) depositLater(lane, id string, delay time.Duration) {
	w.Helper()
	_, err := w.outside.Push(w.Context(), engine.PushRequest{Jobs: []engine.Job{{Event: event(id), Lane: engine.Lane{Kind: testKind, Name: lane}, Delay: delay}}})
	must(w, err)
	synctest.Wait()
}

// grab claims what is due in a lane, as another process would.
func (w *world) grab(lane string) (ids []string) {
	res, err := w.outside.Claim(context.Background(), engine.ClaimRequest{
		Kind: testKind, Max: 1000, MaxPerLane: 1000, Only: []string{lane}, Lease: time.Hour,
	})
	if err != nil {
		w.Error(err)
	}
	for _, c := range res.Jobs {
		ids = append(ids, c.Event.ID)
	}
	return ids
}

// stats returns what the store has of a lane.
func (w *world) stats(lane string) engine.LaneStats {
	w.Helper()
	all, err := w.outside.Lanes(context.Background())
	must(w, err)
	for _, s := range all {
		if s.Lane.Name == lane {
			return s
		}
	}
	return engine.LaneStats{}
}

// left is how many jobs there are in the store, save dead ones.
func (w *world) left() (n int) {
	w.Helper()
	all, err := w.outside.Lanes(context.Background())
	must(w, err)
	for _, s := range all {
		n += s.Waiting + s.Leased
	}
	return n
}

// held is what a pool holds, claims under way included.
func held(p *Pool) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.room.held
}

// heldOf is what a pool holds of a lane, 0 if it does not know it.
func heldOf(p *Pool, lane string) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if l := p.lanes[lane]; l != nil {
		return l.held
	}
	return 0
}

// hooks replace calls of an engine. call makes the call that was to be made.
type hooks struct {
	claim      func(ctx context.Context, req engine.ClaimRequest, call func() (engine.ClaimResult, error)) (engine.ClaimResult, error)
	settle     func(ctx context.Context, outcomes []engine.Outcome, call func() ([]engine.Settled, error)) ([]engine.Settled, error)
	push       func(ctx context.Context, req engine.PushRequest, call func() (engine.PushResult, error)) (engine.PushResult, error)
	postponing func(ctx context.Context, lane engine.Lane, d time.Duration, call func() error) error
}

// hooked is an engine with hooks, which keeps account of what it was told.
type hooked struct {
	engine.Engine
	steps *atomic.Int64 // the world's

	mu     sync.Mutex
	hooks  hooks
	claims []engine.ClaimRequest
	took   map[engine.Result]int // outcomes that took effect
	stale  map[engine.Result]int // outcomes whose tickets were stale
	calls  counts
	defers []time.Duration
}

// counts says how often an engine was called.
type counts struct{ settle, extend, push int }

func (e *hooked) counted() counts {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.calls
}

func (e *hooked) hook(h hooks) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.hooks = h
}

func (e *hooked) Claim(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
	e.steps.Load()
	e.mu.Lock()
	e.claims = append(e.claims, req)
	h := e.hooks.claim
	e.mu.Unlock()
	call := func() (engine.ClaimResult, error) { return e.Engine.Claim(ctx, req) }
	if h == nil {
		return call()
	}
	return h(ctx, req, call)
}

func (e *hooked) Settle(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
	e.steps.Load()
	e.mu.Lock()
	if isExtension(outcomes) {
		e.calls.extend++
	} else {
		e.calls.settle++
	}
	h := e.hooks.settle
	e.mu.Unlock()
	call := func() ([]engine.Settled, error) {
		settled, err := e.Engine.Settle(ctx, outcomes)
		e.mu.Lock()
		defer e.mu.Unlock()
		if e.took == nil {
			e.took, e.stale = map[engine.Result]int{}, map[engine.Result]int{}
		}
		for i := range settled {
			if settled[i].OK {
				e.took[outcomes[i].Result]++
			} else {
				e.stale[outcomes[i].Result]++
			}
		}
		return settled, err
	}
	if h == nil {
		return call()
	}
	return h(ctx, outcomes, call)
}

func (e *hooked) Push(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
	e.mu.Lock()
	e.calls.push++
	h := e.hooks.push
	e.mu.Unlock()
	call := func() (engine.PushResult, error) { return e.Engine.Push(ctx, req) }
	if h == nil {
		return call()
	}
	return h(ctx, req, call)
}

func (e *hooked) Defer(ctx context.Context, lane engine.Lane, d time.Duration) error {
	e.mu.Lock()
	e.defers = append(e.defers, d)
	h := e.hooks.postponing
	e.mu.Unlock()
	call := func() error { return e.Engine.Defer(ctx, lane, d) }
	if h == nil {
		return call()
	}
	return h(ctx, lane, d, call)
}

// done is how many outcomes of a sort took effect.
func (e *hooked) done(r engine.Result) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.took[r]
}

// refused is how many outcomes of a sort had a stale ticket.
func (e *hooked) refused(r engine.Result) int {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.stale[r]
}

// requests returns the claims so far.
func (e *hooked) requests() []engine.ClaimRequest {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.claims)
}

// deferred returns for how long lanes were deferred.
func (e *hooked) deferred() []time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.defers)
}

func isExtension(outcomes []engine.Outcome) bool { return outcomes[0].Result == engine.Extend }

// nothingDue is a hook for claims that bring nothing, so that what becomes due
// again is left to others.
func nothingDue(context.Context, engine.ClaimRequest, func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
	return engine.ClaimResult{Next: -1}, nil
}

// extending makes a hook of what is to become of extensions.
func extendingBy(do func(ctx context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error)) func(context.Context, []engine.Outcome, func() ([]engine.Settled, error)) ([]engine.Settled, error) {
	return func(ctx context.Context, outcomes []engine.Outcome, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
		if isExtension(outcomes) {
			return do(ctx, call)
		}
		return call()
	}
}

// settlingBy makes a hook of what is to become of outcomes other than
// extensions.
func settlingBy(do func(ctx context.Context, call func() ([]engine.Settled, error)) ([]engine.Settled, error)) func(context.Context, []engine.Outcome, func() ([]engine.Settled, error)) ([]engine.Settled, error) {
	return func(ctx context.Context, outcomes []engine.Outcome, call func() ([]engine.Settled, error)) ([]engine.Settled, error) {
		if !isExtension(outcomes) {
			return do(ctx, call)
		}
		return call()
	}
}

// logbook is what was logged.
type logbook struct {
	mu    sync.Mutex
	lines []string
	exits atomic.Bool // it ends the goroutine of who logs
}

func (l *logbook) Enabled(context.Context, slog.Level) bool { return true }
func (l *logbook) WithAttrs([]slog.Attr) slog.Handler       { return l }
func (l *logbook) WithGroup(string) slog.Handler            { return l }

func (l *logbook) Handle(ctx context.Context, r slog.Record) error {
	var line strings.Builder
	if err := slog.NewTextHandler(io.Writer(&line), nil).Handle(ctx, r); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lines = append(l.lines, line.String())
	if l.exits.Load() {
		runtime.Goexit()
	}
	return nil
}

// count is how many lines have all of some words in them.
func (l *logbook) count(words ...string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, line := range l.lines {
		has := true
		for _, word := range words {
			has = has && strings.Contains(line, word)
		}
		if has {
			n++
		}
	}
	return n
}

// errOut is what a store says that is out of reach.
var errOut = errors.New("the store is out of reach")
