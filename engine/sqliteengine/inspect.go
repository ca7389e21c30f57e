package sqliteengine

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// reader is the connection for calls that only look and may take long.
type reader struct {
	c      *conn
	free   chan struct{} // holds a value while the connection is in use
	closed bool          // guarded by free
}

// read runs f in a transaction that sees one state of the file.
func (e *Engine) read(ctx context.Context, name string, f func(c *conn) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	r := &e.reads
	select {
	case r.free <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	defer func() { <-r.free }()
	if r.closed {
		return engine.ErrClosed
	}
	if _, err := r.c.run("BEGIN"); err != nil {
		return e.explain(name, err)
	}
	defer func() { _, _ = r.c.run("ROLLBACK") }() // nothing was written
	return e.explain(name, f(r.c))
}

// close closes the connection, see Engine.release.
func (r *reader) close(leaveLog bool) error {
	if r.c == nil {
		return nil
	}
	r.free <- struct{}{}
	defer func() { <-r.free }()
	r.closed = true
	return closeConn(r.c, leaveLog)
}

// Lanes implements engine.Inspector.
func (e *Engine) Lanes(ctx context.Context) ([]engine.LaneStats, error) {
	var out []engine.LaneStats
	err := e.read(ctx, "lanes", func(c *conn) error {
		var err error
		out, err = readLanes(ctx, c, e.clock.now())
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func readLanes(ctx context.Context, c *conn, now int64) ([]engine.LaneStats, error) {
	stats := map[engine.Lane]*engine.LaneStats{}
	get := func(l engine.Lane) *engine.LaneStats {
		if stats[l] == nil {
			stats[l] = &engine.LaneStats{Lane: l}
		}
		return stats[l]
	}
	q, ok, err := c.query("SELECT id, kind, name, deferred FROM lanes")
	for ; ok && err == nil; ok, err = q.step() {
		if err := ctx.Err(); err != nil {
			q.reset()
			return nil, err
		}
		l := engine.Lane{Kind: q.kind(1), Name: q.text(2)}
		if d := q.int(3); d > now {
			get(l).Deferred = time.Duration(d-now) * time.Microsecond
		}
		if err := countJobs(c, q.int(0), now, func() *engine.LaneStats { return get(l) }); err != nil {
			q.reset()
			return nil, err
		}
	}
	if err != nil {
		return nil, err
	}
	q, ok, err = c.query("SELECT kind, lane, count(*) FROM dead GROUP BY kind, lane")
	for ; ok && err == nil; ok, err = q.step() {
		get(engine.Lane{Kind: q.kind(0), Name: q.text(1)}).Dead = int(q.int(2))
	}
	if err != nil {
		return nil, err
	}
	out := make([]engine.LaneStats, 0, len(stats))
	for _, s := range stats {
		out = append(out, *s)
	}
	slices.SortFunc(out, func(a, b engine.LaneStats) int {
		return cmp.Or(cmp.Compare(a.Lane.Kind, b.Lane.Kind), cmp.Compare(a.Lane.Name, b.Lane.Name))
	})
	return out, nil
}

func countJobs(c *conn, lane, now int64, stats func() *engine.LaneStats) error {
	q, ok, err := c.query(`SELECT count(*), total(leased), total(NOT leased AND attempt > 0), min(pushed),
		total(NOT leased AND due > ?2), min(iif(due > ?2, ?2, due)) FROM
		(SELECT token <> 0 AND due > ?2 AS leased, attempt, pushed, due FROM jobs WHERE lane = ?1)`, lane, now)
	if err != nil || !ok {
		return err
	}
	defer q.reset()
	if n := int(q.int(0)); n > 0 {
		s := stats()
		s.Leased = int(q.int(1))
		s.Waiting = n - s.Leased
		s.Retrying = int(q.int(2))
		s.Oldest = since(q.int(3), now)
		s.Later = int(q.int(4))
		s.Overdue = since(q.int(5), now)
	}
	return nil
}
