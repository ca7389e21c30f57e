package toot

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

const (
	// leaseMargin is what a lease is longer than the work it is for.
	leaseMargin = 15 * time.Second
	// maxHeld bounds the jobs of one kind that a process holds in memory,
	// whether they wait for a worker, are worked on or are being settled.
	maxHeld = 16384
	// maxHeldBytes bounds the bytes of their events.
	maxHeldBytes = 64 << 20
	// claimMax is how many jobs are claimed at once.
	claimMax = 1024
	// pollInterval is the longest time between two looks into the store. Its
	// hints come sooner; this is for those that got lost.
	pollInterval = 5 * time.Second
	// maxIdleWorkers is how many goroutines are kept for the next job.
	maxIdleWorkers = 64
)

// dispatcher works on the jobs of one kind: it claims what is due, keeps it
// in lanes, and has workers take from the lanes in turn. Workers exist for
// jobs that are being worked on, never for jobs that wait.
type dispatcher struct {
	app     *App
	kind    engine.Kind
	lease   time.Duration
	workers int // the most that work at once
	limit   func(laneName string) laneLimit
	only    func() []string // nil: every lane
	// work tries jobs of one lane and fills in a verdict for each.
	work func(ctx context.Context, jobs []*job, verdicts []verdict)

	signal chan struct{} // wakes the claim loop
	cancel context.CancelCauseFunc
	ctx    context.Context // of the work under way
	loops  sync.WaitGroup  // the claim loop, the lease keeper, the workers

	mu        sync.Mutex
	parked    sync.Cond // idle workers
	idle      int
	lanes     map[string]*lane
	ready     queue[*lane] // lanes with a job to run and room to run it
	readySick queue[*lane] // the same, for lanes whose endpoint has yet to show that it works
	busy      int          // workers at work
	busySick  int          // of those, on sick lanes
	held      int          // jobs in memory, and room reserved for more
	heldBytes int

	// eventBytes is how large the next events are taken to be: as large as the
	// last ones, with large ones remembered for a while.
	eventBytes int

	jobs     jobList // all of those, for the lease keeper
	sickNext bool    // whose turn it is

	claiming bool          // a claim is under way
	doubtful []*settlement // whose tickets were stale, though it may bring new ones

	started, draining, stopped bool
	stopClaims                 context.CancelFunc
	quiet                      chan struct{} // closed when draining and nothing is held
	isQuiet                    bool

	looked    time.Time   // when the store last answered a claim, or need not be asked
	lookTimer *time.Timer // see lookAfter
	lookAt    time.Time
}

// laneLimit says how many jobs of a lane may run at once.
type laneLimit struct {
	max    int
	adapts bool // to the answers of its endpoint, see health
	// spacing is the least time between two tries; 0 for none.
	spacing time.Duration
}

func newDispatcher(a *App, kind engine.Kind, lease time.Duration, workers int, limit func(string) laneLimit, only func() []string,
	work func(context.Context, []*job, []verdict),
) *dispatcher {
	d := &dispatcher{
		app: a, kind: kind, lease: lease, workers: workers, limit: limit, only: only, work: work,
		signal: make(chan struct{}, 1), eventBytes: a.opts.MaxEventBytes,
		lanes: map[string]*lane{},
	}
	d.parked.L = &d.mu
	return d
}

// start begins to claim and to accept jobs.
func (d *dispatcher) start() {
	ctx, cancel := context.WithCancelCause(context.Background())
	claims, stopClaims := context.WithCancel(ctx)
	d.mu.Lock()
	d.ctx, d.cancel, d.stopClaims = ctx, cancel, stopClaims
	d.started, d.draining, d.stopped, d.isQuiet = true, false, false, false
	d.quiet = make(chan struct{})
	d.looked = time.Now()
	d.mu.Unlock()
	d.loops.Go(func() { d.claimLoop(claims, ctx) })
	d.loops.Go(func() { d.tend(ctx) })
}

// wake makes the claim loop look into the store.
func (d *dispatcher) wake() {
	select {
	case d.signal <- struct{}{}:
	default:
	}
}

// reserve finds room for a job on its way into the store. It returns nil if
// the job had better wait there: the process is not working or full, the lane
// is resting or full, or older jobs of the lane wait in the store.
func (d *dispatcher) reserve(laneName string) *lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.started || d.draining || d.held >= maxHeld || d.heldBytes >= maxHeldBytes {
		return nil
	}
	l := d.lane(laneName)
	if l.backlog || l.held >= l.capacity() || time.Now().Before(l.restsUntil) {
		return nil
	}
	d.held++
	l.held++
	return l
}

func (d *dispatcher) unreserve(l *lane) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.drop(l)
}

// drop lets go of the room that a job took. d.mu is held.
func (d *dispatcher) drop(l *lane) {
	d.held--
	l.held--
	if (l.backlog || l.unasked) && l.held <= l.capacity()/2 || d.held == maxHeld/2 {
		d.wake()
	}
	d.checkQuiet()
}

// accept takes a job in for which room was reserved.
func (d *dispatcher) accept(l *lane, claimed engine.Claimed, began time.Time) {
	j := &job{lane: l, claim: claimed, since: began, leased: began}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.take(j)
}

