package lanes

import "time"

// endpoint is where a lane leads. Lanes whose names are spellings of one and the
// same endpoint share it: what its answers tell, how many tries it may have
// under way, and their spacing.
type endpoint struct {
	health     health
	active     int       // tries under way
	promised   int       // turns that lanes have, each for one try more
	lastAnswer time.Time // when a try last ended, or the first of those under way began
	nextStart  time.Time // no try begins before, see Terms.Spacing

	sharedBy int          // so many lanes, 0 if it can't be shared
	waiting  queue[*Lane] // those that wait for a try of another to end
}

// hold notes a lane that waits for a try to end. One that is alone need not be
// noted, as its own tries are all there are.
func (e *endpoint) hold(l *Lane) {
	if e.sharedBy > 1 && !l.in[ofEndpoint] {
		l.in[ofEndpoint] = true
		e.waiting.push(l)
	}
}

// readyWaitingLocked gives turns to the lanes that wait for tries of an endpoint
// to end, as far as it may have more of them.
func (p *Pool) readyWaitingLocked(e *endpoint) {
	room := e.health.limit - e.active - e.promised
	for n := e.waiting.len(); n > 0 && room > 0; n-- {
		l := e.waiting.pop()
		l.in[ofEndpoint] = false
		if p.makeReadyLocked(l) {
			room--
		}
	}
}

// readyAgainLocked gives a lane a turn of which a try has ended, behind those
// that waited for that.
func (p *Pool) readyAgainLocked(l *Lane) {
	if l.sharedBy <= 1 {
		p.makeReadyLocked(l)
		return
	}
	l.hold(l)
	p.readyWaitingLocked(l.endpoint)
}

// joinLocked lets a lane share what others have already.
func (p *Pool) joinLocked(l *Lane) {
	if name := l.terms.Endpoint; name != "" {
		if e := p.endpoints[name]; e != nil {
			l.endpoint = e
		} else {
			p.endpoints[name] = l.endpoint
		}
		l.sharedBy++
	}
	if name := l.terms.Site; name != "" {
		s := p.sites[name]
		if s == nil {
			s = newSite(l.terms.SiteAtOnce)
			p.sites[name] = s
		}
		s.lanes++
		l.site = s
	}
}

// forgetLaneLocked forgets a lane, and what it was the last to share.
func (p *Pool) forgetLaneLocked(l *Lane) {
	delete(p.lanes, l.name)
	if name := l.terms.Endpoint; name != "" {
		if l.sharedBy--; l.sharedBy == 0 {
			delete(p.endpoints, name)
		}
	}
	if name := l.terms.Site; name != "" {
		if l.site.lanes--; l.site.lanes == 0 {
			delete(p.sites, name)
		}
	}
}
