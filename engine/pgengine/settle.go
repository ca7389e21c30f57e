package pgengine

import (
	"context"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/watermarkchurch/toot-go/engine"
)

// settlement is a Settle in the making.
type settlement struct {
	outcomes []engine.Outcome
	tickets  []ticket
	valid    []bool // the ticket is one
	plain    []bool // Done, and nothing else: what nearly all are
	allPlain bool
	follow   newJobs
	of       []int // the outcomes that the follow-ups are of
	unclear  bool  // a try may have taken effect whose answer was lost
	numbers  int64 // the first of those for the events of outcomes, and one for claims

	now     int64 // the store's time when they are carried out
	ok      []bool
	changed map[int]ticket // of outcomes after which jobs stay
	kinds   kinds          // of jobs that anybody may claim now
}

// Settle implements engine.Engine.
func (e *Engine) Settle(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
	if err := engine.ValidateOutcomes(outcomes); err != nil {
		return nil, err
	}
	s := newSettlement(e, outcomes)
	err := e.try(ctx, "settle", again, func(ctx context.Context) error {
		err := s.try(ctx, e)
		if err == nil && s.unclear {
			err = s.recognize(ctx, e)
		}
		s.unclear = s.unclear || uncertain(err)
		return err
	})
	if err != nil {
		return nil, err
	}
	e.hint(s.kinds | s.follow.kinds())
	return s.results(), nil
}

func (s *settlement) try(ctx context.Context, e *Engine) error {
	if len(s.outcomes) == 0 {
		return nil
	}
	if err := s.prepare(ctx, e); err != nil {
		return errBefore{err}
	}
	if !s.allPlain {
		return e.inTx(ctx, func(tx pgx.Tx) error { return s.run(ctx, e, tx) })
	}
	return s.finish(ctx, e, e.pool)
}

func newSettlement(e *Engine, outcomes []engine.Outcome) *settlement {
	n := len(outcomes)
	s := &settlement{
		outcomes: outcomes, allPlain: true,
		tickets: make([]ticket, n), valid: make([]bool, n), plain: make([]bool, n), ok: make([]bool, n),
	}
	for i := range outcomes {
		o := &outcomes[i]
		s.tickets[i], s.valid[i] = parseTicket(o.Ticket)
		s.plain[i] = o.Result == engine.Done && len(o.Follow) == 0 && !s.tickets[i].shared
		s.allPlain = s.allPlain && s.plain[i]
		var own *newEvent
		for k := range o.Follow {
			j := &o.Follow[k]
			if j.Event != nil {
				s.follow.add(j, s.follow.addEvent(e, j.Event))
			} else {
				if own == nil {
					own = &newEvent{from: i}
				}
				s.follow.add(j, own)
			}
			s.of = append(s.of, i)
		}
	}
	if !s.allPlain {
		s.dismissRepeated()
	}
	return s
}

// claimed names a claim of a job.
type claimed struct{ seq, token int64 }

func (t *ticket) claimed() claimed { return claimed{t.seq, t.token} }

// dismissRepeated takes the tickets for none that an outcome before has.
func (s *settlement) dismissRepeated() {
	met := make(map[claimed]bool, len(s.tickets))
	for i := range s.tickets {
		c := s.tickets[i].claimed()
		s.valid[i] = s.valid[i] && !met[c]
		met[c] = met[c] || s.valid[i]
	}
}

// prepare finds what a transaction will need, since it uses one connection, and
// must not wait for a second: numbers, once, and the lanes of the follow-ups.
func (s *settlement) prepare(ctx context.Context, e *Engine) (err error) {
	if s.numbers == 0 && !s.allPlain {
		if s.numbers, err = e.take(ctx, len(s.outcomes)+1); err != nil {
			return err
		}
	}
	if len(s.follow.jobs) == 0 {
		return nil
	}
	if s.follow.jobs[0].seq == 0 {
		if err := s.follow.prepare(ctx, e); err != nil {
			return err
		}
		if err := s.follow.share(ctx, e); err != nil {
			return err
		}
	}
	return s.follow.place(ctx, e)
}

