package sqliteengine

import (
	"cmp"
	"context"
	"slices"

	"github.com/watermarkchurch/toot-go/engine"
)

// settlement is a Settle in the making.
type settlement struct {
	outcomes []engine.Outcome
	tickets  []ticket
	valid    []bool // whether the ticket is one
	order    []int  // the outcomes by the keys of their jobs
	own      []int
	follow   jobBatch

	ok    []bool
	to    []int64 // the new due times, of jobs that stay; nil if none does
	fewer []int64 // see count
}

// Settle implements engine.Engine.
func (e *Engine) Settle(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
	if err := engine.ValidateOutcomes(outcomes); err != nil {
		return nil, err
	}
	s := newSettlement(e, outcomes)
	if err := e.do(ctx, "settle", &op{weight: len(outcomes) + 2*len(s.follow.jobs), anyway: true, run: s.run}); err != nil {
		return nil, err
	}
	return s.results(), nil
}

func newSettlement(e *Engine, outcomes []engine.Outcome) *settlement {
	n := len(outcomes)
	s := &settlement{
		outcomes: outcomes,
		tickets:  make([]ticket, n), valid: make([]bool, n), ok: make([]bool, n),
	}
	for i := range outcomes {
		o := &outcomes[i]
		s.tickets[i], s.valid[i] = parseTicket(o.Ticket)
		if s.to == nil && o.Result != engine.Done && o.Result != engine.Bury {
			s.to = make([]int64, n)
		}
		if len(o.Follow) == 0 {
			continue
		}
		if s.own == nil {
			s.own = make([]int, n)
		}
		own := -1
		for k := range o.Follow {
			j := &o.Follow[k]
			event := -1
			if j.Event == nil {
				if own < 0 {
					own = len(s.follow.events)
					s.follow.events = append(s.follow.events, newEvent{id: s.tickets[i].id, seq: s.tickets[i].seq})
				}
				event = own
			}
			s.follow.addJob(e, j, i, event)
		}
		s.own[i] = own + 1 // 0: the outcome has no follow-up about its own event
	}
	s.sort()
	return s
}

// sort puts outcomes of neighbours side by side, which were reported as they
// came to an end, so that they become runs.
func (s *settlement) sort() {
	s.order = make([]int, len(s.outcomes))
	for i := range s.order {
		s.order[i] = i
	}
	slices.SortStableFunc(s.order, func(i, j int) int {
		a, b := &s.tickets[i], &s.tickets[j]
		return cmp.Or(cmp.Compare(a.lane, b.lane), cmp.Compare(a.due, b.due), cmp.Compare(a.seq, b.seq))
	})
}

func (s *settlement) run(w *writer) error {
	copy(s.ok, s.valid)
	if err := s.change(w); err != nil {
		return err
	}
	if len(s.follow.jobs) > 0 {
		if err := w.findFresh(&s.follow, func(i int) bool { return s.ok[i] }); err != nil {
			return err
		}
	}
	if err := s.count(w); err != nil {
		return err
	}
	if len(s.follow.jobs) == 0 {
		return nil
	}
	if err := w.insertEvents(&s.follow); err != nil {
		return err
	}
	return w.insertJobs(&s.follow)
}

// rowRun is a run of claimed jobs with the same outcome whose rows lie one
// behind the other.
type rowRun struct {
	lane, due, token int64
	first, rows      int64 // seq
	result           engine.Result
	to               int64 // the new due time of Release and Extend
	index            int   // of its first outcome
}

// change removes the rows of the jobs or gives them their new places, and
// finds out which tickets are good.
func (s *settlement) change(w *writer) error {
	most := int64(bulk)
	if w.careful {
		most = 1
	}
	var r rowRun
	for _, i := range s.order {
		if !s.ok[i] {
			continue
		}
		o, t := &s.outcomes[i], &s.tickets[i]
		to := int64(0)
		if s.to != nil {
			to = w.place(t, o)
			s.to[i] = to
		}
		alone := true
		var err error
		switch {
		case o.Result == engine.Bury:
			s.ok[i], err = w.bury(t, o)
		case o.Result == engine.Retry:
			s.ok[i], err = w.retry(t, o, to)
		case o.Result == engine.Extend && o.History != nil:
			s.ok[i], err = w.extend(t, o, to)
		default:
			alone = false
			if o.Result != engine.Done {
				err = w.moved(&t.id, t.lane)
			}
		}
		if err != nil {
			return err
		}
		if alone {
			continue
		}
		if r.rows > 0 && r.lane == t.lane && r.due == t.due && r.token == t.token && r.result == o.Result && r.to == to &&
			r.first+r.rows == t.seq && r.rows < most {
			r.rows++
			continue
		}
		if err := s.changeRun(w, &r); err != nil {
			return err
		}
		r = rowRun{lane: t.lane, due: t.due, token: t.token, first: t.seq, rows: 1, result: o.Result, to: to, index: i}
	}
	return s.changeRun(w, &r)
}

