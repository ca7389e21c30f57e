package sqliteengine

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// claim is a Claim in the making.
type claim struct {
	req  engine.ClaimRequest
	only map[string]bool

	lanes []*claimedLane
	more  bool // ready lanes were not looked at
	next  int64
	now   int64
}

// claimedLane is a lane that a claim takes from.
type claimedLane struct {
	*lane
	first    int64 // when its first job is due
	limit    int
	rows     []claimedRow
	due, seq int64 // of the last row read
	read     bool  // whether there is a last row
}

type claimedRow struct {
	ticket ticket
	pushed int64
	job    engine.Claimed
}

// Claim implements engine.Engine.
func (e *Engine) Claim(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
	if err := req.Validate(); err != nil {
		return engine.ClaimResult{}, err
	}
	c := &claim{req: req}
	if req.Only != nil {
		c.only = make(map[string]bool, len(req.Only))
		for _, name := range req.Only {
			c.only[name] = true
		}
	}
	if err := e.retain(ctx); err != nil {
		return engine.ClaimResult{}, err
	}
	if err := e.do(ctx, "claim", &op{weight: min(req.Max, bulk), anyway: true, run: c.run, probe: c.probe}); err != nil {
		return engine.ClaimResult{}, err
	}
	return c.result(e), nil
}

// limit is the most jobs that the claim takes from a lane.
func (c *claim) limit(name string) int {
	if c.only != nil && !c.only[name] {
		return 0
	}
	if n, ok := c.req.Limits[name]; ok {
		return n
	}
	return c.req.MaxPerLane
}

func (c *claim) reset(w *writer) {
	c.lanes, c.more, c.next, c.now = nil, false, never, w.now
}

// probe finds out whether there is anything to claim.
func (c *claim) probe(w *writer) (answered bool, err error) {
	c.reset(w)
	if err := w.refresh(); err != nil {
		return false, err
	}
	c.next, err = c.wake(w, 0)
	return err == nil && c.next > w.now, err
}

// maxCorrections is how many lanes a claim corrects for the sake of Next,
// which is too early if there are more.
const maxCorrections = 256

// wake is the earliest time at which a lane of the claim may have a job. It
// corrects the lanes on its way, so many at most; if that is not enough, the
// time may be too early. No lane is dirty when it begins.
func (c *claim) wake(w *writer, corrections int) (int64, error) {
	best := int64(never)
	look := func(l *lane) (more bool, err error) {
		if l.wake() >= best {
			return false, nil
		}
		if l.wake() > w.now {
			first, err := w.firstDue(l.id)
			if err != nil {
				return false, err
			}
			if first != l.next {
				if corrections--; corrections < 0 {
					best = w.now // run is to look
					return false, nil
				}
				w.setLane(l, first, l.deferred)
			}
		}
		if l.next < never {
			best = min(best, l.wake())
		}
		return true, nil
	}
	if c.only != nil {
		for name := range c.only {
			if c.limit(name) == 0 {
				continue
			}
			l, err := w.findLane(engine.Lane{Kind: c.req.Kind, Name: name})
			if l != nil && err == nil {
				_, err = look(l)
			}
			if err != nil {
				return 0, err
			}
		}
		return best, nil
	}
	s, ok, err := w.c.query("SELECT id, name, next, deferred FROM lanes WHERE kind = ?1 AND wake < ?2 ORDER BY wake", int64(c.req.Kind), int64(never))
	for ; ok && err == nil; ok, err = s.step() {
		l := w.lanes.byID[s.int(0)]
		if l == nil {
			l = w.lanes.add(&lane{id: s.int(0), key: engine.Lane{Kind: c.req.Kind, Name: s.text(1)}, next: s.int(2), deferred: s.int(3)})
		}
		if c.limit(l.key.Name) == 0 {
			continue
		}
		more, err := look(l)
		if err != nil || !more {
			s.reset()
			return best, err
		}
	}
	return best, err
}

