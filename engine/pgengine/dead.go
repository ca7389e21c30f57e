package pgengine

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/watermarkchurch/toot-go/engine"
)

// Dead implements engine.DeadLetters.
func (e *Engine) Dead(ctx context.Context, q engine.DeadQuery) (out []engine.Dead, err error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if q.Max == 0 {
		q.Max = 100
	}
	before := int64(math.MaxInt64)
	if q.After != "" {
		seq, ok := deadSeq(q.After)
		if !ok {
			return nil, ctx.Err()
		}
		before = seq
	}
	err = e.try(ctx, "dead letters", whole, func(ctx context.Context) error {
		var err error
		out, err = e.readDead(ctx, q, before)
		return err
	})
	return out, err
}

// ahead is by how much the store's clock is ahead of wall time here, so that
// moments can be told in terms of the latter.
func (e *Engine) ahead() int64 { return e.now() - time.Now().UnixMicro() }

func (e *Engine) readDead(ctx context.Context, q engine.DeadQuery, before int64) (out []engine.Dead, err error) {
	kept, err := e.readRetention(ctx, e.pool)
	if err != nil {
		return nil, err
	}
	now, ahead := e.now(), e.ahead()
	from, until := now-kept.DeadAge.Microseconds(), int64(math.MaxInt64)
	if !q.Since.IsZero() {
		from = max(from, q.Since.UnixMicro()+ahead)
	}
	if !q.Until.IsZero() {
		until = q.Until.UnixMicro() + ahead
	}
	var seqs []int64
	if len(q.IDs) > 0 {
		seqs = deadSeqs(q.IDs)
	}
	// What the reason has in it is compared here, as people do.
	reason := strings.ToLower(q.Reason)
	rows, err := e.pool.Query(ctx, e.sql(`SELECT seq, reason, at, kind, lane, id, channel, replay, attempt, pushed, history, meta, body FROM toot.dead
		WHERE seq < $1 AND at >= $2 AND at <= $3 AND ($4::bigint[] IS NULL OR seq = ANY($4)) AND ($5 = 0 OR kind = $5)
			AND ($6::bytea = '' OR lane = $6) AND ($7::bytea = '' OR channel = $7)
		ORDER BY seq DESC`), e.mode, before, from, until, seqs, int16(q.Kind), []byte(q.Lane), []byte(q.Channel))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for len(out) < q.Max && rows.Next() {
		d := engine.Dead{Event: &engine.Event{}}
		var seq, at, pushed int64
		var kind int16
		var text, lane, id, channel, replay []byte
		if err := rows.Scan(&seq, &text, &at, &kind, &lane, &id, &channel, &replay, &d.Attempt, &pushed, &d.History, &d.Event.Meta, &d.Event.Body); err != nil {
			return nil, err
		}
		if d.Reason = string(text); !strings.Contains(strings.ToLower(d.Reason), reason) {
			continue
		}
		d.ID = strconv.FormatInt(seq, 10)
		d.At = time.UnixMicro(at - ahead)
		d.Lane = engine.Lane{Kind: engine.Kind(kind), Name: string(lane)} //nolint:gosec // written as one
		d.Event.ID, d.Event.Channel, d.Event.Replay = string(id), string(channel), string(replay)
		d.Age = since(pushed, now)
		out = append(out, d)
	}
	return out, rows.Err()
}

// deadSeq is the key of a dead letter's row.
func deadSeq(id string) (int64, bool) {
	seq, err := strconv.ParseInt(id, 10, 64)
	return seq, err == nil && seq > 0 && strconv.FormatInt(seq, 10) == id
}

