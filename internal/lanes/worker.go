package lanes

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// maxIdleWorkers is how many goroutines are kept for the next job.
const maxIdleWorkers = 64

// workers counts the goroutines that try jobs.
type workers struct {
	busy   int
	idle   int       // of those that are kept
	parked sync.Cond // where the idle ones wait; who wakes one counts it as busy
}

// wantWorkerLocked sees that there is a worker for a lane that is ready.
func (p *Pool) wantWorkerLocked() {
	switch w := &p.workers; {
	case w.idle > 0:
		w.idle--
		w.busy++
		w.parked.Signal()
	case w.busy < p.Workers:
		w.busy++
		p.loops.Go(p.work)
	}
}

// round is one try, from taking its jobs to telling what became of them. A
// worker uses one again and again.
type round struct {
	lane     *Lane
	jobs     []*Job
	verdicts []Verdict
	outcomes []engine.Outcome
	wasSick  bool
	began    time.Time
	failures []Failure
	effects  effects
}

// work tries jobs for as long as there are any that may be tried.
func (p *Pool) work() {
	var r round
	for {
		ctx, ok := p.beginRound(&r)
		if !ok {
			return
		}
		p.Try(ctx, r.lane, r.jobs, r.verdicts)
		p.endRound(&r)
	}
}

// beginRound takes the jobs of the next try, waiting for some if need be, and
// returns the context for it. ok is false if the worker is not needed any more.
func (p *Pool) beginRound(r *round) (ctx context.Context, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for {
		l := p.nextLaneLocked()
		if l == nil {
			if !p.readyHeldBackLocked() && !p.parkLocked() {
				return nil, false
			}
			continue
		}
		now := time.Now()
		r.jobs = p.stillOursLocked(l, l.nextRound(r.jobs[:0], p.RoundBytes), now, &r.effects)
		if !r.effects.isEmpty() {
			p.mu.Unlock()
			r.effects.perform(p.group)
			p.mu.Lock()
		}
		if len(r.jobs) == 0 {
			p.makeReadyLocked(l)
			continue
		}
		p.beginTryLocked(l, r, now)
		return p.ctx, true
	}
}

func (p *Pool) beginTryLocked(l *Lane, r *round, now time.Time) {
	if l.active == 0 {
		l.lastAnswer = now
	}
	l.active++
	l.nextStart = now.Add(l.terms.Spacing)
	r.lane, r.began, r.wasSick = l, now, l.health.sick()
	if r.wasSick {
		p.turns.busySick++
	}
	for _, j := range r.jobs {
		j.rested = l.rested
	}
	r.verdicts = slices.Grow(r.verdicts[:0], len(r.jobs))[:len(r.jobs)]
	r.outcomes = slices.Grow(r.outcomes[:0], len(r.jobs))[:len(r.jobs)]
	p.makeReadyLocked(l)
}

// parkLocked waits until there may be something to do. It returns false if the
// worker is to end.
func (p *Pool) parkLocked() bool {
	p.workers.busy--
	if p.state == idle || p.workers.idle >= maxIdleWorkers {
		return false
	}
	p.workers.idle++
	p.workers.parked.Wait()
	if p.state == idle {
		p.workers.busy--
		return false
	}
	return true
}

// stillOursLocked returns the jobs whose leases hold. The others are given back:
// somebody else may have them by now, and they must not run twice.
func (p *Pool) stillOursLocked(l *Lane, jobs []*Job, now time.Time, e *effects) []*Job {
	ours := jobs[:0]
	for _, j := range jobs {
		if j.state == leaseLost || now.Sub(j.leased) >= p.Lease {
			l.noteLeftInStore()
			p.settleLocked(j, engine.Outcome{Result: engine.Release}, Push{}, e)
			continue
		}
		ours = append(ours, j)
	}
	return ours
}

// endRound concludes a try: what it says of the lane, and what becomes of its
// jobs.
func (p *Pool) endRound(r *round) {
	l, now := r.lane, time.Now()
	p.mu.Lock()
	l.active--
	if r.wasSick {
		p.turns.busySick--
	}
	l.lastAnswer = now
	l.count(len(r.jobs), now)
	if l.terms.Adapts {
		p.judgeLaneLocked(l, r, now)
	}
	if failed := p.concludeLocked(r, now); failed {
		// The policy is asked without the lock, for it is somebody else's code.
		p.mu.Unlock()
		p.askPolicy(r)
		p.mu.Lock()
	}
	for i, j := range r.jobs {
		j.cancel = nil
		if out := &r.outcomes[i]; out.Result == engine.Release || out.Result == engine.Retry && out.After == 0 {
			l.noteLeftInStore()
		}
		v := &r.verdicts[i]
		if v.Action != Finish && v.Action != GoOn {
			r.effects.cancelled = append(r.effects.cancelled, v.Follow)
			v.Follow = Push{}
		}
		p.settleLocked(j, r.outcomes[i], v.Follow, &r.effects)
	}
	p.makeReadyLocked(l)
	p.mu.Unlock()
	r.effects.perform(p.group)
	if p.Ended != nil {
		p.Ended(l, r.jobs, r.verdicts, r.outcomes)
	}
	clear(r.jobs)
	clear(r.verdicts)
	clear(r.outcomes)
}
