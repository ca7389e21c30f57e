package pgengine

import (
	"context"

	"github.com/jackc/pgx/v5"
)

// raiseFloors raises lanes.next to the lane's first job, so that claims meet ready
// lanes only, and begin to read where the living rows do: what lies below and is
// dead costs nothing then, even if somebody's open transaction keeps it from being
// vacuumed.
//
// That is exact, not a matter of waiting long enough. Who stores a job writes to
// jobs, and lowers next if that is too high for it. Here jobs is locked against
// writing for as long as one statement takes: whoever wrote before has committed
// and is seen, and whoever writes afterwards sees the new next, since a statement
// takes its locks before its snapshot. Where the lock can't be had at once, it is
// tried again later: nobody is made to wait for somebody slow.
func (e *Engine) raiseFloors(ctx context.Context) (some bool, err error) {
	now := e.now()
	if !e.house.lowFloors.Load() {
		return false, nil
	}
	err = e.inTx(ctx, func(tx pgx.Tx) error {
		if _, err := tx.Exec(ctx, e.sql("SET LOCAL lock_timeout = 50; LOCK TABLE toot.jobs IN SHARE MODE")); err != nil {
			return err
		}
		tag, err := tx.Exec(ctx, e.sql(`UPDATE toot.lanes l SET next = f.first, idle = CASE WHEN f.first = $2 THEN $1 ELSE l.idle END
			FROM (SELECT o.id, COALESCE((SELECT j.due FROM toot.jobs j WHERE j.lane = o.id AND j.due >= o.next ORDER BY j.due, j.seq LIMIT 1), $2) AS first
				FROM toot.lanes o WHERE o.next < $1::bigint - 1000000) f
			WHERE f.id = l.id AND f.first > l.next`), e.mode, now, never)
		some = err == nil && tag.RowsAffected() > 0
		return err
	})
	if conflict(err) {
		return false, nil // somebody vacuums the table
	}
	return some, err
}
