package memengine

import (
	"context"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Claim implements engine.Engine.
func (e *Engine) Claim(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
	end, err := e.begin(ctx, req.Validate())
	if err != nil {
		return engine.ClaimResult{}, err
	}
	defer end()
	e.retain()
	now := time.Now()
	lanes := e.s.open(req, now)
	res := engine.ClaimResult{Next: -1}
	// One job of each lane in turn, until nothing more may be taken.
	for took := true; took; {
		took = false
		for _, l := range lanes {
			if l.taken == l.limit || l.taken == len(l.jobs) || len(res.Jobs) == req.Max || l.jobs[l.taken].claimable().After(now) {
				continue
			}
			res.Jobs = append(res.Jobs, e.s.claim(l.jobs[l.taken], req.Lease, now))
			l.taken++
			took = true
		}
	}
	for _, l := range lanes {
		rest := e.s.deferred[l.jobs[0].id.lane].Sub(now)
		// Those that were taken are claimable again at one time, and the first
		// of the others before the rest of them.
		for _, j := range [...]*job{l.jobs[0], l.jobs[min(l.taken, len(l.jobs)-1)]} {
			next := max(j.claimable().Sub(now), rest, 0)
			if res.Next < 0 || next < res.Next {
				res.Next = next
			}
		}
	}
	return res, nil
}

// claim hands out a job.
func (s *Store) claim(j *job, lease time.Duration, now time.Time) engine.Claimed {
	if j.ticket != "" { // the lease before has ended: that is when it became due
		j.due = j.until
	}
	s.lease(j, lease)
	j.claims++
	return engine.Claimed{
		Ticket: j.ticket, Event: j.event, Lane: j.id.lane, Attempt: j.attempt,
		History: slices.Clone(j.history), Claims: j.claims, Age: now.Sub(j.pushed),
	}
}

// served is a lane during a claim.
type served struct {
	jobs  []*job // in order
	limit int
	taken int
}

// open returns the lanes that a request does not leave out, the oldest first.
func (s *Store) open(req engine.ClaimRequest, now time.Time) []*served {
	var lanes []*served
	for lane, jobs := range s.lanes {
		limit, named := req.Limits[lane.Name]
		if !named {
			limit = req.MaxPerLane
		}
		if lane.Kind != req.Kind || limit == 0 || req.Only != nil && !slices.Contains(req.Only, lane.Name) {
			continue
		}
		if s.deferred[lane].After(now) {
			limit = 0
		}
		lanes = append(lanes, &served{limit: limit, jobs: inOrder(jobs)})
	}
	slices.SortFunc(lanes, func(a, b *served) int { return byClaimable(a.jobs[0], b.jobs[0]) })
	return lanes
}
