package lanes

import "time"

// turns are the lanes that have a job to be tried and may have it tried now,
// in the order in which they get their turn. Lanes that have yet to show that
// they work have turns of their own, so that they can't crowd out the others.
type turns struct {
	healthy, sick queue[*Lane]
	sickNext      bool // who is next, if both have a lane
	busySick      int  // workers on sick lanes
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

// makeReadyLocked gives a lane a turn, if it has something to be tried, and
// sees that there is a worker for it.
func (p *Pool) makeReadyLocked(l *Lane) {
	if l.hasTurn || !p.mayRunLocked(l) {
		return
	}
	l.hasTurn = true
	if l.health.sick() {
		p.turns.sick.push(l)
	} else {
		p.turns.healthy.push(l)
	}
	p.wantWorkerLocked()
}

// mayRunLocked reports whether a worker may begin with a job of the lane now. A
// lane's share of the workers shrinks as they become few, so that no number of
// slow lanes can take them all.
func (p *Pool) mayRunLocked(l *Lane) bool {
	limit := min(l.health.limit, max((p.Workers-p.workers.busy)/4, 1))
	if l.queue.len() == 0 || l.active >= limit || l.terms.Paused {
		return false
	}
	now := time.Now()
	return !l.hangs(now) && !p.isTooSoonLocked(l, now)
}

// isTooSoonLocked reports a lane whose last try began less than its spacing
// ago, and makes it ready again in time.
func (p *Pool) isTooSoonLocked(l *Lane, now time.Time) bool {
	wait := l.nextStart.Sub(now)
	if wait <= 0 {
		return false
	}
	if !l.spacingTimer {
		l.spacingTimer = true
		time.AfterFunc(wait, func() {
			p.mu.Lock()
			defer p.mu.Unlock()
			l.spacingTimer = false
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
		if l == nil || p.mayRunLocked(l) {
			return l
		}
	}
}
