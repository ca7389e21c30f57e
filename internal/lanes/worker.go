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

	rounds    int       // that are under way
	lastRound time.Time // when one last began or ended
	hang      bool      // all workers have been silent: nothing more is taken in
}

// areSilent reports that as many rounds as there may be are under way, and that
// none has ended for long.
func (w *workers) areSilent(most int, now time.Time) bool {
	return w.rounds >= most && now.Sub(w.lastRound) > hangsAfter
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
	stage      stage
	lane       *Lane
	jobs       []*Job
	verdicts   []Verdict
	outcomes   []engine.Outcome
	wasSick    bool // when it began
	tookAsSick bool // of its site
	began      time.Time
	failures   []Failure
	effects    effects
}

// stage is what a round is at: who calls somebody else's code notes it before,
// as that code may end the goroutine (runtime.Goexit, by which testing's FailNow
// leaves a test).
type stage uint8

const (
	beginning stage = iota // takes jobs
	trying                 // Config.Try
	deciding               // Config.Retry
	telling                // the log, Config.Ended
)

const (
	// wasEnded is why a try failed that ended its goroutine.
	wasEnded = "it ended its goroutine (runtime.Goexit, which testing's FailNow calls)"
	// undecidedRetry is when a job is tried again if the policy ended its
	// goroutine instead of deciding.
	undecidedRetry = time.Minute
)

// work tries jobs for as long as there are any that may be tried.
func (p *Pool) work() { p.workOn(new(round)) }

// workOn is work, from a round on that another goroutine began. Should this one
// be ended from inside, it has a successor.
func (p *Pool) workOn(r *round) {
	ended := true
	defer func() {
		if v := recover(); v != nil {
			panic(v) // is no end, but the process's
		}
		if ended {
			p.loops.Go(func() { p.workOn(r) })
		}
	}()
	p.resumeRound(r)
	for {
		ctx, ok := p.beginRound(r)
		if !ok {
			ended = false
			return
		}
		p.Try(ctx, r.lane, r.jobs, r.verdicts)
		p.endRound(r)
	}
}

// resumeRound ends a round whose goroutine was ended: what was called failed.
func (p *Pool) resumeRound(r *round) {
	switch r.stage {
	case trying:
		for i := range r.verdicts {
			if v := &r.verdicts[i]; v.Action == 0 {
				v.Action, v.Reason = TryAgain, wasEnded
			}
		}
		p.endRound(r)
	case deciding:
		for i, f := range r.failures {
			if out := &r.outcomes[i]; out.Result == 0 {
				*out = engine.Outcome{Result: engine.Retry, Attempt: f.Attempt + 1, History: f.History, After: undecidedRetry}
			}
		}
		r.failures = nil
		p.mu.Lock()
		p.settleRoundLocked(r)
		p.mu.Unlock()
		p.tellRound(r)
	case telling:
		r.clear()
	}
}

// beginRound takes the jobs of the next try, waiting for some if need be, and
// returns the context for it. ok is false if the worker is not needed any more.
func (p *Pool) beginRound(r *round) (ctx context.Context, ok bool) {
	p.mu.Lock()
	for {
		if len(r.jobs) == 0 {
			r.lane = p.nextLaneLocked()
			if r.lane == nil {
				if !p.readyHeldBackLocked() && !p.parkLocked() {
					p.mu.Unlock()
					return nil, false
				}
				continue
			}
			r.jobs = p.stillOursLocked(r.lane.nextRound(r.jobs, p.RoundBytes), time.Now(), &r.effects)
			if len(r.jobs) == 0 {
				p.passTurnLocked(r.lane)
				p.makeReadyLocked(r.lane)
			}
		}
		if !r.effects.isEmpty() {
			p.mu.Unlock()
			r.effects.perform(p.group)
			p.mu.Lock()
		}
		if len(r.jobs) == 0 {
			continue
		}
		p.beginTryLocked(r.lane, r, time.Now())
		ctx = p.ctx
		p.mu.Unlock()
		return ctx, true
	}
}

func (p *Pool) beginTryLocked(l *Lane, r *round, now time.Time) {
	r.stage = trying
	p.workers.rounds++
	p.workers.lastRound = now
	if l.endpoint.active == 0 {
		l.lastAnswer = now
	}
	l.active++
	l.endpoint.active++
	l.nextStart = now.Add(l.terms.Spacing)
	r.began, r.wasSick, r.tookAsSick = now, l.health.sick(), l.tookAsSick
	if r.wasSick {
		p.turns.busySick++
	}
	for _, j := range r.jobs {
		j.began, j.rested = now, l.rested
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
func (p *Pool) stillOursLocked(jobs []*Job, now time.Time, e *effects) []*Job {
	ours := jobs[:0]
	for _, j := range jobs {
		if j.state == leaseLost || now.Sub(j.leased) >= p.Lease {
			p.giveBackLocked(j, e)
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
	p.noteRoundLocked(now)
	l.active--
	l.endpoint.active--
	if r.wasSick {
		p.turns.busySick--
	}
	l.lastAnswer = now
	l.count(len(r.jobs), now)
	l.slow = !l.terms.Adapts && now.Sub(r.began) > hangsAfter
	if l.terms.Adapts {
		p.judgeLaneLocked(l, r, now)
	}
	if failed := p.concludeLocked(r, now); failed {
		// The policy is asked without the lock, for it is somebody else's code.
		r.stage = deciding
		p.mu.Unlock()
		p.askPolicy(r)
		p.mu.Lock()
	}
	p.settleRoundLocked(r)
	p.mu.Unlock()
	p.tellRound(r)
}

// noteRoundLocked notes that a worker is through with a round.
func (p *Pool) noteRoundLocked(now time.Time) {
	p.workers.rounds--
	p.workers.lastRound = now
	if p.workers.hang {
		p.workers.hang = false
		p.Wake()
	}
}

// settleRoundLocked has the outcomes of a round stored, and lets the lane go on.
func (p *Pool) settleRoundLocked(r *round) {
	l := r.lane
	r.stage = telling
	for i, j := range r.jobs {
		j.began, j.cancel = time.Time{}, nil
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
	p.leaveSiteLocked(l.site, r.tookAsSick)
	p.readyAgainLocked(l)
}

// tellRound tells others what became of a round.
func (p *Pool) tellRound(r *round) {
	r.effects.perform(p.group)
	if p.Ended != nil {
		p.Ended(r.lane, r.jobs, r.verdicts, r.outcomes)
	}
	r.clear()
}

// clear makes a round ready for the next try.
func (r *round) clear() {
	clear(r.jobs)
	clear(r.verdicts)
	clear(r.outcomes)
	r.jobs, r.stage = r.jobs[:0], beginning
}
