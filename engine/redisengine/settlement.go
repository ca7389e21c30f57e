package redisengine

import (
	"github.com/watermarkchurch/toot-go/engine"
)

// settlement is what one script call settles. Outcomes of a lane go together,
// so that the server can compare and remove them in one step.
type settlement struct {
	batch  // follow-up jobs, and the lanes
	byLane [][]settling
	n      int
}

type settling struct {
	claim
	at int
}

// planSettle puts the outcomes of good tickets into settlements, by shard.
func (e *Engine) planSettle(outcomes []engine.Outcome, results []engine.Settled) [][]*settlement {
	plan := make([][]*settlement, len(e.queues))
	// The one with follow-up jobs and the one without that are being filled.
	// They are kept apart since a server that is out of memory takes the latter.
	open := make([][2]*settlement, len(e.queues))
	seen := make(map[engine.Ticket]bool, len(outcomes))
	var keys arena
	for i := range outcomes {
		o := &outcomes[i]
		if len(o.Follow) > 0 {
			results[i].Follow = make([]engine.Ticket, len(o.Follow))
		}
		c, ok := parseTicket(o.Ticket)
		if !ok || c.shard < 0 || c.shard >= len(e.queues) || seen[o.Ticket] {
			continue // stale
		}
		seen[o.Ticket] = true
		events := following(e.queues[c.shard], &keys, &c, o.Follow)
		with := 0
		if len(events) > 0 {
			with = 1
		}
		s := open[c.shard][with]
		if s == nil || s.n >= batchJobs || len(s.lanes.lanes) >= batchLanes || s.fullOf(events) {
			s = &settlement{batch: *newBatch(e.queues[c.shard], with*len(outcomes))}
			open[c.shard][with] = s
			plan[c.shard] = append(plan[c.shard], s)
		}
		lane := s.lanes.add(c.lane)
		for len(s.byLane) <= lane {
			var group []settling
			if len(s.byLane) == 0 { // often the only one
				group = make([]settling, 0, min((len(outcomes)-i)/len(e.shards)+1, batchJobs))
			}
			s.byLane = append(s.byLane, group)
		}
		s.byLane[lane] = append(s.byLane[lane], settling{c, i})
		s.n++
		s.bytes += len(o.History) + len(o.Reason)
		for _, f := range events {
			f.ev.owner = i
			s.add(f.ev, f.jobs, f.at)
		}
	}
	return plan
}

// followed is an event with follow-up jobs of one outcome.
type followed struct {
	ev   batchEvent
	jobs []engine.Job
	at   []int
}

func following(s *shard, keys *arena, c *claim, jobs []engine.Job) []followed {
	if len(jobs) == 0 {
		return nil
	}
	var all []followed
	for _, g := range byEvent(jobs) {
		f := followed{jobs: g.jobs, at: g.at}
		if g.event == nil {
			f.ev = batchEvent{key: c.key, stored: c.event, event: &engine.Event{Channel: c.channel}}
		} else {
			f.ev = batchEvent{key: s.jobKey(keys, identityOf(g.event)), event: g.event}
		}
		all = append(all, f)
	}
	return merge(all)
}

// merge keeps an outcome atomic that follows up with two events of one identity:
// of those the first counts for all.
func merge(all []followed) []followed {
	for i := 1; i < len(all); i++ {
		for j := range i {
			if all[i].ev.key == all[j].ev.key {
				all[j].jobs = append(all[j].jobs[:len(all[j].jobs):len(all[j].jobs)], all[i].jobs...)
				all[j].at = append(all[j].at[:len(all[j].at):len(all[j].at)], all[i].at...)
				all = append(all[:i], all[i+1:]...)
				i--
				break
			}
		}
	}
	return all
}

func (s *settlement) fullOf(events []followed) bool {
	if s.bytes > batchBytes {
		return true
	}
	for _, f := range events {
		size := 0
		if f.ev.stored == "" {
			size = packedSize(f.ev.event)
		}
		if s.full(f.ev.key, len(f.jobs), size) {
			return true
		}
	}
	return false
}
