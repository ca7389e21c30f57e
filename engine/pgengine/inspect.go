package pgengine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/watermarkchurch/toot-go/engine"
)

// Lanes implements engine.Inspector.
func (e *Engine) Lanes(ctx context.Context) (out []engine.LaneStats, err error) {
	err = e.try(ctx, "lanes", whole, func(ctx context.Context) error {
		now, _, err := e.storeTime(ctx, e.pool)
		if err != nil {
			return err
		}
		rows, err := e.pool.Query(ctx, e.sql(`SELECT l.kind, l.name, GREATEST(l.deferred - $1, 0), COALESCE(j.n, 0), COALESCE(j.leased, 0), COALESCE(j.retrying, 0), COALESCE(j.oldest, $1), COALESCE(j.later, 0), COALESCE(j.first, $1), 0
			FROM toot.lanes l LEFT JOIN (SELECT lane, count(*) AS n, count(*) FILTER (WHERE token <> 0 AND due > $1) AS leased,
					count(*) FILTER (WHERE NOT (token <> 0 AND due > $1) AND attempt > 0) AS retrying, min(pushed) AS oldest,
					count(*) FILTER (WHERE token = 0 AND due > $1) AS later, min(LEAST(due, $1)) AS first FROM toot.jobs GROUP BY lane) j ON j.lane = l.id
			WHERE j.n > 0 OR l.deferred > $1
			UNION ALL SELECT kind, lane, 0, 0, 0, 0, $1, 0, $1, count(*) FROM toot.dead GROUP BY kind, lane`), e.mode, now)
		if err != nil {
			return err
		}
		all := map[engine.Lane]*engine.LaneStats{}
		var kind int16
		var name []byte
		var deferred, n, leased, retrying, oldest, later, first, dead int64
		_, err = pgx.ForEachRow(rows, []any{&kind, &name, &deferred, &n, &leased, &retrying, &oldest, &later, &first, &dead}, func() error {
			l := engine.Lane{Kind: engine.Kind(kind), Name: string(name)} //nolint:gosec // written as one
			s := all[l]
			if s == nil {
				s = &engine.LaneStats{Lane: l}
				all[l] = s
			}
			if dead > 0 {
				s.Dead = int(dead)
				return nil
			}
			s.Deferred = time.Duration(deferred) * time.Microsecond
			s.Leased, s.Waiting, s.Retrying = int(leased), int(n-leased), int(retrying)
			s.Oldest, s.Later, s.Overdue = since(oldest, now), int(later), since(first, now)
			return nil
		})
		out = make([]engine.LaneStats, 0, len(all))
		for _, s := range all {
			out = append(out, *s)
		}
		slices.SortFunc(out, func(a, b engine.LaneStats) int {
			return cmp.Or(cmp.Compare(a.Lane.Kind, b.Lane.Kind), cmp.Compare(a.Lane.Name, b.Lane.Name))
		})
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
