package pgengine

import (
	"context"
	"strings"
)

// How many jobs a lane has is not counted when somebody asks. To write it into the
// lane's row with every call would have all calls wait for each other there. So each
// statement that stores or deletes jobs appends one row to counts, which says by how
// many a lane has more or fewer, and the keeper adds them up in lanes.jobs every
// second. Both are a part of what they tell of: a count is always right.

// noteCounts is what a statement does that stores jobs ("+") or deletes some ("-"),
// whose lanes the part of that name returns.
func noteCounts(part, sign string) string {
	return strings.NewReplacer("$PART", part, "$SIGN", sign).Replace(`INSERT INTO toot.counts (lanes, jobs)
		SELECT array_agg(x.lane), array_agg(x.n) FROM (SELECT lane, $SIGN count(*) AS n FROM $PART GROUP BY lane) x HAVING count(*) > 0`)
}

// sumCounts adds up what is in counts. It locks lanes in order, as all do.
func (e *Engine) sumCounts(ctx context.Context) (some bool, err error) {
	if !e.house.uncounted.Load() {
		return false, nil
	}
	tag, err := e.pool.Exec(ctx, e.sql(`WITH d AS (DELETE FROM toot.counts RETURNING lanes, jobs),
		s AS MATERIALIZED (SELECT t.lane, sum(t.n)::bigint AS n FROM d, unnest(d.lanes, d.jobs) AS t(lane, n) GROUP BY t.lane HAVING sum(t.n) <> 0),
		o AS MATERIALIZED (SELECT l.id, s.n FROM toot.lanes l JOIN s ON s.lane = l.id ORDER BY l.id FOR NO KEY UPDATE OF l)
		UPDATE toot.lanes l SET jobs = l.jobs + o.n FROM o WHERE l.id = o.id`), e.mode)
	return tag.RowsAffected() > 0, err
}
