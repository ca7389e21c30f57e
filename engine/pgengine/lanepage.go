package pgengine

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/watermarkchurch/toot-go/engine"
)

// lanePageSQL reads the lanes behind the one of the kind $2 and the name $3, of the
// kind $4 unless that is 0, up to $5. Their jobs are not counted here, see
// counts.go, save that a lane with none has none.
const lanePageSQL = `WITH c AS MATERIALIZED (SELECT t.lane, sum(t.n) AS n FROM toot.counts c, unnest(c.lanes, c.jobs) AS t(lane, n) GROUP BY t.lane)
	SELECT l.kind, l.name, GREATEST(l.deferred - $1, 0), CASE WHEN f.due IS NOT NULL THEN GREATEST(1, l.jobs + COALESCE(c.n, 0))::bigint ELSE 0 END, COALESCE(f.due - $1, 0)
	FROM toot.lanes l LEFT JOIN LATERAL (SELECT due FROM toot.jobs j WHERE j.lane = l.id AND j.due >= l.next ORDER BY j.due, j.seq LIMIT 1) f ON true
		LEFT JOIN c ON c.lane = l.id
	WHERE (l.kind, l.name) > ($2, $3) AND ($4 = 0 OR l.kind = $4) AND (f.due IS NOT NULL OR l.deferred > $1)
	ORDER BY l.kind, l.name LIMIT $5`

// LanePage implements engine.Inspector.
func (e *Engine) LanePage(ctx context.Context, q engine.LaneQuery) (out []engine.LaneSummary, err error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if q.Max == 0 {
		q.Max = 100
	}
	err = e.try(ctx, "lanes", whole, func(ctx context.Context) error {
		out = nil
		now, _, err := e.storeTime(ctx, e.pool)
		if err != nil {
			return err
		}
		rows, err := e.pool.Query(ctx, e.sql(lanePageSQL), e.mode, now, int16(q.After.Kind), []byte(q.After.Name), int16(q.Kind), q.Max)
		if err != nil {
			return err
		}
		var kind int16
		var name []byte
		var deferred, n, next int64
		_, err = pgx.ForEachRow(rows, []any{&kind, &name, &deferred, &n, &next}, func() error {
			out = append(out, engine.LaneSummary{
				Lane: engine.Lane{Kind: engine.Kind(kind), Name: string(name)}, Jobs: int(n), //nolint:gosec // written as one
				Deferred: time.Duration(deferred) * time.Microsecond, Next: time.Duration(next) * time.Microsecond,
			})
			return nil
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
