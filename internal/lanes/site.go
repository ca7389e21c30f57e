package lanes

// site is what lanes that lead to one place have in common, whichever endpoints
// they lead to there: a bound on their tries together. Lanes that have yet to
// show that they work get half of it at most, and what any lane may have shrinks
// as the site fills up, so that no lane keeps the others out.
//
// A lane takes its part of the site with its turn, not with its try: what it got
// a turn for is still there when a worker comes.
type site struct {
	most        int
	taken       int // by turns and tries
	takenBySick int
	lanes       int // that lead there

	healthy, sick heldBack
	sickNext      bool // who is next, if both have a lane
}

func newSite(most int) *site {
	return &site{most: max(most, 1), healthy: heldBack{list: ofSite}, sick: heldBack{list: ofSiteSick}}
}

// part is how many tries a lane may have under way there, 0 if there is no room
// for any.
func (s *site) part(sick bool) int {
	if s.taken >= s.most || sick && s.takenBySick >= max(s.most/2, 1) {
		return 0
	}
	return max((s.most-s.taken)/3, 1)
}

// admits reports whether there is room for one more try of a lane. If not, the
// lane is held back. No site admits anything.
func (s *site) admits(l *Lane) bool {
	if s == nil {
		return true
	}
	sick := l.health.sick()
	part := s.part(sick)
	if l.active < part {
		return true
	}
	if sick {
		s.sick.add(l, part)
	} else {
		s.healthy.add(l, part)
	}
	return false
}

// take takes a lane's part.
func (s *site) take(l *Lane) {
	if s == nil {
		return
	}
	l.tookAsSick = l.health.sick()
	s.taken++
	if l.tookAsSick {
		s.takenBySick++
	}
}

// leaveSiteLocked gives a part of a site back, to lanes that were held back if
// there are any.
func (p *Pool) leaveSiteLocked(s *site, asSick bool) {
	if s == nil {
		return
	}
	s.taken--
	if asSick {
		s.takenBySick--
	}
	for p.readyNextOfLocked(s) {
		p.wantWorkerLocked()
	}
}

// readyNextOfLocked gives a turn to a lane that was held back, healthy and sick
// ones by turns. It reports whether there was one that may have it.
func (p *Pool) readyNextOfLocked(s *site) bool {
	sickFirst := s.sickNext
	for _, sick := range []bool{sickFirst, !sickFirst} {
		h := &s.healthy
		if sick {
			h = &s.sick
		}
		if p.readyOneLocked(h, s.part(sick)) {
			s.sickNext = !sick
			return true
		}
	}
	return false
}
