package lanes

import "time"

// turns are the lanes that have a job to be tried and may have it tried now,
// in the order in which they get their turn. Lanes that have yet to show that
// they work have turns of their own, so that they can't crowd out the others.
type turns struct {
	healthy, sick queue[*Lane]
	sickNext      bool // who is next, if both have a lane
	busySick      int  // workers on sick lanes

	// heldBack are lanes that may have no more of the workers while so few are
	// free. The least share at which one of them was refused is heldBackAt.
	heldBack   []*Lane
	heldBackAt int
}

// holdBack notes a lane that wants more than its share.
func (t *turns) holdBack(l *Lane, share int) {
	if len(t.heldBack) == 0 || share < t.heldBackAt {
		t.heldBackAt = share
	}
	if !l.heldBack {
		l.heldBack = true
		t.heldBack = append(t.heldBack, l)
	}
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

// makeReadyLocked gives a lane a turn, if it has something to be tried, and
// sees that there is a worker for it.
func (p *Pool) makeReadyLocked(l *Lane) {
	if l.hasTurn || !p.mayRunLocked(l) {
		return
	}
	p.turns.add(l)
	p.wantWorkerLocked()
}

// mayRunLocked reports whether a worker may begin with a job of the lane now. A
// lane's share of the workers shrinks as they become few, so that no number of
// slow lanes can take them all.
func (p *Pool) mayRunLocked(l *Lane) bool {
	if l.queue.len() == 0 || l.active >= l.health.limit || l.terms.Paused {
		return false
	}
	if share := p.share(p.workers.busy); l.active >= share {
		p.turns.holdBack(l, share)
		return false
	}
	now := time.Now()
	return !l.hangs(now) && !p.isTooSoonLocked(l, now)
}

// share is how many tries a lane may have under way while so many workers are
// busy.
func (p *Pool) share(busy int) int { return max((p.Workers-busy)/4, 1) }

// readyHeldBackLocked gives a turn to a lane that was held back and may have
// the worker that asks. It reports whether there was one. As every worker asks
// before it parks, no worker waits while a lane may have it.
func (p *Pool) readyHeldBackLocked() bool {
	t := &p.turns
	if len(t.heldBack) == 0 || p.share(p.workers.busy) <= t.heldBackAt {
		return false
	}
	waiting, least := t.heldBack, t.heldBackAt
	t.heldBack = t.heldBack[:0]
	for i, l := range waiting {
		l.heldBack = false
		if l.hasTurn || !p.mayRunLocked(l) {
			continue
		}
		t.add(l)
		if rest := waiting[i+1:]; len(rest) > 0 {
			t.heldBack, t.heldBackAt = append(t.heldBack, rest...), least
		}
		return true
	}
	return false
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
		if l == nil || p.mayRunLocked(l) {
			return l
		}
	}
}
