package lanes

import (
	"context"
	"errors"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// ErrLeaseLost is the cause with which the try of a job is cancelled whose
// lease could not be extended in time.
var ErrLeaseLost = errors.New("toot: the lease on the job was lost")

// keepLeases keeps alive the leases of what is held in memory, and gives back
// what waits for lanes that hang or are slow. While nothing is held it sleeps,
// until jobsCame has a value, and then looks when it would have looked anyway.
func (p *Pool) keepLeases(ctx context.Context, jobsCame <-chan struct{}) {
	often := min(p.Lease/8, time.Second)
	began := time.Now()
	timer := time.NewTimer(often)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-jobsCame:
			timer.Reset(often - time.Since(began)%often)
			continue
		case <-timer.C:
		}
		p.extendLeases(ctx)
		p.returnWaiting()
		if !p.keeperMaySleep() {
			timer.Reset(often)
		}
	}
}

// keeperMaySleep reports that nothing is held and that nothing is under way. If
// so, the next job to come wakes the keeper.
func (p *Pool) keeperMaySleep() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.keeperSleeps = p.jobs.n == 0 && p.workers.rounds == 0
	return p.keeperSleeps
}

// wakeKeeperLocked makes the keeper look after what is held from now on.
func (p *Pool) wakeKeeperLocked() {
	if !p.keeperSleeps {
		return
	}
	p.keeperSleeps = false
	select {
	case p.jobsCame <- struct{}{}:
	default:
	}
}

// returnWaiting gives back what waits in lanes that hang or are slow, or for
// workers that all hang, for whoever is free.
func (p *Pool) returnWaiting() {
	var e effects
	p.mu.Lock()
	now := time.Now()
	p.workers.hang = p.workers.areSilent(p.Workers, now)
	for _, l := range p.lanes {
		if l.isSilent(now) && !l.terms.Adapts {
			l.slow = true
		}
		if p.workers.hang || l.slow && l.active > 0 || l.hangs(now) {
			p.returnQueuedLocked(l, &e)
		}
	}
	p.mu.Unlock()
	e.perform(p.group)
}

// extendLeases extends the leases of which half is over.
func (p *Pool) extendLeases(ctx context.Context) {
	began := time.Now()
	due, outcomes := p.beginExtending(began)
	if len(due) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, p.Lease/2)
	defer cancel()
	settled, err := p.group.engine.Settle(ctx, outcomes)
	if err != nil {
		p.group.log.Warn("toot: can't extend leases; will try again", "kind", p.Kind.String(), "jobs", len(due), "error", err)
		settled = nil
	}
	p.endExtending(due, outcomes, settled, began)
}

func (p *Pool) beginExtending(now time.Time) (due []*Job, outcomes []engine.Outcome) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for j := p.jobs.first; j != nil; j = j.next {
		if j.state == working && now.Sub(j.leased) > p.Lease/2 {
			j.state = extending
			due = append(due, j)
			outcomes = append(outcomes, engine.Outcome{Ticket: j.ticket, Result: engine.Extend, After: p.Lease})
		}
	}
	return due, outcomes
}

// endExtending takes note of what came of it; settled is nil if that is not
// known.
func (p *Pool) endExtending(due []*Job, outcomes []engine.Outcome, settled []engine.Settled, began time.Time) {
	var e effects
	var lost []context.CancelCauseFunc
	p.mu.Lock()
	for i, j := range due {
		next := working
		switch {
		case settled == nil || j.ticket != outcomes[i].Ticket: // or claimed anew meanwhile
		case settled[i].OK:
			j.ticket, j.leased = settled[i].Ticket, began
		case p.claiming: // it may bring the new ticket; if not, the next extension tells
		default:
			next = leaseLost
			if j.cancel != nil {
				lost = append(lost, j.cancel)
			}
		}
		waiting := j.deferred
		j.state, j.deferred = next, nil
		if waiting != nil {
			p.submitLocked(waiting, &e)
		}
	}
	p.mu.Unlock()
	for _, cancel := range lost {
		cancel(ErrLeaseLost)
	}
	e.perform(p.group)
}