// deadSeqs returns the keys for those IDs that can be some, each once, in order.
func deadSeqs(ids []string) []int64 {
	seqs := make([]int64, 0, len(ids))
	for _, id := range ids {
		if seq, ok := deadSeq(id); ok {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	return slices.Compact(seqs)
}

// Redrive implements engine.DeadLetters.
func (e *Engine) Redrive(ctx context.Context, ids []string) (found int, err error) {
	seqs := deadSeqs(ids)
	var k kinds
	err = e.try(ctx, "redrive", once, func(ctx context.Context) error {
		if len(seqs) == 0 {
			return nil
		}
		var err error
		found, k, err = e.redrive(ctx, seqs)
		return err
	})
	if err != nil {
		return 0, err
	}
	e.hint(k)
	return found, nil
}

// redrive makes jobs of dead letters again. They are remembered again, whether or
// not they are still.
func (e *Engine) redrive(ctx context.Context, seqs []int64) (found int, k kinds, err error) {
	n, dead, k, err := e.readGraves(ctx, seqs)
	if err != nil || len(dead) == 0 {
		return 0, 0, err
	}
	if err := n.prepare(ctx, e); err != nil {
		return 0, 0, errBefore{err}
	}
	if err := n.place(ctx, e); err != nil {
		return 0, 0, errBefore{err}
	}
	n.makeKeys()
	err = e.inTx(ctx, func(tx pgx.Tx) error {
		var err error
		found, err = n.revive(ctx, e, tx, dead)
		return err
	})
	return found, k, err
}

// readGraves reads which jobs dead letters are of.
func (e *Engine) readGraves(ctx context.Context, seqs []int64) (n *newJobs, dead []int64, k kinds, err error) {
	rows, err := e.pool.Query(ctx, e.sql(`SELECT seq, kind, lane, id, channel, replay FROM toot.dead WHERE seq = ANY($1) ORDER BY seq`), e.mode, seqs)
	if err != nil {
		return nil, nil, 0, err
	}
	n = &newJobs{}
	var seq int64
	var kind int16
	var lane, id, channel, replay []byte
	_, err = pgx.ForEachRow(rows, []any{&seq, &kind, &lane, &id, &channel, &replay}, func() error {
		dead = append(dead, seq)
		l := engine.Lane{Kind: engine.Kind(kind), Name: string(lane)} //nolint:gosec // written as one
		k |= kindOf(l.Kind)
		n.add(&engine.Job{Lane: l}, &newEvent{id: e.identify(string(channel), string(id), string(replay))})
		return nil
	})
	return n, dead, k, err
}

// revive stores the jobs of dead letters, those that nobody else has revived or
// discarded meanwhile.
func (n *newJobs) revive(ctx context.Context, e *Engine, tx querier, dead []int64) (found int, err error) {
	now, err := n.findFresh(ctx, e, tx, nil)
	if err != nil {
		return 0, err
	}
	var c columns
	var keys [][]byte
	for i := range n.jobs {
		j := &n.jobs[i]
		c.lanes, c.seqs, keys = append(c.lanes, j.lane), append(c.seqs, j.seq), append(keys, j.key)
		c.lower(j.lane, 0)
	}
	// It is remembered by the older generation, perhaps: from now on by this one.
	if _, err := tx.Exec(ctx, e.sql("INSERT INTO "+table(n.lanes.gen)+" SELECT DISTINCT k FROM unnest($1::bytea[]) k ON CONFLICT DO NOTHING"), e.mode, keys); err != nil {
		return 0, err
	}
	err = tx.QueryRow(ctx, e.sql(`WITH d AS (DELETE FROM toot.dead WHERE seq = ANY($4) RETURNING *),
			j AS (INSERT INTO toot.jobs (lane, due, seq, token, claims, attempt, pushed, event, history, id, channel, replay, meta, body)
		SELECT t.lane, $1, t.seq, 0, 0, 0, d.pushed, 0, d.history, d.id, d.channel, d.replay, d.meta, d.body
		FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS t(lane, seq, dead) JOIN d ON d.seq = t.dead ORDER BY d.seq RETURNING lane),
			n AS (`+noteCounts("j", "+")+`)
		SELECT count(*) FROM j`), e.mode, now, c.lanes, c.seqs, dead).Scan(&found)
	if err != nil {
		return 0, err
	}
	return found, c.lowerIn(ctx, e, tx, now)
}

// Discard implements engine.DeadLetters.
func (e *Engine) Discard(ctx context.Context, ids []string) (found int, err error) {
	seqs := deadSeqs(ids)
	err = e.try(ctx, "discard", once, func(ctx context.Context) error {
		tag, err := e.pool.Exec(ctx, e.sql("DELETE FROM toot.dead WHERE seq = ANY($1)"), e.mode, seqs)
		found = int(tag.RowsAffected())
		return err
	})
	if err != nil {
		return 0, err
	}
	return found, nil
}
