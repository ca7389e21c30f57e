package storecopy

import (
	"context"
	"slices"

	"github.com/watermarkchurch/toot-go/engine"
)

// moveDead moves the dead letters, the first buried first, so that they keep their
// order and that the newest stay if the second store keeps fewer.
func (m *mover) moveDead(ctx context.Context) error {
	places, err := m.deadPlaces(ctx)
	if err != nil {
		return err
	}
	for _, after := range slices.Backward(places) {
		for {
			dead, err := m.from.Dead(ctx, engine.DeadQuery{After: after, Max: m.size})
			if err != nil {
				return err
			}
			if len(dead) == 0 {
				break
			}
			slices.Reverse(dead)
			removed, err := m.bury(ctx, dead)
			if err != nil {
				return err
			}
			if removed == 0 { // others are quicker
				break
			}
		}
	}
	return nil
}

// deadPlaces are places in the listing of dead letters, each the letter before:
// what is behind the last one is a page, what is behind the one before is another.
func (m *mover) deadPlaces(ctx context.Context) ([]string, error) {
	places := []string{""}
	for {
		dead, err := m.from.Dead(ctx, engine.DeadQuery{After: places[len(places)-1], Max: m.size})
		if err != nil {
			return nil, err
		}
		if len(dead) == 0 {
			return places, nil
		}
		places = append(places, dead[len(dead)-1].ID)
	}
}

// bury stores dead letters in the second store and removes them from the first.
func (m *mover) bury(ctx context.Context, dead []engine.Dead) (removed int, err error) {
	ctx, cancel := m.toTheEnd(ctx)
	defer cancel()
	if err := m.noteMoved(ctx); err != nil {
		return 0, err
	}
	jobs := make([]engine.Job, len(dead))
	ids := map[engine.Kind][]string{}
	var events events
	for i := range dead {
		d := &dead[i]
		jobs[i] = engine.Job{
			Event: events.shared(d.Event), Lane: d.Lane, Age: d.Age,
			Past: &engine.Outcome{Result: engine.Bury, Attempt: d.Attempt, History: d.History, Reason: d.Reason},
		}
		ids[d.Lane.Kind] = append(ids[d.Lane.Kind], d.ID)
	}
	if err := m.push(ctx, jobs); err != nil {
		return 0, err
	}
	for kind, some := range ids {
		n, err := m.from.Discard(ctx, some)
		if err != nil {
			return removed, err
		}
		removed += n
		m.counts.Dead.add(kind, n)
	}
	m.adapt(jobs)
	m.progress()
	return removed, nil
}
