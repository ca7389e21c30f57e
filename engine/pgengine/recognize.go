package pgengine

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/watermarkchurch/toot-go/engine"
)

// What an earlier try of a call has done, although its answer was lost, is known by
// the numbers that the call gave its jobs and claims: nobody else has those.

// numbered are jobs that are looked for, and what is done with those that are there.
type numbered struct {
	lanes, seqs, tokens []int64
	found               []func(due, event int64, at pgtype.TID)
}

func (n *numbered) add(lane, seq, token int64, found func(due, event int64, at pgtype.TID)) {
	n.lanes, n.seqs, n.tokens, n.found = append(n.lanes, lane), append(n.seqs, seq), append(n.tokens, token), append(n.found, found)
}

func (n *numbered) look(ctx context.Context, e *Engine) error {
	if len(n.seqs) == 0 {
		return nil
	}
	rows, err := e.pool.Query(ctx, e.sql(`SELECT t.i, j.due, j.event, j.ctid FROM unnest($1::bigint[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS t(lane, seq, token, i)
		JOIN toot.jobs j ON j.lane = t.lane AND j.seq = t.seq AND j.token = t.token`), e.mode, n.lanes, n.seqs, n.tokens)
	if err != nil {
		return err
	}
	var i, due, event int64
	var at pgtype.TID
	_, err = pgx.ForEachRow(rows, []any{&i, &due, &event, &at}, func() error {
		n.found[i-1](due, event, at)
		return nil
	})
	return err
}

// recognize finds the jobs of this call that an earlier try of it had stored.
func (p *push) recognize(ctx context.Context, e *Engine) error {
	var n numbered
	for i := range p.jobs.jobs {
		if j := &p.jobs.jobs[i]; !j.fresh && j.job.Past == nil {
			n.add(j.lane, j.seq, j.token, j.recognized)
		}
	}
	return n.look(ctx, e)
}

func (j *newJob) recognized(due, event int64, at pgtype.TID) {
	j.fresh, j.due, j.at, j.event.seq = true, due, at, event
}

// recognize says of outcomes that an earlier try of this call has carried out that
// they took effect, and finds what they have left: follow-ups, and the claims that
// were extended. Only that try can have ended a claim whose lease still lasts.
func (s *settlement) recognize(ctx context.Context, e *Engine) error {
	now := e.now()
	var n numbered
	before := make([]bool, len(s.ok)) // it was an earlier try
	for i := range s.ok {
		t := &s.tickets[i]
		if !s.valid[i] || s.ok[i] || now >= t.due {
			continue
		}
		if s.outcomes[i].Result != engine.Extend {
			s.ok[i], before[i] = true, true
			continue
		}
		token := s.numbers + int64(len(s.outcomes))
		n.add(t.lane, t.seq, token, func(due, event int64, at pgtype.TID) {
			s.ok[i], before[i] = true, true
			s.changed[i] = ticket{lane: t.lane, due: due, seq: t.seq, token: token, was: t.was, at: at, shared: event != 0}
		})
	}
	for k := range s.follow.jobs {
		j, of := &s.follow.jobs[k], s.of[k]
		if s.ok[of] && !before[of] {
			continue // it is this try's
		}
		n.add(j.lane, j.seq, j.token, j.recognized)
	}
	return n.look(ctx, e)
}
