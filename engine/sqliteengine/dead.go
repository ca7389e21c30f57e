package sqliteengine

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// bury moves a job to the dead letters. Its event is copied, so that a dead
// letter depends on nothing and is deleted as one row.
func (w *writer) bury(t *ticket, o *engine.Outcome) (ok bool, err error) {
	n, err := w.c.run(`INSERT INTO dead (at, kind, lane, id, channel, replay, attempt, pushed, reason, history, meta, body)
		SELECT ?5, l.kind, l.name, e.id, e.channel, e.replay, ?6, j.pushed, ?7, ?8, e.meta, e.body
		FROM jobs j JOIN lanes l ON l.id = j.lane JOIN events e ON e.seq = j.seq
		WHERE j.lane = ?1 AND j.due = ?2 AND j.seq = ?3 AND j.token = ?4`,
		t.lane, t.due, t.seq, t.token, w.now, o.Attempt, o.Reason, o.History)
	if err != nil || n == 0 {
		return false, err
	}
	_, err = w.c.run("DELETE FROM jobs WHERE lane = ?1 AND due = ?2 AND seq = ?3", t.lane, t.due, t.seq)
	if err != nil {
		return false, err
	}
	w.counts.add(t.lane, -1)
	return true, w.trimDead(1)
}

// ageEvery is how often dead letters are trimmed by age; Dead does not show
// those that are too old meanwhile.
const ageEvery = time.Minute

// trimDead deletes what retention does not keep after so many have been added.
func (w *writer) trimDead(added int) error {
	if w.dead < 0 {
		s, ok, err := w.c.query("SELECT count(*) FROM dead")
		if err != nil {
			return err
		}
		if ok {
			w.dead = int(s.int(0))
			s.reset()
		}
	} else {
		w.dead += added
	}
	if w.now-w.aged >= ageEvery.Microseconds() || w.now < w.aged {
		n, err := w.c.run("DELETE FROM dead WHERE at < ?1", w.now-w.retention.DeadAge.Microseconds())
		if err != nil {
			return err
		}
		w.dead -= n
		w.aged = w.now
	}
	if over := w.dead - w.retention.DeadMax; over > 0 {
		n, err := w.c.run("DELETE FROM dead WHERE seq IN (SELECT seq FROM dead ORDER BY seq LIMIT ?1)", over)
		if err != nil {
			return err
		}
		w.dead -= n
	}
	return nil
}

