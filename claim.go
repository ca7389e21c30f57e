package toot

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// claimLoop takes due jobs from the store whenever there is room for them,
// until stop ends. A claim under way then is not cut short (its jobs would be
// nobody's until their leases end), only by the end of work.
func (d *dispatcher) claimLoop(stop, work context.Context) {
	var outage backoff
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-stop.Done():
			return
		case <-d.signal:
		case <-timer.C:
		}
		for {
			wait, err := d.claimOnce(work)
			if stop.Err() != nil {
				return
			}
			if err != nil {
				wait = outage.next()
				if outage.first() {
					d.app.log.Error("toot: can't claim jobs; will keep trying", "kind", d.kind.String(), "error", err)
				}
			} else if outage.over() {
				d.app.log.Info("toot: claiming jobs again", "kind", d.kind.String())
			}
			if wait > 0 {
				timer.Reset(wait)
				break
			}
		}
	}
}

// lookAfter makes the claim loop look into the store once d is over, for a job
// that is due then. Later ones come with the results of claims. d.mu is held.
func (d *dispatcher) lookAfter(wait time.Duration) {
	if wait >= pollInterval || d.draining {
		return
	}
	if wait <= 0 {
		d.wake()
		return
	}
	at := time.Now().Add(wait)
	switch {
	case d.lookTimer == nil:
		d.lookTimer = time.AfterFunc(wait, d.wake)
	case at.Before(d.lookAt) || time.Now().After(d.lookAt):
		d.lookTimer.Reset(wait)
	default:
		return
	}
	d.lookAt = at
}

// claimOnce claims what there is room for and returns how long to wait before
// the next claim.
func (d *dispatcher) claimOnce(ctx context.Context) (wait time.Duration, err error) {
	req, pushes, wait := d.claimRequest()
	if req.Max == 0 {
		d.hasLooked()
		return wait, nil
	}
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, engineTimeout)
	defer cancel()
	res, err := d.app.engine.Claim(ctx, req)
	d.claimed(req, pushes, res, began)
	if err != nil {
		return 0, err
	}
	d.hasLooked()
	switch {
	case res.Next < 0:
		return wait, nil
	case res.Next == 0 && len(res.Jobs) == 0:
		return 10 * time.Millisecond, nil // somebody else was quicker
	default:
		return min(wait, res.Next), nil
	}
}

// hasLooked notes that the claim loop is alive and the store answers.
func (d *dispatcher) hasLooked() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.looked = time.Now()
}

