package pgengine

import (
	"context"
	"slices"
	"time"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/watermarkchurch/toot-go/engine"
)

// claimSQL hands out jobs of the kind $1 that are due, no more than $3, and
// of a lane no more than $4, or than $6 says for the lanes in $5, from the lanes $7
// alone unless that is null, under a lease for $8 with the token $9. $2 is what the
// time is reckoned to be. What has become due later than $10 is left alone: a second
// round must not take what the first one has, when its lease is short.
//
// The lanes come first: $12 of those that may have due jobs are looked at, and the
// $11 with the oldest are locked, so that nobody waits for a claim that is under way,
// and served, each with an equal share. A claim that does not get enough looks at more.
const claimSQL = `WITH n AS MATERIALIZED (SELECT NOW AS t, LEAST(NOW, $10) AS till FROM toot.state WHERE id = 1),
	lim AS MATERIALIZED (SELECT * FROM unnest($5::bytea[], $6::int[]) AS x(name, n)),
	ready AS (
		SELECT l.id, l.next, COALESCE(lim.n, $4) AS n FROM n, toot.lanes l LEFT JOIN lim ON lim.name = l.name
		WHERE abs(n.t - $2) < 10000000 AND l.kind = $1 AND l.next <= n.t AND l.deferred <= n.t AND COALESCE(lim.n, $4) > 0 AND ($7::bytea[] IS NULL OR l.name = ANY($7))
		ORDER BY l.next LIMIT $12),
	old AS MATERIALIZED (
		SELECT r.id, r.n, f.due FROM n, ready r,
			LATERAL (SELECT j.due FROM toot.jobs j WHERE j.lane = r.id AND j.due >= r.next AND j.due <= n.till ORDER BY j.due, j.seq LIMIT 1) f
		ORDER BY f.due, r.id LIMIT $3),
	mine AS MATERIALIZED (
		SELECT l.id, l.name, l.next, old.n, old.due FROM toot.lanes l JOIN old ON old.id = l.id ORDER BY old.due, l.id LIMIT $11 FOR NO KEY UPDATE OF l SKIP LOCKED),
	share AS MATERIALIZED (SELECT CEIL($3::numeric / GREATEST(count(*), 1))::int AS n FROM mine),
	picked AS MATERIALIZED (
		SELECT j.ctid, j.due, m.id, m.name, m.due AS first FROM n, share, mine m,
			LATERAL (SELECT ctid, due FROM toot.jobs j WHERE j.lane = m.id AND j.due >= m.next AND j.due <= n.till ORDER BY j.due, j.seq LIMIT LEAST(m.n, share.n)) j
		LIMIT $3),
	taken AS (
		UPDATE toot.jobs j SET due = n.t + $8, token = $9, claims = j.claims + 1 FROM n, picked p WHERE j.ctid = p.ctid
		RETURNING j.ctid, j.lane, j.seq, j.claims, j.attempt, j.pushed, j.event, j.history, j.id, j.channel, j.replay, j.meta, j.body, p.due AS was, p.name, p.first)
	SELECT n.t, t.ctid, t.lane, t.seq, t.claims, t.attempt, t.pushed, t.event, t.history, COALESCE(v.id, t.id), COALESCE(v.channel, t.channel),
		COALESCE(v.replay, t.replay), COALESCE(v.meta, t.meta), COALESCE(v.body, t.body), t.was, t.name, t.first, (SELECT count(*) FROM mine) < LEAST($11, (SELECT count(*) FROM old)) OR (SELECT count(*) FROM ready) = $12
	FROM n LEFT JOIN taken t ON true LEFT JOIN toot.events v ON v.seq = t.event AND t.event <> 0`

// nextSQL tells after how long a lane of the kind $1 may have a job: lanes that seem
// to have one now are looked at.
const nextSQL = `SELECT w.now, min(CASE WHEN w.due IS NOT NULL THEN GREATEST(w.due, w.deferred) END) - w.now FROM (
		SELECT n.t AS now, l.deferred, CASE WHEN l.next > n.t THEN l.next
			ELSE (SELECT j.due FROM toot.jobs j WHERE j.lane = l.id AND j.due >= l.next ORDER BY j.due, j.seq LIMIT 1) END AS due
		FROM (SELECT NOW AS t FROM toot.state WHERE id = 1 OFFSET 0) n LEFT JOIN (toot.lanes l LEFT JOIN unnest($3::bytea[], $4::int[]) AS lim(name, n) ON lim.name = l.name)
			ON l.kind = $1 AND l.next < $6 AND COALESCE(lim.n, $2) > 0 AND ($5::bytea[] IS NULL OR l.name = ANY($5))) w
	GROUP BY w.now`