// Dead implements engine.DeadLetters.
func (e *Engine) Dead(ctx context.Context, q engine.DeadQuery) ([]engine.Dead, error) {
	if err := q.Validate(); err != nil {
		return nil, err
	}
	var out []engine.Dead
	err := e.read(ctx, "dead letters", func(c *conn) error {
		var err error
		out, err = e.readDead(ctx, c, q)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func (e *Engine) readDead(ctx context.Context, c *conn, q engine.DeadQuery) ([]engine.Dead, error) {
	if q.Max == 0 {
		q.Max = 100
	}
	kept, err := readRetention(c)
	if err != nil {
		return nil, err
	}
	now := e.clock.now()
	from, until := now-kept.DeadAge.Microseconds(), int64(math.MaxInt64)
	if !q.Since.IsZero() {
		from = max(from, e.clock.fromWall(q.Since))
	}
	if !q.Until.IsZero() {
		until = e.clock.fromWall(q.Until)
	}
	before := int64(math.MaxInt64)
	if q.After != "" {
		seq, ok := deadSeq(q.After)
		if !ok {
			return nil, nil
		}
		before = seq
	}
	// A list of IDs is looked up one by one, everything else is one walk.
	ranges := [][2]int64{{math.MinInt64, before}}
	if len(q.IDs) > 0 {
		ranges = ranges[:0]
		for _, seq := range deadSeqs(q.IDs) {
			if seq < before {
				ranges = append(ranges, [2]int64{seq - 1, seq + 1})
			}
		}
	}
	reason := strings.ToLower(q.Reason)
	var out []engine.Dead
	for _, r := range ranges {
		s, ok, err := c.query(`SELECT seq, reason, at, kind, lane, id, channel, replay, attempt, pushed, history, meta, body FROM dead
			WHERE seq > ?1 AND seq < ?2 AND at >= ?3 AND at <= ?4
			AND (?5 = 0 OR kind = ?5) AND (?6 = '' OR lane = ?6) AND (?7 = '' OR channel = ?7)
			ORDER BY seq DESC`, r[0], r[1], from, until, int64(q.Kind), q.Lane, q.Channel)
		for ; ok && err == nil; ok, err = s.step() {
			if err := ctx.Err(); err != nil || len(out) == q.Max {
				s.reset()
				return out, err
			}
			d := engine.Dead{Reason: s.text(1)}
			if !strings.Contains(strings.ToLower(d.Reason), reason) {
				continue
			}
			d.ID = strconv.FormatInt(s.int(0), 10)
			d.At = e.clock.toWall(s.int(2))
			d.Lane = engine.Lane{Kind: s.kind(3), Name: s.text(4)}
			d.Event = &engine.Event{ID: s.text(5), Channel: s.text(6), Replay: s.text(7), Meta: s.bytes(11), Body: s.bytes(12)}
			d.Attempt = int(s.int(8))
			d.Age = since(s.int(9), now)
			d.History = s.bytes(10)
			out = append(out, d)
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// deadSeq is the key of a dead letter's row.
func deadSeq(id string) (int64, bool) {
	seq, err := strconv.ParseInt(id, 10, 64)
	return seq, err == nil && seq > 0 && strconv.FormatInt(seq, 10) == id
}

// deadSeqs returns the keys for those IDs that can be some, each once, the
// newest first.
func deadSeqs(ids []string) []int64 {
	seqs := make([]int64, 0, len(ids))
	for _, id := range ids {
		if seq, ok := deadSeq(id); ok {
			seqs = append(seqs, seq)
		}
	}
	slices.Sort(seqs)
	seqs = slices.Compact(seqs)
	slices.Reverse(seqs)
	return seqs
}

// Redrive implements engine.DeadLetters.
func (e *Engine) Redrive(ctx context.Context, ids []string) (int, error) {
	seqs, found := deadSeqs(ids), 0
	slices.Reverse(seqs) // the oldest is handed out first
	err := e.do(ctx, "redrive", &op{weight: 4 * len(seqs), run: func(w *writer) error {
		found = 0
		for _, seq := range seqs {
			ok, err := w.redrive(seq)
			if err != nil {
				return err
			}
			if ok {
				found++
			}
		}
		return nil
	}})
	if err != nil {
		return 0, err
	}
	return found, nil
}

func (w *writer) redrive(dead int64) (bool, error) {
	s, ok, err := w.c.query("SELECT kind, lane, id, channel, replay, pushed, history, meta, body FROM dead WHERE seq = ?1", dead)
	if err != nil || !ok {
		return false, err
	}
	key := engine.Lane{Kind: s.kind(0), Name: s.text(1)}
	event := &engine.Event{ID: s.text(2), Channel: s.text(3), Replay: s.text(4), Meta: s.bytes(7), Body: s.bytes(8)}
	pushed, history := s.int(5), s.bytes(6)
	s.reset()
	l, err := w.makeLane(key)
	if err != nil {
		return false, err
	}
	b := &jobBatch{events: []newEvent{{event: event, fresh: 1}}}
	if err := w.insertEvents(b); err != nil {
		return false, err
	}
	_, err = w.c.run(`INSERT INTO jobs (lane, due, seq, token, claims, attempt, shared, pushed, history) VALUES (?1, ?2, ?3, 0, 0, 0, 0, ?4, ?5)`,
		l.id, w.now, b.events[0].seq, pushed, history)
	if err != nil {
		return false, err
	}
	w.dueAt(l, w.now, true)
	w.counts.add(l.id, 1)
	// It is a job again, so pushing it is a no-op again.
	id := w.e.identify(event)
	if err := w.keep(&id, l.id); err != nil {
		return false, err
	}
	_, err = w.deleteDead(dead)
	return true, err
}

func (w *writer) deleteDead(seq int64) (rows int, err error) {
	rows, err = w.c.run("DELETE FROM dead WHERE seq = ?1", seq)
	if w.dead >= 0 {
		w.dead -= rows
	}
	return rows, err
}

// Discard implements engine.DeadLetters.
func (e *Engine) Discard(ctx context.Context, ids []string) (int, error) {
	seqs, found := deadSeqs(ids), 0
	err := e.do(ctx, "discard", &op{weight: len(seqs), run: func(w *writer) error {
		found = 0
		for _, seq := range seqs {
			n, err := w.deleteDead(seq)
			if err != nil {
				return err
			}
			found += n
		}
		return nil
	}})
	if err != nil {
		return 0, err
	}
	return found, nil
}