// place is when a job is due after its outcome, if it stays.
func (w *writer) place(t *ticket, o *engine.Outcome) int64 {
	switch to := w.now + micros(o.After); {
	case o.Result == engine.Release && o.After <= 0:
		return t.was
	case o.Result == engine.Extend && to == t.due:
		return to + 1 // the old ticket must not stay good
	default:
		return to
	}
}

func (s *settlement) changeRun(w *writer, r *rowRun) error {
	if r.rows == 0 {
		return nil
	}
	var n int
	var err error
	end := r.first + r.rows - 1
	switch r.result {
	case engine.Done:
		n, err = w.c.run(`DELETE FROM jobs WHERE lane = ?1 AND due = ?2 AND seq BETWEEN ?3 AND ?4 AND token = ?5`,
			r.lane, r.due, r.first, end, r.token)
	case engine.Release:
		n, err = w.c.run(`UPDATE jobs SET due = ?6, token = 0, claims = claims - 1
			WHERE lane = ?1 AND due = ?2 AND seq BETWEEN ?3 AND ?4 AND token = ?5`,
			r.lane, r.due, r.first, end, r.token, r.to)
	case engine.Extend:
		n, err = w.c.run(`UPDATE jobs SET due = ?6 WHERE lane = ?1 AND due = ?2 AND seq BETWEEN ?3 AND ?4 AND token = ?5`,
			r.lane, r.due, r.first, end, r.token, r.to)
	}
	if err != nil {
		return err
	}
	if int64(n) != r.rows {
		if r.rows > 1 {
			return errCareful
		}
		s.ok[r.index] = false
		return nil
	}
	if r.result == engine.Done {
		w.counts.add(r.lane, -n)
		return nil
	}
	return w.dueIn(r.lane, r.to, r.result == engine.Release)
}

// dueIn is dueAt for the lane with that ID.
func (w *writer) dueIn(lane, due int64, free bool) error {
	l, err := w.laneByID(lane)
	if l != nil && err == nil {
		w.dueAt(l, due, free)
	}
	return err
}

func (w *writer) retry(t *ticket, o *engine.Outcome, due int64) (ok bool, err error) {
	n, err := w.c.run(`UPDATE jobs SET due = ?5, token = 0, attempt = ?6, history = ?7
		WHERE lane = ?1 AND due = ?2 AND seq = ?3 AND token = ?4`, t.lane, t.due, t.seq, t.token, due, o.Attempt, o.History)
	if err != nil || n == 0 {
		return false, err
	}
	if err := w.moved(&t.id, t.lane); err != nil {
		return false, err
	}
	return true, w.dueIn(t.lane, due, true)
}

// extend is Extend with a history.
func (w *writer) extend(t *ticket, o *engine.Outcome, due int64) (ok bool, err error) {
	n, err := w.c.run(`UPDATE jobs SET due = ?5, history = ?6
		WHERE lane = ?1 AND due = ?2 AND seq = ?3 AND token = ?4`, t.lane, t.due, t.seq, t.token, due, o.History)
	if err != nil || n == 0 {
		return false, err
	}
	if err := w.moved(&t.id, t.lane); err != nil {
		return false, err
	}
	return true, w.dueIn(t.lane, due, false)
}

