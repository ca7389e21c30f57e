package lanes

import (
	"context"
	"log/slog"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

const (
	// claimMax is how many jobs are claimed at once.
	claimMax = 1024
	// PollInterval is the longest time between two looks into the store. Its
	// hints come sooner; this is for those that got lost.
	PollInterval = 5 * time.Second
	// stalledAfter is how long a pool may fail to look for work before it
	// counts as stalled.
	stalledAfter = 3 * PollInterval
	// beaten is how long to wait when others were quicker to claim.
	beaten = 10 * time.Millisecond
)

// claimLoop takes due jobs from the store whenever there is room for them,
// until stop ends. A claim under way then is not cut short (its jobs would be
// nobody's until their leases end), only by the end of work.
func (p *Pool) claimLoop(stop, work context.Context) {
	var outage backoff
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-stop.Done():
			return
		case <-p.wakeups:
		case <-timer.C:
		}
		for {
			wait, err := p.claimOnce(work)
			if stop.Err() != nil {
				return
			}
			if err != nil {
				wait = outage.next()
				if outage.first() {
					p.group.log.Error("toot: can't claim jobs; will keep trying", "kind", p.Kind.String(), "error", err)
				}
			} else if outage.over() {
				p.group.log.Info("toot: claiming jobs again", "kind", p.Kind.String())
			}
			if wait > 0 {
				timer.Reset(wait)
				break
			}
		}
	}
}

// lookAfter is lookAfterLocked for who does not hold the lock.
func (p *Pool) lookAfter(wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lookAfterLocked(wait)
}

// lookAfterLocked makes the claim loop look into the store once wait is over,
// for a job that is due then. Later ones come with the results of claims.
func (p *Pool) lookAfterLocked(wait time.Duration) {
	if wait >= PollInterval || p.state != running {
		return
	}
	if wait <= 0 {
		p.Wake()
		return
	}
	now := time.Now()
	at := now.Add(wait)
	switch {
	case p.lookTimer == nil:
		p.lookTimer = time.AfterFunc(wait, p.Wake)
	case at.Before(p.lookAt) || !now.Before(p.lookAt):
		p.lookTimer.Reset(wait)
	default:
		return
	}
	p.lookAt = at
}

// claimOnce claims what there is room for and returns how long to wait before
// the next claim.
func (p *Pool) claimOnce(ctx context.Context) (wait time.Duration, err error) {
	req, wait := p.claimRequest()
	if req.Max == 0 {
		p.noteClaim()
		return wait, nil
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	res, err := p.group.engine.Claim(ctx, req.ClaimRequest)
	if err != nil {
		req.emptied = nil // nobody knows
	}
	p.claimed(req, res, began)
	if err != nil {
		return 0, err
	}
	p.noteClaim()
	switch {
	case res.Next < 0:
		return wait, nil
	case res.Next == 0 && len(res.Jobs) == 0:
		return beaten, nil
	default:
		return min(wait, res.Next), nil
	}
}

// noteClaim notes that the claim loop is alive and the store answers.
func (p *Pool) noteClaim() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lastClaim = time.Now()
}

// claim is a claim under way.
type claim struct {
	engine.ClaimRequest
	// emptied are the lanes of which it may turn out that no more of their jobs
	// wait in the store, with how many had been left there when it began.
	emptied map[*Lane]int
	since   int // Pool.giveBacks when it began
}