// claimRequest says what this process has room for, and how long at the most
// to wait for the next claim. A request for nothing has a Max of 0.
func (d *dispatcher) claimRequest() (req engine.ClaimRequest, pushes map[*lane]int, wait time.Duration) {
	now := time.Now()
	req = engine.ClaimRequest{Kind: d.kind, Lease: d.lease}
	if d.only != nil {
		if req.Only = d.only(); len(req.Only) == 0 {
			return req, nil, pollInterval
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	room := min(maxHeld-d.held, claimMax)
	room = min(room, (maxHeldBytes-d.heldBytes)/max(d.eventBytes, 1))
	wait = pollInterval
	if d.held > maxHeld-claimMax/4 || d.heldBytes > maxHeldBytes/4*3 {
		return req, nil, wait // wait for more room: a few large claims cost less than many small ones
	}
	if d.draining {
		return req, nil, wait
	}
	d.held++ // the claim itself, until claimed: drain waits for it
	d.claiming = true
	req.Max = max(room, 1)
	req.MaxPerLane = claimMax
	if fresh := newLane("", d.limit(""), 0); fresh.adapts {
		req.MaxPerLane = fresh.capacity() // of lanes not known here
	}
	pushes = make(map[*lane]int)
	req.Limits = make(map[string]int)
	for name, l := range d.lanes {
		rest := l.restsUntil.Sub(now)
		switch {
		case rest > 0:
			req.Limits[name] = 0
			wait = min(wait, rest)
			continue
		case l.hangs(now):
			req.Limits[name] = 0
			l.unasked = true
			continue
		case l.forgettable(now):
			delete(d.lanes, name)
			continue
		}
		free := max(l.capacity()-l.held, 0)
		if free < l.capacity()/2 && free < req.MaxPerLane {
			free = 0 // as above
		}
		l.unasked = free == 0
		if free != req.MaxPerLane {
			req.Limits[name] = free
		}
		if l.backlog && free > 0 {
			pushes[l] = l.pushes
		}
	}
	return req, pushes, wait
}

// claimed takes in what a claim has brought.
func (d *dispatcher) claimed(req engine.ClaimRequest, pushes map[*lane]int, res engine.ClaimResult, began time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	defer func() {
		d.held--
		d.claiming = false
		doubtful := d.doubtful
		d.doubtful = nil
		for _, s := range doubtful {
			d.settled(s, false)
		}
		d.checkQuiet()
	}()
	got := make(map[*lane]int)
	var overdue map[engine.Lane]map[string]*job
	for _, c := range res.Jobs {
		l := d.lane(c.Lane.Name)
		got[l]++
		if c.Claims > 1 {
			if overdue == nil {
				overdue = d.overdue(began)
			}
			if j := overdue[c.Lane][c.Event.ID]; j != nil {
				j.claim.Ticket, j.leased = c.Ticket, began
				continue
			}
		}
		d.held++
		l.held++
		d.take(&job{lane: l, claim: c, since: began, leased: began})
	}
	if len(res.Jobs) >= req.Max {
		for l := range got {
			l.backlog = true // as far as known
		}
		return
	}
	// Lanes that gave less than they were asked for have no more.
	for l, before := range pushes {
		if l.pushes == before {
			l.backlog = false
		}
	}
	for l, n := range got {
		limit, ok := req.Limits[l.name]
		if !ok {
			limit = req.MaxPerLane
		}
		if n >= limit {
			l.backlog = true
		}
	}
}

// overdue returns the jobs whose lease was not extended in time, by lane and
// event: should a claim bring them again, they are in good hands already.
// d.mu is held.
func (d *dispatcher) overdue(now time.Time) map[engine.Lane]map[string]*job {
	found := map[engine.Lane]map[string]*job{}
	for j := d.jobs.first; j != nil; j = j.next {
		if j.lost || now.Sub(j.leased) < d.lease/2 {
			continue
		}
		lane := j.claim.Lane
		if found[lane] == nil {
			found[lane] = map[string]*job{}
		}
		found[lane][j.claim.Event.ID] = j
	}
	return found
}

// tend keeps alive the leases of what is held in memory, and gives back what
// waits for an endpoint that hangs.
func (d *dispatcher) tend(ctx context.Context) {
	busy, idle := min(d.lease/8, time.Second), d.lease/4
	timer := time.NewTimer(idle)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		d.extendLeases(ctx)
		d.releaseHanging()
		d.mu.Lock()
		wait := busy
		if d.jobs.n == 0 {
			wait = idle
		}
		d.mu.Unlock()
		timer.Reset(wait)
	}
}

func (d *dispatcher) releaseHanging() {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	for _, l := range d.lanes {
		if l.hangs(now) {
			d.release(l)
		}
	}
}

// release gives the jobs that wait in a lane back to the store. d.mu is held.
func (d *dispatcher) release(l *lane) {
	for l.queue.len() > 0 {
		l.leave()
		d.settle(l.queue.pop(), engine.Outcome{Result: engine.Release}, handOff{})
	}
}

// extendLeases extends the leases of which half is over.
func (d *dispatcher) extendLeases(ctx context.Context) {
	var due []*job
	var outcomes []engine.Outcome
	began := time.Now()
	d.mu.Lock()
	for j := d.jobs.first; j != nil; j = j.next {
		if began.Sub(j.leased) > d.lease/2 && !j.settling && !j.lost {
			j.extending = true
			due = append(due, j)
			outcomes = append(outcomes, engine.Outcome{Ticket: j.claim.Ticket, Result: engine.Extend, After: d.lease})
		}
	}
	d.mu.Unlock()
	if len(due) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, d.lease/2)
	defer cancel()
	settled, err := d.app.engine.Settle(ctx, outcomes)
	if err != nil {
		d.app.log.Warn("toot: can't extend leases; will try again", "kind", d.kind.String(), "jobs", len(due), "error", err)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for i, j := range due {
		j.extending = false
		switch {
		case err != nil || j.claim.Ticket != outcomes[i].Ticket: // or claimed anew meanwhile
		case settled[i].OK:
			j.claim.Ticket, j.leased = settled[i].Ticket, began
		default:
			j.lost = true
			if j.cancel != nil {
				j.cancel(ErrLeaseLost)
			}
		}
		if s := j.parked; s != nil {
			j.parked = nil
			d.submit(s)
		}
	}
}

// backoff spaces out attempts at a store that is out of reach.
type backoff struct{ n int }

// next returns the time to wait after one more failure.
func (b *backoff) next() time.Duration {
	b.n++
	d := min(50*time.Millisecond<<min(b.n-1, 6), 2*time.Second)
	return d - time.Duration(jitter()*float64(d)/2)
}

// first reports whether there was one failure so far.
func (b *backoff) first() bool { return b.n == 1 }

// over resets it and reports whether there had been a failure.
func (b *backoff) over() bool {
	n := b.n
	b.n = 0
	return n > 0
}
