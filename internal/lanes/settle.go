package lanes

import (
	"context"
	"errors"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// settlement is the outcome of a job on its way into the store.
type settlement struct {
	pool    *Pool
	job     *Job
	outcome engine.Outcome
	follow  Push

	extended engine.Ticket // of a job that goes on, once the outcome is stored
	began    time.Time     // when the call that stored it did
}

func (s *settlement) size() int { return 1 + len(s.follow.jobs) }

// settleLocked sends a job's outcome to the store, as soon as the job has its
// final ticket.
func (p *Pool) settleLocked(j *Job, out engine.Outcome, follow Push, e *effects) {
	out.Follow = follow.jobs
	s := &settlement{pool: p, job: j, outcome: out, follow: follow}
	if j.state == extending {
		j.state, j.deferred = settlesAfterExtending, s
		return
	}
	p.submitLocked(s, e)
}

// submitLocked passes on the settlement of a job that has its final ticket.
func (p *Pool) submitLocked(s *settlement, e *effects) {
	j := s.job
	if j.state == leaseLost {
		logTakenOver(e, p.Kind, j)
		e.cancelled = append(e.cancelled, s.follow)
		p.forgetLocked(j)
		return
	}
	j.state = settling
	s.outcome.Ticket = j.ticket
	e.settlements = append(e.settlements, s)
}

// flushSettlements writes outcomes, and keeps trying while the store is out
// of reach: the jobs stay in memory, which in turn stops further claims. Where
// the store finds something that it can't take, each is seen to by itself.
func (g *Group) flushSettlements(items []*settlement) {
	outcomes := make([]engine.Outcome, len(items))
	for i, s := range items {
		outcomes[i] = s.outcome
	}
	settled, began, err := g.settleAll(outcomes)
	switch {
	case !errors.Is(err, engine.ErrInvalid):
	case len(items) > 1:
		for i := range items {
			g.flushSettlements(items[i : i+1])
		}
		return
	case items[0].outcome.Result != engine.Bury:
		g.buryInstead(items[0], err)
		g.flushSettlements(items)
		return
	}
	for i, s := range items {
		if err == nil && settled[i].OK {
			s.follow.stored(settled[i].Follow, s.job.Event, began)
			s.follow = Push{}
			if s.outcome.Result == engine.Extend {
				s.extended, s.began = settled[i].Ticket, began
			}
		}
	}
	var e effects
	for i, s := range items {
		s.pool.mu.Lock()
		s.pool.settledLocked(s, err != nil || settled[i].OK, &e)
		s.pool.mu.Unlock()
	}
	e.perform(g)
}

// buryInstead makes the outcome of a job whose own can't be stored: running it
// again would come to the same.
func (g *Group) buryInstead(s *settlement, err error) {
	s.follow.Cancel()
	s.follow = Push{}
	j := s.job
	s.outcome = engine.Outcome{
		Ticket: s.outcome.Ticket, Result: engine.Bury, Attempt: max(j.Attempt, 0), History: j.History,
		Reason: "its outcome can't be stored: " + err.Error(),
	}
	g.log.Error("toot: the outcome of a job can't be stored; it goes to the dead letters",
		"event", j.Event.ID, "channel", j.Event.Channel, "lane", j.lane.Shown(), "error", err)
}

// settledLocked takes note of a settlement that was stored or given up, or
// (final is false) whose ticket was stale. In the last case the job may have
// been claimed anew by this process, whose claims do not know what it still
// holds.
func (p *Pool) settledLocked(s *settlement, final bool, e *effects) {
	switch {
	case s.extended != "":
		p.goOnLocked(s, e)
		return
	case final:
	case s.job.ticket != s.outcome.Ticket:
		s.job.again = nil
		p.submitLocked(s, e)
		return
	case p.claiming:
		p.staleDuringClaim = append(p.staleDuringClaim, s)
		return
	}
	if len(s.follow.targets) > 0 {
		e.cancelled = append(e.cancelled, s.follow)
	}
	if again := s.job.again; again != nil { // due again, and here already
		p.admitLocked(newJob(s.job.lane, *again, s.job.leased), p.giveBacks, e)
	}
	p.forgetLocked(s.job)
	if r := s.outcome.Result; r == engine.Retry || r == engine.Release {
		p.lookAfterLocked(s.outcome.After)
	}
}

// goOnLocked takes a job back into its lane of which a part is done. If the lane
// is not to be worked on by now, it gives the job back.
func (p *Pool) goOnLocked(s *settlement, e *effects) {
	j := s.job
	j.History, j.state = s.outcome.History, working
	if j.again == nil { // or a claim has brought a newer ticket
		j.ticket, j.leased = s.extended, s.began
	}
	j.again = nil
	p.queueLocked(j, e)
}

func (g *Group) settleAll(outcomes []engine.Outcome) (_ []engine.Settled, began time.Time, _ error) {
	var outage backoff
	for {
		ctx, cancel := context.WithTimeout(g.storing, engineTimeout)
		began = time.Now()
		settled, err := g.engine.Settle(ctx, outcomes)
		cancel()
		switch {
		case err == nil:
			if outage.over() {
				g.log.Info("toot: settling jobs again")
			}
			return settled, began, nil
		case errors.Is(err, engine.ErrInvalid):
			return nil, began, err
		case errors.Is(err, engine.ErrClosed), g.storing.Err() != nil:
			g.log.Error("toot: outcomes of jobs were not stored; the jobs will be run again", "jobs", len(outcomes), "error", err)
			return nil, began, err
		}
		wait := outage.next()
		if outage.first() {
			g.log.Error("toot: can't settle jobs; will keep trying", "jobs", len(outcomes), "error", err)
		}
		select {
		case <-time.After(wait):
		case <-g.storing.Done():
		}
	}
}