func (c *claim) run(w *writer) error {
	c.reset(w)
	if err := w.liftDeferrals(c.req.Kind); err != nil {
		return err
	}
	if err := c.findLanes(w); err != nil {
		return err
	}
	if err := c.readRows(w); err != nil {
		return err
	}
	lease := w.now + max(1, micros(c.req.Lease))
	for _, l := range c.lanes {
		if err := c.lease(w, l, lease); err != nil {
			return err
		}
	}
	if c.more {
		c.next = w.now
		return nil
	}
	if err := w.flushLanes(); err != nil {
		return err
	}
	var err error
	c.next, err = c.wake(w, maxCorrections)
	return err
}

// liftDeferrals ends the deferrals that are over, so that their lanes are
// served by the age of their jobs again. It also writes what is remembered of
// lanes, for findLanes to read.
func (w *writer) liftDeferrals(kind engine.Kind) error {
	if err := w.flushLanes(); err != nil {
		return err
	}
	n, err := w.c.run("UPDATE lanes SET deferred = 0, wake = next WHERE kind = ?1 AND deferred > 0 AND deferred <= ?2", int64(kind), w.now)
	if n > 0 {
		w.lanes.reset()
	}
	return err
}

// findLanes picks the ready lanes that are served, those with the oldest job
// first, at most as many as there are jobs to hand out.
func (c *claim) findLanes(w *writer) error {
	if c.only != nil {
		for name := range c.only {
			l, err := w.findLane(engine.Lane{Kind: c.req.Kind, Name: name})
			if err != nil {
				return err
			}
			if l == nil || l.deferred > w.now {
				continue
			}
			if err := c.addLane(w, l); err != nil {
				return err
			}
		}
		c.cut()
		return nil
	}
	s, ok, err := w.c.query("SELECT id, name, next, deferred FROM lanes WHERE kind = ?1 AND wake <= ?2 ORDER BY wake", int64(c.req.Kind), w.now)
	for ; ok && err == nil; ok, err = s.step() {
		id, next := s.int(0), s.int(2)
		if n := c.req.Max; len(c.lanes) >= n && c.lanes[n-1].first <= next {
			// next is at most the time of the lane's first job, and of those
			// of all lanes behind it: none is older than what we have.
			c.more = true
			s.reset()
			break
		}
		l := w.lanes.byID[id]
		if l == nil {
			l = w.lanes.add(&lane{id: id, key: engine.Lane{Kind: c.req.Kind, Name: s.text(1)}, next: next, deferred: s.int(3)})
		}
		if err := c.addLane(w, l); err != nil {
			s.reset()
			return err
		}
	}
	c.cut()
	return err
}

// addLane adds a lane in its place if it has due jobs, and corrects its next.
func (c *claim) addLane(w *writer, l *lane) error {
	limit := c.limit(l.key.Name)
	if limit == 0 {
		return nil
	}
	first, err := w.firstDue(l.id)
	if err != nil {
		return err
	}
	w.setLane(l, first, l.deferred)
	if first > w.now {
		return nil
	}
	at := len(c.lanes)
	for at > 0 && c.lanes[at-1].first > first {
		at--
	}
	c.lanes = slices.Insert(c.lanes, at, &claimedLane{lane: l, first: first, limit: limit})
	return nil
}

func (c *claim) cut() {
	if len(c.lanes) > c.req.Max {
		c.more = true
		c.lanes = c.lanes[:c.req.Max]
	}
}

// readRows reads the jobs to hand out: every lane its equal share, and what
// some lanes do not use is shared by the others.
func (c *claim) readRows(w *writer) error {
	left := c.req.Max
	hungry := slices.Clone(c.lanes)
	for left > 0 && len(hungry) > 0 {
		share := max(1, left/len(hungry))
		still := hungry[:0]
		for _, l := range hungry {
			want := min(share, l.limit-len(l.rows), left)
			if want == 0 {
				break // nothing is left
			}
			got, err := l.readNext(w, want)
			if err != nil {
				return err
			}
			left -= got
			if got == want && len(l.rows) < l.limit {
				still = append(still, l)
			}
		}
		hungry = still
	}
	return nil
}

