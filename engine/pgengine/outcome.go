package pgengine

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/watermarkchurch/toot-go/engine"
)

// run carries the outcomes out in a transaction.
func (s *settlement) run(ctx context.Context, e *Engine, tx querier) error {
	clear(s.ok)
	s.kinds, s.changed = 0, map[int]ticket{}
	if err := s.finish(ctx, e, tx); err != nil {
		return err
	}
	if err := s.lock(ctx, e, tx); err != nil {
		return err
	}
	var err error
	if s.now, _, err = e.storeTime(ctx, tx); err != nil {
		return err
	}
	if err := s.bury(ctx, e, tx); err != nil {
		return err
	}
	if err := s.followUp(ctx, e, tx); err != nil {
		return err
	}
	if err := s.move(ctx, e, tx); err != nil {
		return err
	}
	return s.remove(ctx, e, tx)
}

// each calls f for the outcomes that take effect, save the plain ones.
func (s *settlement) each(f func(i int, o *engine.Outcome, t *ticket)) {
	for i := range s.outcomes {
		if s.ok[i] && !s.plain[i] {
			f(i, &s.outcomes[i], &s.tickets[i])
		}
	}
}

// lock keeps the rows of the jobs as they are, and finds out which tickets are good.
func (s *settlement) lock(ctx context.Context, e *Engine, tx querier) error {
	var k keys
	var asked []int
	for i := range s.outcomes {
		if s.valid[i] && !s.plain[i] {
			k.add(&s.tickets[i])
			asked = append(asked, i)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, e.sql(`SELECT t.i, j.event <> 0 FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS t(lane, due, seq, token, i)
		JOIN toot.jobs j ON j.lane = t.lane AND j.due = t.due AND j.seq = t.seq WHERE j.token = t.token ORDER BY j.seq FOR UPDATE OF j`), e.mode, k.lanes, k.dues, k.seqs, k.tokens)
	if err != nil {
		return err
	}
	var n int64
	var shared bool
	_, err = pgx.ForEachRow(rows, []any{&n, &shared}, func() error {
		i := asked[n-1]
		s.ok[i] = true
		s.tickets[i].shared = shared
		return nil
	})
	return err
}

// bury copies jobs to the dead letters. Each has its own copy of the event, so that
// it depends on nothing and is deleted as one row.
func (s *settlement) bury(ctx context.Context, e *Engine, tx querier) error {
	var k keys
	var attempts []int32
	var reasons, histories [][]byte
	s.each(func(_ int, o *engine.Outcome, t *ticket) {
		if o.Result == engine.Bury {
			k.add(t)
			attempts, reasons, histories = append(attempts, int32(o.Attempt)), append(reasons, []byte(o.Reason)), append(histories, orNil(o.History)) //nolint:gosec // a small number
		}
	})
	if len(attempts) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, e.sql(`INSERT INTO toot.dead (at, kind, lane, id, channel, replay, attempt, pushed, reason, history, meta, body)
		SELECT $1, l.kind, l.name, COALESCE(v.id, j.id), COALESCE(v.channel, j.channel), COALESCE(v.replay, j.replay), t.attempt, j.pushed, t.reason, t.history,
			COALESCE(v.meta, j.meta), COALESCE(v.body, j.body)
		FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::int[], $6::bytea[], $7::bytea[]) WITH ORDINALITY AS t(lane, due, seq, attempt, reason, history, i)
		JOIN toot.jobs j ON j.lane = t.lane AND j.due = t.due AND j.seq = t.seq JOIN toot.lanes l ON l.id = j.lane
		LEFT JOIN toot.events v ON v.seq = j.event AND j.event <> 0 ORDER BY t.i`), e.mode, s.now, k.lanes, k.dues, k.seqs, attempts, reasons, histories)
	if err != nil {
		return err
	}
	r, err := e.readRetention(ctx, tx)
	if err != nil {
		return err
	}
	_, err = tx.Exec(ctx, e.sql("DELETE FROM toot.dead WHERE seq <= (SELECT seq FROM toot.dead ORDER BY seq DESC OFFSET $1 LIMIT 1)"), e.mode, r.DeadMax)
	return err
}

// followUp stores the follow-ups of the outcomes that take effect.
func (s *settlement) followUp(ctx context.Context, e *Engine, tx querier) error {
	if len(s.follow.jobs) == 0 {
		return nil
	}
	if err := s.identifyOwn(ctx, e, tx); err != nil {
		return err
	}
	s.follow.makeKeys()
	if _, err := s.follow.findFresh(ctx, e, tx, func(i int) bool { return s.ok[s.of[i]] }); err != nil {
		return err
	}
	if err := s.shareOwn(ctx, e, tx); err != nil {
		return err
	}
	if err := s.follow.storeFresh(ctx, e, tx, s.now); err != nil {
		return err
	}
	return s.copyOwn(ctx, e, tx)
}

