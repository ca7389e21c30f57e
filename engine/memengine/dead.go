package memengine

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// graves are the dead letters that are kept, the newest first. The others are
// forgotten.
func (e *Engine) graves() []*job {
	now := time.Now()
	all := slices.SortedFunc(maps.Values(e.s.dead), func(a, b *job) int { return b.buried - a.buried })
	kept := all[:0]
	for i, j := range all {
		if i >= e.s.retention.DeadMax || now.Sub(j.buriedAt) > e.s.retention.DeadAge {
			delete(e.s.dead, j.deadID)
			continue
		}
		kept = append(kept, j)
	}
	return kept
}

// Dead implements engine.DeadLetters.
func (e *Engine) Dead(ctx context.Context, q engine.DeadQuery) ([]engine.Dead, error) {
	end, err := e.begin(ctx, q.Validate())
	if err != nil {
		return nil, err
	}
	defer end()
	if q.Max == 0 {
		q.Max = 100
	}
	now := time.Now()
	var found []engine.Dead
	skip := q.After != ""
	for _, j := range e.graves() {
		if skip {
			skip = j.deadID != q.After
			continue
		}
		if len(found) < q.Max && matches(q, j) {
			found = append(found, engine.Dead{
				ID: j.deadID, Event: j.event, Lane: j.id.lane, Attempt: j.attempt, History: slices.Clone(j.history),
				Reason: j.reason, At: j.buriedAt, Age: now.Sub(j.pushed),
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
		j.reason, j.attempt = "", 0
		if e.s.lanes[j.id.lane][j.id] == nil {
			e.s.keep(j, time.Now())
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
	end, err := e.begin(ctx, nil)
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