// claimRequest says what this process has room for, and how long at the most
// to wait for the next claim. A request for nothing has a Max of 0.
func (p *Pool) claimRequest() (c claim, wait time.Duration) {
	c.ClaimRequest = engine.ClaimRequest{Kind: p.Kind, Lease: p.Lease, MaxPerLane: claimMax}
	if p.Only != nil {
		if c.Only = p.Only(); len(c.Only) == 0 {
			return c, PollInterval
		}
	}
	if terms := p.Terms(""); terms.Adapts {
		c.MaxPerLane = newLane("", terms).capacity() // of lanes that are not known here
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.room.isTight() || p.workers.hang || p.state != running {
		return c, PollInterval
	}
	p.room.held++ // the claim itself, until it has ended: drain waits for it
	p.claiming = true
	c.since = p.giveBacks
	c.Max = max(p.room.forClaim(), 1)
	p.room.asked = c.Max
	return c, p.limitLanesLocked(&c, time.Now())
}

// limitLanesLocked says for each lane how many of its jobs there is room for.
// It returns how long at the most to wait for the next claim.
func (p *Pool) limitLanesLocked(c *claim, now time.Time) (wait time.Duration) {
	wait = PollInterval
	c.emptied = make(map[*Lane]int)
	c.Limits = make(map[string]int)
	for name, l := range p.lanes {
		rest := l.restsUntil.Sub(now)
		switch {
		case l.terms.Paused:
			c.Limits[name] = 0
			continue
		case rest > 0:
			c.Limits[name] = 0
			wait = min(wait, rest)
			continue
		case l.hangs(now):
			c.Limits[name] = 0
			l.leftOut = true
			continue
		case l.givingBack > 0:
			c.Limits[name] = 0
			l.leftOut = true
			continue
		case l.isForgettable(now):
			p.forgetLaneLocked(l)
			continue
		}
		free := max(l.capacity()-l.held, 0)
		if !l.wantsMore() && free < c.MaxPerLane {
			free = 0 // rather wait for more room, see isTight
		}
		l.leftOut = free == 0
		if free != c.MaxPerLane {
			c.Limits[name] = free
		}
		if l.waitsInStore && free > 0 {
			c.emptied[l] = l.leftInStore
		}
	}
	return wait
}

// claimed takes in what a claim has brought.
func (p *Pool) claimed(c claim, res engine.ClaimResult, began time.Time) {
	terms := p.termsOfNew(res.Jobs)
	var e effects
	p.mu.Lock()
	got := p.takeClaimedLocked(c, res.Jobs, terms, began, &e)
	p.noteWhatIsLeftLocked(c, len(res.Jobs), got)
	p.room.held--
	p.room.asked = 0
	p.claiming = false
	stale := p.staleDuringClaim
	p.staleDuringClaim = nil
	for _, s := range stale {
		p.settledLocked(s, false, &e)
	}
	p.checkQuietLocked()
	p.mu.Unlock()
	e.perform(p.group)
}

// termsOfNew returns the terms of the lanes that are met for the first time.
func (p *Pool) termsOfNew(jobs []engine.Claimed) map[string]Terms {
	var names []string
	p.mu.Lock()
	for i := range jobs {
		if name := jobs[i].Lane.Name; p.lanes[name] == nil && (len(names) == 0 || names[len(names)-1] != name) {
			names = append(names, name)
		}
	}
	p.mu.Unlock()
	terms := make(map[string]Terms, len(names))
	for _, name := range names {
		if _, known := terms[name]; !known {
			terms[name] = p.Terms(name)
		}
	}
	return terms
}

// takeClaimedLocked puts claimed jobs into their lanes, and returns how many
// each lane got.
func (p *Pool) takeClaimedLocked(by claim, jobs []engine.Claimed, terms map[string]Terms, began time.Time, e *effects) map[*Lane]int {
	got := make(map[*Lane]int)
	var overdue map[jobID]*Job
	for _, c := range jobs {
		l := p.laneLocked(c.Lane.Name, terms[c.Lane.Name])
		got[l]++
		if c.Claims > 1 {
			if overdue == nil {
				overdue = p.overdueLocked(began)
			}
			if j := overdue[identify(l, c.Event)]; j != nil {
				// It was in good hands, and has a new ticket now.
				j.ticket, j.leased = c.Ticket, began
				if j.state == settling {
					again := c
					j.again = &again
				}
				continue
			}
		}
		p.admitLocked(newJob(l, c, began), by.since, e)
	}
	return got
}

// admitLocked takes in a job that a claim has brought.
func (p *Pool) admitLocked(j *Job, since int, e *effects) {
	p.room.held++
	j.lane.held++
	p.enqueueLocked(j, since, e)
}

// noteWhatIsLeftLocked notes of which lanes jobs wait in the store.
func (p *Pool) noteWhatIsLeftLocked(c claim, n int, got map[*Lane]int) {
	if n >= c.Max {
		for l := range got {
			l.waitsInStore = true // as far as known
		}
		return
	}
	// Lanes that gave less than they were asked for have no more.
	for l, before := range c.emptied {
		if l.leftInStore == before {
			l.waitsInStore = false
		}
	}
	for l, n := range got {
		limit, ok := c.Limits[l.name]
		if !ok {
			limit = c.MaxPerLane
		}
		if n >= limit {
			l.waitsInStore = true
		}
	}
}

// jobID tells the jobs of a pool apart.
type jobID struct {
	lane                *Lane
	channel, id, replay string
}

func identify(l *Lane, e *engine.Event) jobID { return jobID{l, e.Channel, e.ID, e.Replay} }

// overdueLocked returns the jobs whose lease was not extended in time: should a
// claim bring them again, they are in good hands already.
func (p *Pool) overdueLocked(now time.Time) map[jobID]*Job {
	found := map[jobID]*Job{}
	for j := p.jobs.first; j != nil; j = j.next {
		if j.state != leaseLost && now.Sub(j.leased) >= p.Lease/2 {
			found[identify(j.lane, j.Event)] = j
		}
	}
	return found
}

// receive takes in a job for which room was reserved.
func (p *Pool) receive(t target, c engine.Claimed, began time.Time) {
	var e effects
	p.mu.Lock()
	p.room.bytes -= t.bytes // now it is counted as it is
	p.enqueueLocked(newJob(t.lane, c, began), t.since, &e)
	p.mu.Unlock()
	e.perform(p.group)
}

// enqueueLocked puts a job into its lane, for which there is room. If the lane
// is not to be worked on, as may have come about since the job was asked for,
// it gives the job back. So it does if older ones were given back since then, of
// which since, the pool's giveBacks of that time, tells.
func (p *Pool) enqueueLocked(j *Job, since int, e *effects) {
	p.room.took(len(j.Event.Body))
	p.jobs.push(j)
	p.wakeKeeperLocked()
	if since < j.lane.gaveBack {
		p.giveBackLocked(j, e)
		return
	}
	p.queueLocked(j, e)
}

// queueLocked puts a job that is held into its lane's queue, unless the lane is
// not to be worked on.
func (p *Pool) queueLocked(j *Job, e *effects) {
	if p.state != running || j.lane.terms.Paused || j.lane.rests(time.Now()) {
		p.giveBackLocked(j, e)
		return
	}
	j.lane.queue.push(j)
	p.makeReadyLocked(j.lane)
}

// returnQueuedLocked gives the jobs that wait in a lane back to the store.
func (p *Pool) returnQueuedLocked(l *Lane, e *effects) {
	if l.queue.len() == 0 {
		return
	}
	p.giveBacks++
	l.gaveBack = p.giveBacks
	for l.queue.len() > 0 {
		p.giveBackLocked(l.queue.pop(), e)
	}
}

// giveBackLocked puts a job back into the store, where it was.
func (p *Pool) giveBackLocked(j *Job, e *effects) {
	j.givenBack = true
	j.lane.givingBack++
	j.lane.noteLeftInStore()
	p.settleLocked(j, engine.Outcome{Result: engine.Release}, Push{}, e)
}

// logTakenOver says that a job turned out to be somebody else's.
func logTakenOver(e *effects, kind engine.Kind, j *Job) {
	e.say(slog.LevelWarn, "toot: another worker took over a job that took too long here", slog.String("kind", kind.String()),
		slog.String("event", j.Event.ID), slog.String("channel", j.Event.Channel), slog.String("lane", j.lane.Shown()), slog.Int("attempt", j.Attempt))
}
