package memengine

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
func (e *Engine) graves() []*job {
	all := slices.SortedFunc(maps.Values(e.s.dead), func(a, b *job) int { return b.buried - a.buried })
	for i, j := range all {
		if i >= e.r.DeadMax || time.Since(j.buriedAt) > e.r.DeadAge {
			delete(e.s.dead, j.deadID)
		}
	}
	return slices.DeleteFunc(all, func(j *job) bool { return e.s.dead[j.deadID] == nil })
}

// Dead implements engine.DeadLetters.
func (e *Engine) Dead(ctx context.Context, q engine.DeadQuery) ([]engine.Dead, error) {
	end, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if q.Max <= 0 {
		q.Max = 100
	}
	var found []engine.Dead
	skip := q.After != ""
	for _, j := range e.graves() {
		if skip {
			skip = j.deadID != q.After
			continue
		}
		if len(found) < q.Max && matches(q, j) {
			found = append(found, engine.Dead{
				ID: j.deadID, Event: j.event, Lane: j.id.lane, Attempt: j.attempt, History: j.history,
				Reason: j.reason, At: j.buriedAt, Age: time.Since(j.pushed),
			})
		}
	}
	return found, nil
}

func matches(q engine.DeadQuery, j *job) bool {
	return (q.Kind == 0 || q.Kind == j.id.lane.Kind) &&
		(q.Lane == "" || q.Lane == j.id.lane.Name) &&
		(q.Channel == "" || q.Channel == j.event.Channel) &&
		strings.Contains(strings.ToLower(j.reason), strings.ToLower(q.Reason)) &&
		(q.Since.IsZero() || !j.buriedAt.Before(q.Since)) &&
		(q.Until.IsZero() || !j.buriedAt.After(q.Until)) &&
		(q.IDs == nil || slices.Contains(q.IDs, j.deadID))
}

// Redrive implements engine.DeadLetters.
func (e *Engine) Redrive(ctx context.Context, ids []string) (int, error) {
	return e.dig(ctx, ids, func(j *job) {
		j.due, j.reason, j.attempt = time.Now(), "", 0
		if e.s.lanes[j.id.lane][j.id.event] == nil {
			e.s.keep(j)
		}
		e.s.hint(j.id.lane.Kind)
	})
}

// Discard implements engine.DeadLetters.
func (e *Engine) Discard(ctx context.Context, ids []string) (int, error) {
	return e.dig(ctx, ids, func(*job) {})
}

// dig takes dead letters out and does something with each.
func (e *Engine) dig(ctx context.Context, ids []string, do func(*job)) (n int, err error) {
	end, err := e.begin(ctx)
	if err != nil {
		return 0, err
	}
	defer end()
	for _, id := range ids {
		if j := e.s.dead[id]; j != nil {
			delete(e.s.dead, id)
			do(j)
			n++
		}
	}
	return n, nil
}

// Lanes implements engine.Inspector.
func (e *Engine) Lanes(ctx context.Context) ([]engine.LaneStats, error) {
	end, err := e.begin(ctx)
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
	for lane, jobs := range e.s.lanes {
		l := at(lane)
		for _, j := range jobs {
			l.Oldest = max(l.Oldest, now.Sub(j.pushed))
			switch {
			case j.ticket != "":
				l.Leased++
			default:
				l.Waiting++
				if j.attempt > 0 {
					l.Retrying++
				}
			}
		}
	}
	for _, j := range e.graves() {
		at(j.id.lane).Dead++
	}
	for lane, until := range e.s.deferred {
		if until.After(now) {
			at(lane).Deferred = until.Sub(now)
		}
	}
	var all []engine.LaneStats
	for _, l := range by {
		all = append(all, *l)
	}
	slices.SortFunc(all, func(a, b engine.LaneStats) int {
		return cmp.Or(cmp.Compare(a.Lane.Kind, b.Lane.Kind), cmp.Compare(a.Lane.Name, b.Lane.Name))
	})
	return all, nil
}