// take puts a job into its lane. d.mu is held.
func (d *dispatcher) take(j *job) {
	size := len(j.claim.Event.Body)
	d.heldBytes += size
	d.eventBytes = max(size, d.eventBytes-(d.eventBytes-size)/16)
	d.jobs.push(j)
	if d.draining {
		d.settle(j, engine.Outcome{Result: engine.Release}, handOff{})
		return
	}
	j.lane.queue.push(j)
	d.makeReady(j.lane)
}

// pushed notes a job that went into the store without being handed over.
func (d *dispatcher) pushed(laneName string) {
	d.mu.Lock()
	if !d.started || d.draining {
		d.mu.Unlock()
		return
	}
	l := d.lane(laneName)
	l.leave()
	now := time.Now()
	wake := l.held <= l.capacity()/2 && !now.Before(l.restsUntil) && !l.hangs(now)
	d.mu.Unlock()
	if wake {
		d.wake()
	}
}

// lane returns the lane of a name, which it makes if need be. d.mu is held.
func (d *dispatcher) lane(name string) *lane {
	l := d.lanes[name]
	if l == nil {
		l = newLane(name, d.limit(name), d.app.opts.ProbeInterval)
		d.lanes[name] = l
	}
	l.used = time.Now()
	return l
}

// makeReady lets workers take from a lane, if it has something for them.
// d.mu is held.
func (d *dispatcher) makeReady(l *lane) {
	if l.inRing || !d.mayRun(l) {
		return
	}
	l.inRing = true
	if l.health.sick() {
		d.readySick.push(l)
	} else {
		d.ready.push(l)
	}
	switch {
	case d.idle > 0:
		d.idle--
		d.busy++
		d.parked.Signal()
	case d.busy < d.workers:
		d.busy++
		d.loops.Go(d.worker)
	}
}

// mayRun reports whether a worker may begin with a job of the lane now. A
// lane's share of the workers shrinks as they become few, so that no number
// of slow lanes can take them all. d.mu is held.
func (d *dispatcher) mayRun(l *lane) bool {
	limit := min(l.health.limit, max((d.workers-d.busy)/4, 1))
	if l.queue.len() == 0 || l.active >= limit {
		return false
	}
	now := time.Now()
	return !l.hangs(now) && !d.tooSoon(l, now)
}

// tooSoon reports a lane that has had its share of requests for now, and
// makes it ready again in time. d.mu is held.
func (d *dispatcher) tooSoon(l *lane, now time.Time) bool {
	wait := l.nextStart.Sub(now)
	if wait <= 0 {
		return false
	}
	if !l.paced {
		l.paced = true
		time.AfterFunc(wait, func() {
			d.mu.Lock()
			defer d.mu.Unlock()
			l.paced = false
			if !d.stopped {
				d.makeReady(l)
			}
		})
	}
	return true
}

// nextLane takes the next lane that a worker may serve, healthy and sick ones
// in turn, nil if there is none. d.mu is held.
func (d *dispatcher) nextLane() *lane {
	for {
		sickMay := d.readySick.len() > 0 && d.busySick < max(d.workers/2, 1)
		var l *lane
		switch {
		case sickMay && (d.sickNext || d.ready.len() == 0):
			l = d.readySick.pop()
			d.sickNext = false
		case d.ready.len() > 0:
			l = d.ready.pop()
			d.sickNext = true
		default:
			return nil
		}
		l.inRing = false
		if d.mayRun(l) {
			return l
		}
	}
}

// stillOurs returns the jobs whose leases hold. The others are given back:
// somebody else may have them by now, and they must not run twice. d.mu is
// held.
func (d *dispatcher) stillOurs(l *lane, jobs []*job, now time.Time) []*job {
	ours := jobs[:0]
	for _, j := range jobs {
		if j.lost || now.Sub(j.leased) >= d.lease {
			l.leave()
			d.settle(j, engine.Outcome{Result: engine.Release}, handOff{})
			continue
		}
		ours = append(ours, j)
	}
	return ours
}

// worker runs jobs while there are any that may be run.
func (d *dispatcher) worker() {
	var jobs []*job
	var verdicts []verdict
	d.mu.Lock()
	defer d.mu.Unlock()
	for {
		l := d.nextLane()
		if l == nil {
			d.busy--
			if d.stopped || d.idle >= maxIdleWorkers {
				return
			}
			d.idle++
			d.parked.Wait() // who wakes it counts it as busy
			if d.stopped {
				return
			}
			continue
		}
		now := time.Now()
		jobs = d.stillOurs(l, l.nextBatch(jobs[:0]), now)
		if len(jobs) == 0 {
			d.makeReady(l)
			continue
		}
		if l.active == 0 {
			l.progress = now
		}
		l.active++
		if l.spacing > 0 {
			l.nextStart = now.Add(l.spacing)
		}
		sick := l.health.sick()
		if sick {
			d.busySick++
		}
		for _, j := range jobs {
			j.epoch = l.epoch
		}
		verdicts = slices.Grow(verdicts[:0], len(jobs))[:len(jobs)]
		d.makeReady(l)
		ctx := d.ctx
		d.mu.Unlock()

		d.work(ctx, jobs, verdicts)

		d.mu.Lock()
		l.active--
		if sick {
			d.busySick--
		}
		d.conclude(l, jobs, verdicts, time.Since(now))
		d.makeReady(l)
		if slices.ContainsFunc(verdicts, func(v verdict) bool { return v.told }) {
			d.mu.Unlock()
			d.tell(jobs, verdicts)
			d.mu.Lock()
		}
		clear(jobs)
		clear(verdicts)
	}
}
