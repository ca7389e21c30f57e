package sqliteengine

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine/internal/sqlite"
)

// LanePage implements engine.Inspector.
func (e *Engine) LanePage(ctx context.Context, q engine.LaneQuery) ([]engine.LaneSummary, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if q.Max == 0 {
		q.Max = 100
	}
	err := e.do(ctx, "lanes", &op{anyway: true, run: (*writer).settleCounts, probe: (*writer).countsSettled})
	if err != nil && !sqlite.HasCode(err, sqlite.Full) { // when it is full, who looks wants to know of what
		return nil, err
	}
	var out []engine.LaneSummary
	err = e.read(ctx, "lanes", func(c *conn) error {
		var err error
		out, err = readLanePage(ctx, c, q, e.clock.now())
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func readLanePage(ctx context.Context, c *conn, q engine.LaneQuery, now int64) (out []engine.LaneSummary, err error) {
	after, last := q.After, engine.Handle
	if q.Kind != 0 {
		last = q.Kind
		if after.Kind < q.Kind {
			after = engine.Lane{Kind: q.Kind}
		}
	}
	// A lane whose next is never has no jobs; of the others some have none.
	s, ok, err := c.query(`SELECT l.kind, l.name, l.deferred, n.jobs,
			(SELECT due FROM jobs j WHERE j.lane = l.id ORDER BY due, seq LIMIT 1)
		FROM lanes l LEFT JOIN counts n ON n.lane = l.id
		WHERE (l.kind, l.name) > (?1, ?2) AND l.kind <= ?3 AND (l.next < ?4 OR l.deferred > ?5)
		ORDER BY l.kind, l.name`, int64(after.Kind), after.Name, int64(last), int64(never), now)
	for ; ok && err == nil; ok, err = s.step() {
		if err := ctx.Err(); err != nil || len(out) == q.Max {
			s.reset()
			return out, err
		}
		l := engine.LaneSummary{Lane: engine.Lane{Kind: s.kind(0), Name: s.text(1)}}
		if d := s.int(2); d > now {
			l.Deferred = time.Duration(d-now) * time.Microsecond
		}
		if first := s.int(4); first != 0 { // NULL is 0, too
			// Another process may owe what makes the count right.
			l.Jobs = max(1, int(s.int(3)))
			l.Next = time.Duration(first-now) * time.Microsecond
		}
		if l.Jobs > 0 || l.Deferred > 0 {
			out = append(out, l)
		}
	}
	return out, err
}
