package enginetest

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// graves are the dead letters that are kept, the newest first.
func (m *memEngine) graves() []*memJob {
	all := slices.SortedFunc(maps.Values(m.s.dead), func(a, b *memJob) int { return b.deadSeq - a.deadSeq })
	if m.s.bug == oldestDeadFirst {
		slices.Reverse(all)
	}
	for i, j := range all {
		if i >= m.r.DeadMax && m.s.bug != deadNeverTrimmed || time.Since(j.buriedAt) > m.r.DeadAge && m.s.bug != deadNeverAges {
			delete(m.s.dead, j.deadID)
		}
	}
	return slices.DeleteFunc(all, func(j *memJob) bool { return m.s.dead[j.deadID] == nil })
}

func (m *memEngine) Dead(ctx context.Context, q engine.DeadQuery) ([]engine.Dead, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if q.Max <= 0 {
		q.Max = 100
		if m.s.bug == deadUnlimited {
			q.Max = 10_000
		}
	}
	var found []engine.Dead
	skip := q.After != "" && m.s.bug != pagingIgnored
	for _, j := range m.graves() {
		if skip {
			skip = j.deadID != q.After
			continue
		}
		reason := strings.Contains(strings.ToLower(j.reason), strings.ToLower(q.Reason))
		if m.s.bug == reasonCaseSensitive {
			reason = strings.Contains(j.reason, q.Reason)
		}
		match := []bool{
			q.Kind == 0 || q.Kind == j.lane.Kind,
			q.Lane == "" || q.Lane == j.lane.Name,
			q.Channel == "" || q.Channel == j.event.Channel,
			reason,
			q.Since.IsZero() || !j.buriedAt.Before(q.Since),
			q.Until.IsZero() || !j.buriedAt.After(q.Until),
			q.IDs == nil || slices.Contains(q.IDs, j.deadID),
		}
		if m.s.bug == deadFiltersAnyOf && slices.Contains(match[:3], true) && (q.Kind != 0 || q.Lane != "") {
			match = []bool{q.Kind == j.lane.Kind || q.Lane == j.lane.Name}
		}
		if slices.Contains(match, false) || len(found) == q.Max {
			continue
		}
		found = append(found, engine.Dead{
			ID: j.deadID, Event: j.event, Lane: j.lane, Attempt: j.attempt, History: j.history,
			Reason: j.reason, At: j.buriedAt, Age: time.Since(j.pushed),
		})
	}
	return found, nil
}

func (m *memEngine) Redrive(ctx context.Context, ids []string) (int, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	n := 0
	for _, id := range ids {
		j := m.s.dead[id]
		if j == nil {
			continue
		}
		n++
		if m.s.bug != redriveDoubles {
			delete(m.s.dead, id)
		}
		j.due, j.reason = time.Now(), ""
		if m.s.bug != redriveKeepsAttempt {
			j.attempt = 0
		}
		if m.s.bug == redriveLosesHistory {
			j.history = nil
		}
		if m.s.jobs[j.key] == nil {
			m.s.jobs[j.key] = j
		}
		m.hint(j.lane.Kind)
	}
	return n, nil
}

func (m *memEngine) Discard(ctx context.Context, ids []string) (int, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	n := 0
	for _, id := range ids {
		j := m.s.dead[id]
		if j == nil {
			continue
		}
		n++
		if m.s.bug == discardsNothing {
			continue
		}
		delete(m.s.dead, id)
		if m.s.bug == discardForgets {
			delete(m.s.seen, j.key)
		}
	}
	return n, nil
}

func (m *memEngine) Lanes(ctx context.Context) ([]engine.LaneStats, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	now := time.Now()
	by := map[engine.Lane]*engine.LaneStats{}
	at := func(l engine.Lane) *engine.LaneStats {
		if by[l] == nil {
			by[l] = &engine.LaneStats{Lane: l}
		}
		return by[l]
	}
	for _, j := range m.s.jobs {
		l := at(j.lane)
		l.Oldest = max(l.Oldest, now.Sub(j.pushed))
		if m.s.bug == oldestIsFirstDue {
			l.Oldest = max(0, now.Sub(j.due))
		}
		if j.ticket != "" && m.s.bug != leasedCountAsWaiting {
			l.Leased++
			continue
		}
		l.Waiting++
		if j.attempt > 0 {
			l.Retrying++
		}
	}
	for _, j := range m.graves() {
		if m.s.bug != deadLanesHidden || by[j.lane] != nil {
			at(j.lane).Dead++
		}
	}
	for lane, until := range m.deferred {
		if until.After(now) && (m.s.bug != deferredLanesHidden || by[lane] != nil) {
			at(lane).Deferred = until.Sub(now)
		}
	}
	if m.s.bug == lanesNeverEmpty {
		at(deliver("one"))
	}
	if m.s.bug == lanesStay {
		for k := range m.s.seen {
			at(k.lane)
		}
	}
	var all []engine.LaneStats
	for _, l := range by {
		all = append(all, *l)
	}
	slices.SortFunc(all, func(a, b engine.LaneStats) int {
		if m.s.bug == lanesUnordered {
			return cmp.Compare(a.Lane.Name, b.Lane.Name)
		}
		return cmp.Or(cmp.Compare(a.Lane.Kind, b.Lane.Kind), cmp.Compare(a.Lane.Name, b.Lane.Name))
	})
	return all, nil
}

func (m *memEngine) LanePage(context.Context, engine.LaneQuery) ([]engine.LaneSummary, error) {
	return nil, nil
}