// readNext reads up to n due jobs behind those read before.
func (l *claimedLane) readNext(w *writer, n int) (got int, err error) {
	const columns = `SELECT j.due, j.seq, j.claims, j.attempt, j.shared, j.pushed, j.history, e.id, e.channel, e.replay, e.meta, e.body
		FROM jobs j JOIN events e ON e.seq = j.seq WHERE j.lane = ?1 AND j.due <= ?2 `
	var s *stmt
	var ok bool
	if l.read {
		s, ok, err = w.c.query(columns+"AND (j.due, j.seq) > (?3, ?4) ORDER BY j.due, j.seq LIMIT ?5", l.id, w.now, l.due, l.seq, n)
	} else {
		s, ok, err = w.c.query(columns+"ORDER BY j.due, j.seq LIMIT ?3", l.id, w.now, n)
	}
	for ; ok && err == nil; ok, err = s.step() {
		l.read = true
		l.due, l.seq = s.int(0), s.int(1)
		pushed := s.int(5)
		event := &engine.Event{ID: s.text(7), Channel: w.channel(s.peek(8)), Replay: s.text(9), Meta: s.bytes(10), Body: s.bytes(11)}
		l.rows = append(l.rows, claimedRow{
			ticket: ticket{lane: l.id, seq: l.seq, token: w.token, was: l.due, shared: s.int(4) == 1},
			pushed: pushed,
			job: engine.Claimed{
				Event:   event,
				Lane:    l.key,
				Attempt: int(s.int(3)),
				History: s.bytes(6),
				Claims:  int(s.int(2)) + 1,
				Age:     since(pushed, w.now),
			},
		})
		got++
	}
	return got, err
}

// channel is a channel's name, that of the row before if it is the same.
func (w *writer) channel(name []byte) string {
	if w.lastChannel != string(name) {
		w.lastChannel = string(name)
	}
	return w.lastChannel
}

// lease moves the rows that were read, which are the lane's first, to the
// lease's end. Deleting a range and inserting runs costs a quarter of an
// UPDATE of the key.
func (c *claim) lease(w *writer, l *claimedLane, end int64) error {
	if len(l.rows) == 0 {
		return nil
	}
	n, err := w.c.run("DELETE FROM jobs WHERE lane = ?1 AND due <= ?2 AND (due < ?2 OR seq <= ?3)", l.id, l.due, l.seq)
	if err != nil {
		return err
	}
	if n != len(l.rows) {
		return fmt.Errorf("lane %s %q: %d jobs read and %d taken", l.key.Kind, l.key.Name, len(l.rows), n)
	}
	var run jobRun
	for i := range l.rows {
		t, j := &l.rows[i].ticket, &l.rows[i].job
		t.due = end
		if w.seen.carrying {
			id := w.e.identify(j.Event)
			if err := w.keep(&id, l.id); err != nil {
				return err
			}
		}
		row := jobRow{
			lane: l.id, due: end, token: w.token, claims: int64(j.Claims), attempt: int64(j.Attempt),
			shared: t.shared, pushed: l.rows[i].pushed,
		}
		if i > 0 {
			if run.takes(&row, t.seq, j.History) {
				continue
			}
			if err := w.insertRun(&run); err != nil {
				return err
			}
		}
		run = jobRun{jobRow: row, seq: t.seq, rows: 1, history: j.History}
	}
	if err := w.insertRun(&run); err != nil {
		return err
	}
	first, err := w.firstDue(l.id)
	if err != nil {
		return err
	}
	w.setLane(l.lane, first, l.deferred)
	return nil
}

// result hands the jobs out in turns, as they were shared.
func (c *claim) result(e *Engine) engine.ClaimResult {
	total := 0
	for _, l := range c.lanes {
		total += len(l.rows)
	}
	res := engine.ClaimResult{Next: -1}
	if c.next < never {
		res.Next = time.Duration(max(0, c.next-c.now)) * time.Microsecond
	}
	if total == 0 {
		return res
	}
	var t tickets
	t.reset(total)
	res.Jobs = make([]engine.Claimed, 0, total)
	for i := 0; len(res.Jobs) < total; i++ {
		for _, l := range c.lanes {
			if i < len(l.rows) {
				l.rows[i].ticket.id = e.identify(l.rows[i].job.Event)
				t.add(&l.rows[i].ticket)
				res.Jobs = append(res.Jobs, l.rows[i].job)
			}
		}
	}
	for i, s := range t.strings() {
		res.Jobs[i].Ticket = s
	}
	return res
}
