package pgengine

import (
	"bytes"
	"context"
	"errors"
	"slices"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/watermarkchurch/toot-go/engine"
)

// Push implements engine.Engine.
func (e *Engine) Push(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
	if err := req.Validate(); err != nil {
		return engine.PushResult{}, err
	}
	p := &push{req: &req}
	err := e.try(ctx, "push", again, func(ctx context.Context) error { return p.try(ctx, e) })
	if err != nil {
		return engine.PushResult{}, err
	}
	e.hint(p.jobs.kinds())
	return engine.PushResult{Tickets: p.tickets(), Audiences: p.audiences}, nil
}

// push is a Push in the making.
type push struct {
	req       *engine.PushRequest
	jobs      newJobs
	careful   bool
	numbers   int64 // of pasts, see settlement
	tries     int
	audiences []engine.Audience
}

// try stores the jobs, in one statement if all of them are new, as they nearly
// always are, and tells the audiences.
func (p *push) try(ctx context.Context, e *Engine) error {
	p.tries++
	if len(p.req.Jobs) == 0 {
		return p.hearAudiences(ctx, e, moment{})
	}
	if err := p.prepare(ctx, e); err != nil {
		return errBefore{err}
	}
	if err := p.jobs.place(ctx, e); err != nil {
		return errBefore{err}
	}
	p.jobs.makeKeys()
	if p.careful || p.tries > 1 {
		return p.storeCarefully(ctx, e)
	}
	at, err := p.store(ctx, e)
	var refused *pgconn.PgError
	if errors.As(err, &refused) && refused.Code == "23505" || errors.Is(err, errKnown) {
		p.careful = true
		return p.storeCarefully(ctx, e)
	}
	if err != nil {
		return err
	}
	return p.hearAudiences(ctx, e, at)
}

// prepare takes up the jobs, once, and gives them their numbers.
func (p *push) prepare(ctx context.Context, e *Engine) (err error) {
	if p.jobs.jobs != nil {
		return nil
	}
	var n newJobs
	n.jobs = make([]newJob, 0, len(p.req.Jobs))
	for i := range p.req.Jobs {
		j := &p.req.Jobs[i]
		p.careful = p.careful || j.Past != nil
		n.add(j, n.addEvent(e, j.Event))
	}
	if err := n.prepare(ctx, e); err != nil {
		return err
	}
	if err := n.share(ctx, e); err != nil {
		return err
	}
	if p.careful {
		if p.numbers, err = e.take(ctx, len(p.req.Jobs)+1); err != nil {
			return err
		}
	}
	p.jobs = n
	return nil
}

// errKnown says that there are jobs among those pushed that were there before.
var errKnown = errors.New("some of the jobs are known")

// The statement that stores jobs that are all new, under the generation $1. It
// fails if one is known by the generation that is written, and does nothing if one
// is known by the other, or if the generation is over.
var pushStatements = func() (s [2][2]string) {
	for gen := range s {
		written, other := table(int64(gen)), table(int64(gen+1))
		for shared := range s[gen] {
			events, number, column, array := "", "0", "", ""
			if shared == 1 {
				events = `, v AS (INSERT INTO toot.events (seq, id, channel, replay, meta, body) SELECT t.*
					FROM g, unnest($15::bigint[], $16::bytea[], $17::bytea[], $18::bytea[], $19::bytea[], $20::bytea[]) t WHERE g.ok)`
				number, column, array = "t.event", ", event", ", $21::bigint[]"
			}
			s[gen][shared] = `WITH g AS MATERIALIZED (SELECT s.gen = $1 AND abs(s.now - $2) < 10000000 AND NOT EXISTS (SELECT 1 FROM unnest($7::bytea[]) k JOIN ` + other + ` o ON o.key = k) AS ok, s.*
					FROM (SELECT gen, subscribers, NOW AS now FROM toot.state WHERE id = 1 OFFSET 0) s),
				s AS (INSERT INTO ` + written + ` SELECT k FROM g, unnest($7::bytea[]) k WHERE g.ok)` + events + `,
				low AS (` + lowerFloors("$13", "$14", "g.now", "g,") + `),
				j AS (INSERT INTO toot.jobs (lane, due, seq, token, claims, attempt, pushed, event, id, channel, replay, meta, body)
					SELECT t.lane, g.now + t.wait, t.seq, t.token, (t.token <> 0)::int, 0, g.now, ` + number + `, t.id, t.channel, t.replay, t.meta, t.body
					FROM g, unnest($3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $8::bytea[], $9::bytea[], $10::bytea[], $11::bytea[], $12::bytea[]` + array + `)
						AS t(lane, wait, seq, token, id, channel, replay, meta, body` + column + `) WHERE g.ok
					RETURNING ctid, lane),
				n AS (` + noteCounts("j", "+") + `)
				SELECT g.ok, g.gen, g.subscribers, g.now, (SELECT array_agg(ctid) FROM j) FROM g`
		}
	}
	return s
}()