// finish removes the jobs of the plain outcomes: first by where their rows lay when
// they were claimed, and those that don't lie there any more by their keys.
func (s *settlement) finish(ctx context.Context, e *Engine, q querier) error {
	var places []pgtype.TID
	var seqs, tokens []int64
	var asked []int
	for i := range s.outcomes {
		if t := &s.tickets[i]; s.plain[i] && s.valid[i] {
			places, seqs, tokens, asked = append(places, t.at), append(seqs, t.seq), append(tokens, t.token), append(asked, i)
		}
	}
	if len(asked) == 0 {
		return nil
	}
	var n int
	var done []int64 // nil: all, or none
	err := q.QueryRow(ctx, e.sql(`WITH d AS (DELETE FROM toot.jobs j USING unnest($1::tid[], $2::bigint[], $3::bigint[]) WITH ORDINALITY AS t(place, seq, token, i)
			WHERE j.ctid = t.place AND j.seq = t.seq AND j.token = t.token RETURNING t.i, j.lane),
			n AS (`+noteCounts("d", "-")+`)
		SELECT count(*), CASE WHEN count(*) < $4 THEN array_agg(i) END FROM d`), e.mode, places, seqs, tokens, len(asked)).Scan(&n, &done)
	if err != nil {
		return err
	}
	for _, i := range asked {
		s.ok[i] = n == len(asked)
	}
	if n == len(asked) {
		return nil
	}
	asked, finished := s.distinct(asked, done)
	for _, i := range finished {
		s.ok[i] = true
	}
	return s.finishByKey(ctx, e, q, asked)
}

// distinct leaves out outcomes whose ticket another one before has, which are
// stale, and returns those that are done, one of which may have been counted as
// another with its ticket.
func (s *settlement) distinct(asked []int, done []int64) (first, finished []int) {
	of := make(map[claimed]int, len(asked))
	for _, i := range asked {
		c := s.tickets[i].claimed()
		if _, met := of[c]; !met {
			of[c] = i
			first = append(first, i)
		}
	}
	for _, k := range done {
		finished = append(finished, of[s.tickets[asked[k-1]].claimed()])
	}
	return first, finished
}

func (s *settlement) finishByKey(ctx context.Context, e *Engine, q querier, asked []int) error {
	var k keys
	var left []int
	for _, i := range asked {
		if !s.ok[i] {
			k.add(&s.tickets[i])
			left = append(left, i)
		}
	}
	if len(left) == 0 {
		return nil
	}
	var done []int64
	err := q.QueryRow(ctx, e.sql(`WITH d AS (DELETE FROM toot.jobs j USING unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) WITH ORDINALITY AS t(lane, due, seq, token, i)
			WHERE j.lane = t.lane AND j.due = t.due AND j.seq = t.seq AND j.token = t.token RETURNING t.i, j.lane),
			n AS (`+noteCounts("d", "-")+`)
		SELECT COALESCE(array_agg(i), '{}') FROM d`), e.mode, k.lanes, k.dues, k.seqs, k.tokens).Scan(&done)
	for _, n := range done {
		s.ok[left[n-1]] = true
	}
	return err
}

// keys are those of jobs' rows, and their claims.
type keys struct{ lanes, dues, seqs, tokens []int64 }

func (k *keys) add(t *ticket) {
	k.lanes, k.dues, k.seqs, k.tokens = append(k.lanes, t.lane), append(k.dues, t.due), append(k.seqs, t.seq), append(k.tokens, t.token)
}

func (s *settlement) results() []engine.Settled {
	out := make([]engine.Settled, len(s.outcomes))
	for i := range out {
		out[i].OK = s.ok[i]
		if s.ok[i] && s.outcomes[i].Result == engine.Extend {
			t := s.changed[i]
			out[i].Ticket = engine.Ticket(appendTicket(nil, &t))
		}
		if n := len(s.outcomes[i].Follow); n > 0 {
			out[i].Follow = make([]engine.Ticket, 0, n)
		}
	}
	for k := range s.follow.jobs {
		var given engine.Ticket
		if j := &s.follow.jobs[k]; j.fresh && j.token != 0 && s.ok[s.of[k]] {
			t := j.ticket()
			given = engine.Ticket(appendTicket(nil, &t))
		}
		o := &out[s.of[k]]
		o.Follow = append(o.Follow, given)
	}
	return out
}