// own are the follow-ups that are about the event of the settled job, by outcome.
func (s *settlement) own() map[int][]*newJob {
	own := map[int][]*newJob{}
	for k := range s.follow.jobs {
		if j := &s.follow.jobs[k]; j.event.event == nil && s.ok[s.of[k]] {
			own[s.of[k]] = append(own[s.of[k]], j)
		}
	}
	return own
}

// identifyOwn reads what the identities of the settled jobs' events are made of.
func (s *settlement) identifyOwn(ctx context.Context, e *Engine, tx querier) error {
	var k keys
	var asked [][]*newJob
	for i, jobs := range s.own() {
		k.add(&s.tickets[i])
		asked = append(asked, jobs)
	}
	if len(asked) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, e.sql(`SELECT t.i, j.event, COALESCE(v.id, j.id), COALESCE(v.channel, j.channel), COALESCE(v.replay, j.replay)
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS t(lane, due, seq, i)
		JOIN toot.jobs j ON j.lane = t.lane AND j.due = t.due AND j.seq = t.seq LEFT JOIN toot.events v ON v.seq = j.event AND j.event <> 0`), e.mode, k.lanes, k.dues, k.seqs)
	if err != nil {
		return err
	}
	var n, event int64
	var id, channel, replay []byte
	_, err = pgx.ForEachRow(rows, []any{&n, &event, &id, &channel, &replay}, func() error {
		ev := asked[n-1][0].event
		ev.seq, ev.id = event, e.identify(string(channel), string(id), string(replay))
		return nil
	})
	return err
}

// shareOwn gives the event of a settled job a row of its own if several new jobs
// are about it, or one does beside the settled one.
func (s *settlement) shareOwn(ctx context.Context, e *Engine, tx querier) error {
	var k keys
	var events []int64
	for i, jobs := range s.own() {
		fresh := 0
		for _, j := range jobs {
			if j.fresh {
				fresh++
			}
		}
		if jobs[0].event.seq != 0 || fresh < 2 {
			continue
		}
		seq := s.numbers + int64(i)
		jobs[0].event.seq = seq
		k.add(&s.tickets[i])
		events = append(events, seq)
	}
	if len(events) == 0 {
		return nil
	}
	_, err := tx.Exec(ctx, e.sql(`INSERT INTO toot.events (seq, id, channel, replay, meta, body)
		SELECT t.event, j.id, j.channel, j.replay, j.meta, j.body FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) AS t(lane, due, seq, event)
		JOIN toot.jobs j ON j.lane = t.lane AND j.due = t.due AND j.seq = t.seq`), e.mode, k.lanes, k.dues, k.seqs, events)
	return err
}

// copyOwn stores the follow-ups that are the only new jobs about the settled job's
// event, which is copied from row to row.
func (s *settlement) copyOwn(ctx context.Context, e *Engine, tx querier) error {
	var k keys // of the settled jobs
	var c columns
	var stored []*newJob
	for i, jobs := range s.own() {
		for _, j := range jobs {
			if !j.fresh || j.event.seq != 0 {
				continue
			}
			k.add(&s.tickets[i])
			c.lanes, c.waits, c.seqs, c.tokens = append(c.lanes, j.lane), append(c.waits, j.wait), append(c.seqs, j.seq), append(c.tokens, j.token)
			c.lower(j.lane, j.wait)
			stored = append(stored, j)
		}
	}
	if len(stored) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, e.sql(`WITH c AS (INSERT INTO toot.jobs (lane, due, seq, token, claims, attempt, pushed, event, id, channel, replay, meta, body)
		SELECT t.lane, $1 + t.wait, t.seq, t.token, (t.token <> 0)::int, 0, $1, 0, j.id, j.channel, j.replay, j.meta, j.body
		FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[], $8::bigint[]) AS t(lane, wait, seq, token, slane, sdue, sseq)
		JOIN toot.jobs j ON j.lane = t.slane AND j.due = t.sdue AND j.seq = t.sseq RETURNING seq, ctid, lane),
			n AS (`+noteCounts("c", "+")+`)
		SELECT seq, ctid FROM c`),
		e.mode, s.now, c.lanes, c.waits, c.seqs, c.tokens, k.lanes, k.dues, k.seqs)
	if err != nil {
		return err
	}
	at := map[int64]pgtype.TID{}
	var seq int64
	var place pgtype.TID
	if _, err := pgx.ForEachRow(rows, []any{&seq, &place}, func() error { at[seq] = place; return nil }); err != nil {
		return err
	}
	for _, j := range stored {
		j.at, j.due = at[j.seq], s.now+j.wait
	}
	return c.lowerIn(ctx, e, tx, s.now)
}