// store stores jobs that are all new, and returns the moment at which they are.
func (p *push) store(ctx context.Context, e *Engine) (stored moment, err error) {
	var c columns
	shared := 0
	for i := range p.jobs.jobs {
		j := &p.jobs.jobs[i]
		c.add(j)
		if j.event.seq != 0 {
			shared = 1
		}
	}
	// In order, so that two calls with the same jobs never wait for each other.
	slices.SortFunc(c.keys, bytes.Compare)
	gen := p.jobs.lanes.gen
	args := []any{e.mode, gen, e.now(), c.lanes, c.waits, c.seqs, c.tokens, c.keys, c.ids, c.channels, c.replays, c.metas, c.bodies, c.low, c.earliest}
	if shared == 1 {
		for _, ev := range p.jobs.events {
			if ev.seq != 0 {
				c.addOwn(ev.seq, ev.event)
			}
		}
		o := &c.own
		args = append(args, o.seqs, o.ids, o.channels, o.replays, o.metas, o.bodies, c.events)
	}
	var ok bool
	var genNow int64
	var at []pgtype.TID
	err = e.pool.QueryRow(ctx, e.sql(pushStatements[gen&1][shared]), args...).Scan(&ok, &genNow, &stored.changes, &stored.now, &at)
	if err != nil {
		return stored, err
	}
	switch err := e.checkTime(stored.now); {
	case ok && len(at) == len(p.jobs.jobs):
	case err != nil:
		return stored, err
	case genNow != gen:
		e.forgetLanes(p.jobs.lanes)
		return stored, errMoved
	default:
		return stored, errKnown
	}
	for i := range p.jobs.jobs {
		j := &p.jobs.jobs[i]
		j.fresh, j.at, j.due = true, at[i], stored.now+j.wait
	}
	return stored, nil
}

// storeCarefully stores those of the jobs that are new.
func (p *push) storeCarefully(ctx context.Context, e *Engine) error {
	err := e.inTx(ctx, func(tx pgx.Tx) error {
		now, err := p.jobs.findFresh(ctx, e, tx, nil)
		if err != nil {
			return err
		}
		if err := p.jobs.storeFresh(ctx, e, tx, now); err != nil {
			return err
		}
		return p.settlePasts(ctx, e, tx)
	})
	if err != nil {
		return err
	}
	if p.tries > 1 {
		if err := p.recognize(ctx, e); err != nil {
			return err
		}
	}
	return p.hearAudiences(ctx, e, moment{})
}

// findFresh records the jobs in seen and finds out which of them are new. wanted,
// unless nil, leaves some out. It returns the time at which they are stored.
func (n *newJobs) findFresh(ctx context.Context, e *Engine, tx querier, wanted func(i int) bool) (now int64, err error) {
	if _, err := tx.Exec(ctx, e.sql("LOCK TABLE toot.seen0, toot.seen1 IN ROW EXCLUSIVE MODE")); err != nil {
		return 0, err
	}
	now, gen, err := e.storeTime(ctx, tx)
	if err != nil {
		return 0, err
	}
	if gen != n.lanes.gen {
		e.forgetLanes(n.lanes)
		return 0, errMoved
	}
	var keys [][]byte
	for i := range n.jobs {
		n.jobs[i].fresh = false
		if wanted == nil || wanted(i) {
			keys = append(keys, n.jobs[i].key)
		}
	}
	rows, err := tx.Query(ctx, e.sql(`INSERT INTO `+table(gen)+` SELECT DISTINCT k FROM unnest($1::bytea[]) k
		WHERE NOT EXISTS (SELECT 1 FROM `+table(gen+1)+` o WHERE o.key = k) ORDER BY k ON CONFLICT DO NOTHING RETURNING key`), e.mode, keys)
	if err != nil {
		return 0, err
	}
	fresh := map[string]bool{}
	var key []byte
	if _, err := pgx.ForEachRow(rows, []any{&key}, func() error { fresh[string(key)] = true; return nil }); err != nil {
		return 0, err
	}
	for i := range n.jobs {
		j := &n.jobs[i]
		if (wanted == nil || wanted(i)) && fresh[string(j.key)] {
			j.fresh = true
			delete(fresh, string(j.key)) // the first of a call counts
		}
	}
	return now, nil
}

// storeFresh stores the jobs that are new and whose events came with the call.
func (n *newJobs) storeFresh(ctx context.Context, e *Engine, tx querier, now int64) error {
	var c columns
	var stored []*newJob
	own := map[int64]bool{}
	for i := range n.jobs {
		j := &n.jobs[i]
		if !j.fresh || j.event.event == nil && j.event.seq == 0 {
			continue // its event is copied from the row of another job
		}
		if ev := j.event; ev.seq != 0 && ev.event != nil && !own[ev.seq] {
			own[ev.seq] = true
			c.addOwn(ev.seq, ev.event)
		}
		c.add(j)
		stored = append(stored, j)
	}
	at, err := c.insert(ctx, e, tx, now)
	if err != nil {
		return err
	}
	for i, j := range stored {
		j.at, j.due = at[i], now+j.wait
	}
	return nil
}

// settlePasts brings the new jobs that have a past to its outcome. They were stored
// under a lease.
func (p *push) settlePasts(ctx context.Context, e *Engine, tx querier) error {
	var outcomes []engine.Outcome
	for i := range p.jobs.jobs {
		j := &p.jobs.jobs[i]
		if j.job.Past == nil || !j.fresh {
			continue
		}
		o := *j.job.Past
		t := j.ticket()
		o.Ticket, o.Follow = engine.Ticket(appendTicket(nil, &t)), nil
		if o.Result == engine.Release {
			o.Result = engine.Retry // of a job that was stored with no claim
		}
		outcomes = append(outcomes, o)
	}
	if len(outcomes) == 0 {
		return nil
	}
	s := newSettlement(e, outcomes)
	s.numbers = p.numbers
	return s.run(ctx, e, tx)
}

func (j *newJob) ticket() ticket {
	return ticket{lane: j.lane, due: j.due, seq: j.seq, token: j.token, was: j.due - micros(j.job.Lease), at: j.at, shared: j.event.seq != 0}
}

// tickets are those of the jobs that are this caller's now.
func (p *push) tickets() []engine.Ticket {
	t := newTickets(len(p.jobs.jobs))
	for i := range p.jobs.jobs {
		if j := &p.jobs.jobs[i]; j.fresh && j.token != 0 && j.job.Past == nil {
			k := j.ticket()
			t.add(&k)
		} else {
			t.none()
		}
	}
	return t.strings()
}
