package lanes

import "time"

// turns are the lanes that have a job to be tried and may have it tried now,
// in the order in which they get their turn. Lanes that have yet to show that
// they work have turns of their own, so that they can't crowd out the others.
type turns struct {
	healthy, sick queue[*Lane]
	sickNext      bool // who is next, if both have a lane
	busySick      int  // workers on sick lanes

	heldBack heldBack // for want of workers
}

// next takes the lane whose turn it is, nil if there is none.
func (t *turns) next(workers int) *Lane {
	sickMay := t.sick.len() > 0 && t.busySick < max(workers/2, 1)
	var l *Lane
	switch {
	case sickMay && (t.sickNext || t.healthy.len() == 0):
		l = t.sick.pop()
		t.sickNext = false
	case t.healthy.len() > 0:
		l = t.healthy.pop()
		t.sickNext = true
	default:
		return nil
	}
	l.hasTurn = false
	return l
}

// add gives a lane a turn.
func (t *turns) add(l *Lane) {
	l.hasTurn = true
	if l.health.sick() {
		t.sick.push(l)
	} else {
		t.healthy.push(l)
	}
}

// makeReadyLocked gives a lane a turn, if it has something to be tried and may
// have it tried, and sees that there is a worker for it. It reports whether it
// did.
func (p *Pool) makeReadyLocked(l *Lane) bool {
	if l.hasTurn || !p.mayHaveTurnLocked(l) {
		return false
	}
	p.giveTurnLocked(l)
	p.wantWorkerLocked()
	return true
}

// mayHaveTurnLocked reports whether a lane may have a turn.
func (p *Pool) mayHaveTurnLocked(l *Lane) bool {
	if !p.mayRunLocked(l) {
		return false
	}
	if l.endpoint.active+l.promised >= l.health.limit { // those that have a turn go first
		l.hold(l)
		return false
	}
	return l.site.admits(l)
}

// giveTurnLocked gives a turn to a lane that may have one.
func (p *Pool) giveTurnLocked(l *Lane) {
	l.site.take(l)
	l.promised++
	p.turns.add(l)
}

// passTurnLocked is for a turn that a lane had no use for. Others may have waited
// for it.
func (p *Pool) passTurnLocked(l *Lane) {
	p.leaveSiteLocked(l.site, l.tookAsSick)
	p.readyWaitingLocked(l.endpoint)
}

// mayRunLocked reports whether a worker may begin with a job of the lane now, as
// far as its site is not concerned. A lane's share of the workers shrinks as
// they become few, so that no number of slow lanes can take them all. Whatever
// keeps the lane from running gives it a turn when it is over.
func (p *Pool) mayRunLocked(l *Lane) bool {
	if l.queue.len() == 0 || l.terms.Paused {
		return false
	}
	if l.endpoint.active >= l.health.limit {
		l.hold(l)
		return false
	}
	if share := p.share(p.workers.busy); l.active >= share {
		p.turns.heldBack.add(l, share)
		return false
	}
	now := time.Now()
	if l.hangs(now) {
		l.hold(l)
		return false
	}
	return !p.isTooSoonLocked(l, now)
}

// share is how many tries a lane may have under way while so many workers are
// busy.
func (p *Pool) share(busy int) int { return max((p.Workers-busy)/4, 1) }

// readyHeldBackLocked gives a turn to a lane that was held back and may have
// the worker that asks. It reports whether there was one. As every worker asks
// before it parks, no worker waits while a lane may have it.
func (p *Pool) readyHeldBackLocked() bool {
	return p.readyOneLocked(&p.turns.heldBack, p.share(p.workers.busy))
}

// isTooSoonLocked reports a lane whose last try began less than its spacing
// ago, and makes it ready again in time.
func (p *Pool) isTooSoonLocked(l *Lane, now time.Time) bool {
	wait := l.nextStart.Sub(now)
	if wait <= 0 {
		return false
	}
	if l.spacing == nil {
		l.spacing = time.AfterFunc(wait, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			l.stopSpacing()
			if p.state != idle {
				p.makeReadyLocked(l)
			}
		})
	}
	return true
}

// nextLaneLocked takes the next lane that a worker may serve, nil if there is
// none.
func (p *Pool) nextLaneLocked() *Lane {
	for {
		l := p.turns.next(p.Workers)
		if l == nil {
			return nil
		}
		l.promised--
		if p.mayRunLocked(l) {
			return l
		}
		p.passTurnLocked(l)
	}
}
