package memengine

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// inLaneOrder is by kind and name.
func inLaneOrder(a, b engine.Lane) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

// rests returns for how much longer nobody claims from lanes that are deferred.
func (s *Store) rests(now time.Time) map[engine.Lane]time.Duration {
	maps.DeleteFunc(s.deferred, func(_ engine.Lane, until time.Time) bool { return !until.After(now) })
	rests := map[engine.Lane]time.Duration{}
	for lane, until := range s.deferred {
		rests[lane] = until.Sub(now)
	}
	return rests
}

// Lanes implements engine.Inspector.
func (e *Engine) Lanes(ctx context.Context) ([]engine.LaneStats, error) {
	end, err := e.begin(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer end()
	now := time.Now()
	stats := map[engine.Lane]*engine.LaneStats{}
	at := func(l engine.Lane) *engine.LaneStats {
		if stats[l] == nil {
			stats[l] = &engine.LaneStats{Lane: l}
		}
		return stats[l]
	}
	for lane, jobs := range e.s.lanes {
		for _, j := range jobs {
			count(at(lane), j, now)
		}
	}
	for _, j := range e.graves() {
		at(j.id.lane).Dead++
	}
	for lane, rest := range e.s.rests(now) {
		at(lane).Deferred = rest
	}
	var all []engine.LaneStats
	for _, lane := range slices.SortedFunc(maps.Keys(stats), inLaneOrder) {
		all = append(all, *stats[lane])
	}
	return all, nil
}

// count adds a job that is not dead to the state of its lane.
func count(l *engine.LaneStats, j *job, now time.Time) {
	l.Oldest = max(l.Oldest, now.Sub(j.pushed))
	if j.ticket != "" {
		l.Leased++
		return
	}
	l.Waiting++
	if j.due.After(now) {
		l.Later++
	} else {
		l.Overdue = max(l.Overdue, now.Sub(j.claimable()))
	}
	if j.attempt > 0 {
		l.Retrying++
	}
}

// LanePage implements engine.Inspector.
func (e *Engine) LanePage(ctx context.Context, q engine.LaneQuery) ([]engine.LaneSummary, error) {
	end, err := e.begin(ctx, q.Validate())
	if err != nil {
		return nil, err
	}
	defer end()
	if q.Max == 0 {
		q.Max = 100
	}
	now := time.Now()
	rests := e.s.rests(now)
	lanes := slices.AppendSeq(slices.Collect(maps.Keys(e.s.lanes)), maps.Keys(rests))
	slices.SortFunc(lanes, inLaneOrder)
	var page []engine.LaneSummary
	for _, lane := range slices.Compact(lanes) {
		if len(page) == q.Max {
			break
		}
		if q.Kind != 0 && lane.Kind != q.Kind || inLaneOrder(lane, q.After) <= 0 {
			continue
		}
		l := engine.LaneSummary{Lane: lane, Jobs: len(e.s.lanes[lane]), Deferred: rests[lane]}
		if l.Jobs > 0 {
			l.Next = inOrder(e.s.lanes[lane])[0].claimable().Sub(now)
		}
		page = append(page, l)
	}
	return page, nil
}