// narrow is from how many lanes the first round of a claim takes. To look at a lane
// and to lock it costs as much as several of its jobs, so that a few of each are
// taken from some lanes, and one of each from many only where they have no more.
const narrow = 64

// claim is a Claim in the making.
type claim struct {
	req    *engine.ClaimRequest
	only   [][]byte
	limits map[string]int
	lanes  map[string]*claimedLane
	total  int
	lease  int64
	till   int64 // when the first round was
	width  int   // from how many lanes a round takes
	looked int   // at how many it looks
	token  int64
}

// claimedLane is a lane that a claim takes from.
type claimedLane struct {
	id    int64
	first int64 // when its first job was due
	jobs  []claimedJob
	taken int // in this round
}

type claimedJob struct {
	job    engine.Claimed
	ticket ticket
}

// Claim implements engine.Engine.
func (e *Engine) Claim(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
	if err := req.Validate(); err != nil {
		return engine.ClaimResult{}, err
	}
	var res engine.ClaimResult
	err := e.try(ctx, "claim", again, func(ctx context.Context) error {
		if err := e.beginWork(ctx); err != nil {
			return errBefore{err}
		}
		if err := e.retain(ctx); err != nil {
			return errBefore{err}
		}
		c := &claim{req: &req, lanes: map[string]*claimedLane{}, limits: map[string]int{}}
		for name, n := range req.Limits {
			c.limits[name] = n
		}
		if req.Only != nil {
			c.only = make([][]byte, 0, len(req.Only))
			for _, name := range req.Only {
				c.only = append(c.only, []byte(name))
			}
		}
		next, err := c.run(ctx, e)
		if err != nil {
			return err
		}
		res = engine.ClaimResult{Jobs: c.jobs(), Next: next}
		return nil
	})
	if len(res.Jobs) > 0 {
		e.house.busy.Store(monotonic())
	}
	return res, err
}

// run claims, in several rounds if some lanes don't use their shares and others
// could, and tells when to claim again. What rounds before a failed one have claimed
// is due again when the lease ends.
func (c *claim) run(ctx context.Context, e *Engine) (next time.Duration, err error) {
	if c.only != nil && len(c.only) == 0 {
		return -1, nil
	}
	if c.token, err = e.take(ctx, 1); err != nil {
		return 0, errBefore{err}
	}
	c.till = never
	c.lease = max(1, micros(c.req.Lease))
	c.width, c.looked = narrow, 2*narrow
	const rounds = 8
	for i := 0; i < rounds; i++ {
		missed, err := c.round(ctx, e)
		if err != nil {
			return 0, err
		}
		if c.total == c.req.Max {
			return 0, nil
		}
		if more := c.hungry(); !missed && !more {
			break
		}
		c.widen()
	}
	return c.next(ctx, e)
}

// limitsNow are what the request says of single lanes, less what has been taken.
func (c *claim) limitsNow() (names [][]byte, limits []int32) {
	for name, n := range c.limits {
		names, limits = append(names, []byte(name)), append(limits, int32(min(n, 1<<30))) //nolint:gosec // bounded
	}
	return names, limits
}