// move gives jobs that stay their new due times, and what else changes.
func (s *settlement) move(ctx context.Context, e *Engine, tx querier) error {
	token := s.numbers + int64(len(s.outcomes))
	var k keys
	var c columns
	var to, tokens []int64
	var released, retried, noted []bool
	var attempts []int32
	var histories [][]byte
	var moved []int
	now := s.now
	s.each(func(i int, o *engine.Outcome, t *ticket) {
		due, claim := now+micros(o.After), int64(0)
		switch o.Result {
		case engine.Release:
			if o.After <= 0 {
				due = t.was
			}
		case engine.Extend:
			claim = token
		case engine.Retry:
		default:
			return
		}
		k.add(t)
		c.lower(t.lane, due)
		to, tokens, moved = append(to, due), append(tokens, claim), append(moved, i)
		released, retried = append(released, o.Result == engine.Release), append(retried, o.Result == engine.Retry)
		noted = append(noted, o.Result == engine.Retry || o.Result == engine.Extend && o.History != nil)
		attempts, histories = append(attempts, int32(o.Attempt)), append(histories, orNil(o.History)) //nolint:gosec // a small number
		s.changed[i] = ticket{lane: t.lane, due: due, seq: t.seq, token: claim, was: t.was, shared: t.shared}
	})
	if len(moved) == 0 {
		return nil
	}
	rows, err := tx.Query(ctx, e.sql(`UPDATE toot.jobs j SET due = t.new, token = t.claim, claims = j.claims - t.released::int,
			attempt = CASE WHEN t.retried THEN t.attempt ELSE j.attempt END, history = CASE WHEN t.noted THEN t.history ELSE j.history END
		FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bool[], $7::bool[], $8::bool[], $9::int[], $10::bytea[]) WITH ORDINALITY
			AS t(lane, due, seq, new, claim, released, retried, noted, attempt, history, i)
		WHERE j.lane = t.lane AND j.due = t.due AND j.seq = t.seq RETURNING t.i, j.ctid, (SELECT kind FROM toot.lanes l WHERE l.id = j.lane)`),
		e.mode, k.lanes, k.dues, k.seqs, to, tokens, released, retried, noted, attempts, histories)
	if err != nil {
		return err
	}
	var n int64
	var at pgtype.TID
	var kind int16
	_, err = pgx.ForEachRow(rows, []any{&n, &at, &kind}, func() error {
		i := moved[n-1]
		t := s.changed[i]
		t.at = at
		s.changed[i] = t
		if t.token == 0 && t.due <= now {
			s.kinds |= kindOf(engine.Kind(kind)) //nolint:gosec // written as one
		}
		return nil
	})
	if err != nil {
		return err
	}
	return c.lowerIn(ctx, e, tx, 0)
}

// remove deletes the rows of jobs that are done or dead, and events that nobody
// needs any more. An event whose last two jobs are removed at once, each of which
// sees the other's row, is deleted by the keeper, later.
func (s *settlement) remove(ctx context.Context, e *Engine, tx querier) error {
	var k keys
	s.each(func(_ int, o *engine.Outcome, t *ticket) {
		if o.Result == engine.Done || o.Result == engine.Bury {
			k.add(t)
		}
	})
	if len(k.seqs) == 0 {
		return nil
	}
	var events []int64
	err := tx.QueryRow(ctx, e.sql(`WITH d AS (DELETE FROM toot.jobs j USING unnest($1::bigint[], $2::bigint[], $3::bigint[]) AS t(lane, due, seq)
			WHERE j.lane = t.lane AND j.due = t.due AND j.seq = t.seq RETURNING j.event, j.lane),
			n AS (`+noteCounts("d", "-")+`)
		SELECT COALESCE(array_agg(DISTINCT event) FILTER (WHERE event <> 0), '{}') FROM d`), e.mode, k.lanes, k.dues, k.seqs).Scan(&events)
	if err != nil || len(events) == 0 {
		return err
	}
	_, err = tx.Exec(ctx, e.sql(`DELETE FROM toot.events v WHERE v.seq = ANY($1) AND NOT EXISTS (SELECT 1 FROM toot.jobs j WHERE j.event = v.seq AND j.event <> 0)`), e.mode, events)
	return err
}