// count settles which events are still referred to: it deletes those that are
// not, and keeps refs for those with several jobs.
func (s *settlement) count(w *writer) error {
	gone, less, more := refRun{flush: (*writer).dropEvents}, refRun{flush: (*writer).countLess}, refRun{flush: (*writer).countMore}
	fewer := s.fewer[:0] // events that have one job less
	for _, i := range s.order {
		if !s.ok[i] {
			continue
		}
		o, t := &s.outcomes[i], &s.tickets[i]
		removed := o.Result == engine.Done || o.Result == engine.Bury
		added := int64(0)
		var own *newEvent
		if s.own != nil && s.own[i] > 0 {
			own = &s.follow.events[s.own[i]-1]
			own.shared = t.shared
			added = int64(own.fresh)
		}
		var err error
		switch {
		case t.shared && removed && added == 0:
			fewer = append(fewer, t.seq)
		case t.shared:
			delta := added
			if removed {
				delta--
			}
			if delta != 0 {
				_, err = w.c.run("UPDATE refs SET n = n + ?2 WHERE seq = ?1", t.seq, delta)
			}
		case removed && added == 0:
			err = gone.add(w, t.seq, 1)
		case removed && added == 1, !removed && added == 0:
			// One job for another, or nothing new.
		default:
			own.shared = true
			n := added
			if !removed {
				n++
				err = w.share(s, i)
			}
			if err == nil {
				err = more.add(w, t.seq, n)
			}
		}
		if err != nil {
			return err
		}
	}
	s.fewer = fewer
	slices.Sort(fewer) // jobs of an event in several lanes
	for i := 0; i < len(fewer); {
		n := 1
		for i+n < len(fewer) && fewer[i+n] == fewer[i] {
			n++
		}
		if err := less.add(w, fewer[i], int64(n)); err != nil {
			return err
		}
		i += n
	}
	for _, r := range []*refRun{&more, &less, &gone} {
		if err := r.end(w); err != nil {
			return err
		}
	}
	return nil
}

// share marks the row of a job that keeps its place in the queue while its
// event gets further jobs.
func (w *writer) share(s *settlement, i int) error {
	t := &s.tickets[i]
	_, err := w.c.run("UPDATE jobs SET shared = 1 WHERE lane = ?1 AND due = ?2 AND seq = ?3", t.lane, s.to[i], t.seq)
	return err
}

// refRun is a run of events with the same change to their counts.
type refRun struct {
	first, rows, n int64
	flush          func(*writer, *refRun) error
}

func (r *refRun) last() int64 { return r.first + r.rows - 1 }

func (r *refRun) add(w *writer, seq, n int64) error {
	if r.rows > 0 && seq == r.last()+1 && n == r.n && r.rows < bulk {
		r.rows++
		return nil
	}
	err := r.end(w)
	r.first, r.rows, r.n = seq, 1, n
	return err
}

func (r *refRun) end(w *writer) error {
	if r.rows == 0 {
		return nil
	}
	err := r.flush(w, r)
	r.rows = 0
	return err
}

func (w *writer) dropEvents(r *refRun) error {
	_, err := w.c.run("DELETE FROM events WHERE seq BETWEEN ?1 AND ?2", r.first, r.last())
	return err
}

func (w *writer) countMore(r *refRun) error {
	_, err := w.c.run("INSERT INTO refs (seq, n) SELECT ?1 + i, ?2 FROM nums WHERE i < ?3", r.first, r.n, r.rows)
	return err
}

func (w *writer) countLess(r *refRun) error {
	if _, err := w.c.run("UPDATE refs SET n = n - ?3 WHERE seq BETWEEN ?1 AND ?2", r.first, r.last(), r.n); err != nil {
		return err
	}
	n, err := w.c.run("DELETE FROM events WHERE seq IN (SELECT seq FROM refs WHERE seq BETWEEN ?1 AND ?2 AND n <= 0)", r.first, r.last())
	if err != nil || n == 0 {
		return err
	}
	_, err = w.c.run("DELETE FROM refs WHERE seq BETWEEN ?1 AND ?2 AND n <= 0", r.first, r.last())
	return err
}

func (s *settlement) results() []engine.Settled {
	out := make([]engine.Settled, len(s.outcomes))
	var follow []engine.Ticket
	if len(s.follow.jobs) > 0 {
		follow = s.follow.out.strings()
	}
	for i := range out {
		o := &s.outcomes[i]
		out[i].OK = s.ok[i]
		if s.ok[i] && o.Result == engine.Extend {
			t := s.tickets[i]
			t.due = s.to[i]
			if s.own != nil && s.own[i] > 0 {
				t.shared = s.follow.events[s.own[i]-1].shared
			}
			out[i].Ticket = engine.Ticket(appendTicket(nil, &t))
		}
		if n := len(o.Follow); n > 0 {
			out[i].Follow, follow = follow[:n:n], follow[n:]
		}
	}
	return out
}