// round is one statement. missed says that a lane was somebody else's just now, or
// that there may be more lanes than it has looked at.
func (c *claim) round(ctx context.Context, e *Engine) (missed bool, err error) {
	names, limits := c.limitsNow()
	rows, err := e.pool.Query(ctx, e.sql(claimSQL), e.mode, int16(c.req.Kind), e.now(), min(c.req.Max-c.total, 1<<30), min(c.req.MaxPerLane, 1<<30), names, limits, c.only, c.lease, c.token, c.till, c.width, c.looked)
	if err != nil {
		return false, err
	}
	defer rows.Close()
	for _, l := range c.lanes {
		l.taken = 0
	}
	var now int64
	for rows.Next() {
		j := claimedJob{job: engine.Claimed{Event: &engine.Event{}}}
		var at pgtype.TID
		var claims, attempt *int
		var lane, seq, pushed, event, was, first *int64
		var id, channel, replay, name []byte
		if err := rows.Scan(&now, &at, &lane, &seq, &claims, &attempt, &pushed, &event, &j.job.History,
			&id, &channel, &replay, &j.job.Event.Meta, &j.job.Event.Body, &was, &name, &first, &missed); err != nil {
			return false, err
		}
		if lane == nil {
			break // there are no jobs
		}
		l := c.lanes[string(name)]
		if l == nil {
			l = &claimedLane{id: *lane, first: *first}
			c.lanes[string(name)] = l
		}
		j.job.Claims, j.job.Attempt = *claims, *attempt
		j.job.Event.ID, j.job.Event.Channel, j.job.Event.Replay = string(id), string(channel), string(replay)
		j.job.Lane = engine.Lane{Kind: c.req.Kind, Name: string(name)}
		j.job.Age = since(*pushed, now)
		j.ticket = ticket{lane: *lane, due: now + c.lease, seq: *seq, token: c.token, was: *was, at: at, shared: *event != 0}
		l.jobs = append(l.jobs, j)
		l.taken++
		c.total++
	}
	rows.Close()
	if err := rows.Err(); err != nil {
		return false, err
	}
	c.till = min(c.till, now)
	return missed, e.checkTime(now)
}

// hungry tells whether a lane might have given more in the round that is over, and
// notes what is left of the lanes' limits.
func (c *claim) hungry() (more bool) {
	for name, l := range c.lanes {
		if l.taken == 0 {
			continue
		}
		limit, named := c.limits[name]
		if !named {
			limit = c.req.MaxPerLane
		}
		c.limits[name] = limit - l.taken
		more = more || limit > l.taken
	}
	return more && len(c.lanes) > 1
}

// widen has the next round take from as many lanes as seem to be needed, by what
// the lanes of this one had. Those that are empty now are still among those looked
// at.
func (c *claim) widen() {
	lanes, jobs := 0, 0
	for _, l := range c.lanes {
		if l.taken > 0 {
			lanes++
			jobs += l.taken
		}
	}
	if jobs == 0 {
		c.width *= 8
	} else {
		c.width = max(narrow, (c.req.Max-c.total)*lanes/jobs*5/4)
	}
	c.looked += 2 * c.width
}

// next asks when to claim again.
func (c *claim) next(ctx context.Context, e *Engine) (time.Duration, error) {
	var after *int64
	var names [][]byte
	var limits []int32
	for name, n := range c.req.Limits {
		names, limits = append(names, []byte(name)), append(limits, int32(min(n, 1<<30))) //nolint:gosec // bounded
	}
	var now int64
	err := e.pool.QueryRow(ctx, e.sql(nextSQL), e.mode, int16(c.req.Kind), min(c.req.MaxPerLane, 1<<30), names, limits, c.only, never).Scan(&now, &after)
	if err != nil || after == nil {
		return -1, err
	}
	return time.Duration(max(0, *after)) * time.Microsecond, nil
}

// jobs are what was claimed, the lanes in turn, those with the oldest job first.
func (c *claim) jobs() []engine.Claimed {
	lanes := make([]*claimedLane, 0, len(c.lanes))
	for _, l := range c.lanes {
		slices.SortFunc(l.jobs, func(a, b claimedJob) int {
			if a.ticket.was != b.ticket.was {
				return int(max(-1, min(1, a.ticket.was-b.ticket.was)))
			}
			return int(max(-1, min(1, a.ticket.seq-b.ticket.seq)))
		})
		lanes = append(lanes, l)
	}
	slices.SortFunc(lanes, func(a, b *claimedLane) int {
		if a.first != b.first {
			return int(max(-1, min(1, a.first-b.first)))
		}
		return int(max(-1, min(1, a.id-b.id)))
	})
	jobs := make([]engine.Claimed, 0, c.total)
	t := newTickets(c.total)
	for i := 0; len(jobs) < c.total; i++ {
		for _, l := range lanes {
			if i < len(l.jobs) {
				jobs = append(jobs, l.jobs[i].job)
				t.add(&l.jobs[i].ticket)
			}
		}
	}
	for i, s := range t.strings() {
		jobs[i].Ticket = s
	}
	return jobs
}
