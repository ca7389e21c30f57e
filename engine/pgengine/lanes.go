package pgengine

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/watermarkchurch/toot-go/engine"
)

// laneCache remembers the IDs of lanes, which are good for one generation of seen:
// lanes are deleted when another begins, and what is written under an old one is
// refused.
type laneCache struct {
	mu      sync.Mutex
	current *laneIDs
}

// laneIDs are lanes as of a generation.
type laneIDs struct {
	gen int64

	mu   sync.Mutex
	byID map[engine.Lane]int64
}

// maxLanes is how many lanes are remembered.
const maxLanes = 64 << 10

// laneIDs returns what is remembered, reading the generation if nothing is.
func (e *Engine) laneIDs(ctx context.Context) (*laneIDs, error) {
	e.lanes.mu.Lock()
	defer e.lanes.mu.Unlock()
	if e.lanes.current != nil {
		return e.lanes.current, nil
	}
	l := &laneIDs{byID: map[engine.Lane]int64{}}
	if err := e.pool.QueryRow(ctx, e.sql("SELECT gen FROM toot.state"), e.mode).Scan(&l.gen); err != nil {
		return nil, err
	}
	e.lanes.current = l
	return l, nil
}

// forgetLanes forgets what is remembered, if it is still this.
func (e *Engine) forgetLanes(l *laneIDs) {
	e.lanes.mu.Lock()
	defer e.lanes.mu.Unlock()
	if e.lanes.current == l {
		e.lanes.current = nil
	}
}

// find fills in the IDs of lanes, each of which it makes if there is none.
func (l *laneIDs) find(ctx context.Context, e *Engine, wanted []engine.Lane, ids []int64) error {
	var missing map[engine.Lane]bool
	l.mu.Lock()
	for i, lane := range wanted {
		id, ok := l.byID[lane]
		if ids[i] = id; !ok {
			if missing == nil {
				missing = map[engine.Lane]bool{}
			}
			missing[lane] = true
		}
	}
	l.mu.Unlock()
	if missing == nil {
		return nil
	}
	found, err := e.makeLanes(ctx, missing)
	if err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.byID) > maxLanes {
		clear(l.byID)
	}
	for lane, id := range found {
		l.byID[lane] = id
	}
	for i, lane := range wanted {
		if id, ok := found[lane]; ok {
			ids[i] = id
		}
	}
	return nil
}

// makeLanes finds lanes, or makes them. Who makes one while others do so may see
// neither its own nor theirs, and asks again.
func (e *Engine) makeLanes(ctx context.Context, wanted map[engine.Lane]bool) (map[engine.Lane]int64, error) {
	found := make(map[engine.Lane]int64, len(wanted))
	for len(found) < len(wanted) {
		var kinds []int16
		var names [][]byte
		for lane := range wanted {
			if _, ok := found[lane]; !ok {
				kinds = append(kinds, int16(lane.Kind))
				names = append(names, []byte(lane.Name))
			}
		}
		rows, err := e.pool.Query(ctx, e.sql(`WITH t AS (SELECT * FROM unnest($1::smallint[], $2::bytea[]) AS t(kind, name) ORDER BY kind, name),
			made AS (INSERT INTO toot.lanes AS l (kind, name, next, deferred, idle)
				SELECT kind, name, $3, 0, $4 FROM t WHERE NOT EXISTS (SELECT 1 FROM toot.lanes o WHERE (o.kind, o.name) = (t.kind, t.name))
				ON CONFLICT DO NOTHING RETURNING id, kind, name)
			SELECT id, kind, name FROM made UNION ALL SELECT l.id, l.kind, l.name FROM t JOIN toot.lanes l USING (kind, name)`),
			e.mode, kinds, names, never, e.now())
		if err != nil {
			return nil, err
		}
		var id int64
		var kind int16
		var name []byte
		_, err = pgx.ForEachRow(rows, []any{&id, &kind, &name}, func() error {
			found[engine.Lane{Kind: engine.Kind(kind), Name: string(name)}] = id //nolint:gosec // written as one
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return found, nil
}
