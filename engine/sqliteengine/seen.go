package sqliteengine

import (
	"math"
	"time"

	"github.com/watermarkchurch/toot-go/engine/internal/identity"
)

// The dedupe window. Which job was pushed is remembered in two tables, of
// which one (the generation) is written. Once a window has passed, the other
// one, by then at least a window old, is emptied and written from then on.
// So a job is remembered for one to two windows, and forgetting costs next to
// nothing: a DELETE without condition does not look at the rows.
//
// A job that is still there must be remembered longer. Before a table is
// emptied, the jobs that only it may know are copied to the other one
// ("carried"), a limited number in each transaction. The walk goes by the key
// of jobs, under which a job may move from ahead of it to behind it; so
// whoever moves a job while a walk is under way carries it himself.

// seenState is what the writer remembers of it.
type seenState struct {
	gen      int64 // the table written: seen0 or seen1
	start    int64 // since when
	old      bool  // whether the other table has rows
	rows     bool  // whether the table written has rows
	carrying bool
	lane     int64 // how far the walk is
	due, seq int64
	oldKeys  int64 // see oldkeys.go
}

// carryChunk is how many jobs a transaction looks at for carrying.
const carryChunk = 2000

func (w *writer) window() int64 { return max(1, w.retention.Dedupe.Microseconds()) }

// untilRotation is how long there is nothing to rotate or carry.
func (w *writer) untilRotation(now int64) time.Duration {
	s := &w.seen
	switch {
	case !w.stateKnown || !s.old && !s.rows && !s.carrying:
		return time.Hour
	case s.carrying:
		return 0
	}
	return time.Duration(s.start+w.window()-now) * time.Microsecond
}

// rotate does what is due: it is part of every transaction's beginning.
func (w *writer) rotate() error {
	s := &w.seen
	window := w.window()
	if !s.old && !s.rows && !s.carrying {
		// Nothing is remembered: the window begins with what follows. The
		// row is written together with the first job's.
		if s.start+window <= w.now || s.start > w.now {
			s.start = w.now
			if _, err := w.c.run("UPDATE state SET gen_start = ?1", s.start); err != nil {
				return err
			}
		}
		return nil
	}
	if s.start > w.now+window { // the clock was set back
		s.start = w.now
	}
	for s.start+window <= w.now || s.carrying {
		done, err := w.carry()
		if err != nil || !done {
			return err
		}
		table := s.table(1 - s.gen)
		if _, err := w.c.run("DELETE FROM " + table); err != nil {
			return err
		}
		s.gen, s.carrying = 1-s.gen, false
		s.old, s.rows = s.rows, false
		s.start = max(s.start+window, w.now-window)
		s.oldKeys = max(s.oldKeys-1, 0)
		_, err = w.c.run("UPDATE state SET gen = ?1, gen_start = ?2, carry_lane = NULL, old_keys = ?3", s.gen, s.start, s.oldKeys)
		if err != nil {
			return err
		}
		if err := w.dropIdleLanes(); err != nil {
			return err
		}
	}
	return nil
}

func (s *seenState) table(gen int64) string {
	if gen == 0 {
		return "seen0"
	}
	return "seen1"
}

// carry walks on and reports whether the walk is over.
func (w *writer) carry() (done bool, err error) {
	s := &w.seen
	if !s.carrying {
		s.carrying, s.lane, s.due, s.seq = true, 0, math.MinInt64, 0
	}
	q, ok, err := w.c.query(`SELECT j.lane, j.due, j.seq, e.id IS NOT NULL, e.channel, e.id, e.replay
		FROM (SELECT lane, due, seq, pushed FROM jobs WHERE (lane, due, seq) > (?1, ?2, ?3) ORDER BY lane, due, seq LIMIT ?4) j
		LEFT JOIN events e ON e.seq = j.seq AND j.pushed < ?5
		ORDER BY j.lane, j.due, j.seq`, s.lane, s.due, s.seq, carryChunk, s.start)
	n := 0
	for ; ok && err == nil; ok, err = q.step() {
		n++
		s.lane, s.due, s.seq = q.int(0), q.int(1), q.int(2)
		if q.int(3) == 1 {
			id := identity.Of(&w.e.salt, q.text(4), q.text(5), q.text(6))
			if err := w.keep(&id, s.lane); err != nil {
				q.reset()
				return false, err
			}
		}
	}
	if err != nil {
		return false, err
	}
	if n == carryChunk {
		_, err = w.c.run("UPDATE state SET carry_lane = ?1, carry_due = ?2, carry_seq = ?3", s.lane, s.due, s.seq)
		return false, err
	}
	return true, nil
}

// moved is to be called for each job whose key changes.
func (w *writer) moved(id *identity.Identity, lane int64) error {
	if !w.seen.carrying {
		return nil
	}
	return w.keep(id, lane)
}

// keep records a job in the table that is written, whether or not the other
// one has it.
func (w *writer) keep(id *identity.Identity, lane int64) error {
	sql := "INSERT OR IGNORE INTO seen0 VALUES (?1)"
	if w.seen.gen == 1 {
		sql = "INSERT OR IGNORE INTO seen1 VALUES (?1)"
	}
	w.seen.rows = true
	_, err := w.c.run(sql, identity.AppendKey(nil, id, lane))
	return err
}

// dropIdleLanes forgets lanes that have been without jobs for so long that
// seen does not refer to them either.
func (w *writer) dropIdleLanes() error {
	if err := w.flushLanes(); err != nil {
		return err
	}
	_, err := w.c.run(`DELETE FROM lanes WHERE next = ?1 AND deferred <= ?2 AND idle < ?3
		AND NOT EXISTS (SELECT 1 FROM jobs WHERE lane = lanes.id)`, int64(never), w.now, w.now-4*w.window())
	if err != nil {
		return err
	}
	if _, err := w.c.run("DELETE FROM counts WHERE jobs = 0 OR lane NOT IN (SELECT id FROM lanes)"); err != nil {
		return err
	}
	_, err = w.c.run(`UPDATE lanes SET next = ?1, deferred = 0, wake = ?1, idle = ?2
		WHERE next < ?1 AND deferred <= ?2 AND NOT EXISTS (SELECT 1 FROM jobs WHERE lane = lanes.id)`, int64(never), w.now)
	w.lanes.reset()
	return err
}

// remember records one job and reports whether it was new.
func (w *writer) remember(key []byte) (fresh bool, err error) {
	n, err := w.rememberRun(key, len(key))
	return n == 1, err
}

// rememberRun records jobs whose keys, of the same length, lie one behind the
// other, and returns how many were new.
func (w *writer) rememberRun(keys []byte, size int) (int, error) {
	s := &w.seen
	var sql string
	switch {
	case s.gen == 0 && !s.old:
		sql = `INSERT OR IGNORE INTO seen0 SELECT substr(?1, i*?2+1, ?2) FROM nums WHERE i < ?3`
	case s.gen == 1 && !s.old:
		sql = `INSERT OR IGNORE INTO seen1 SELECT substr(?1, i*?2+1, ?2) FROM nums WHERE i < ?3`
	case s.gen == 0:
		sql = `INSERT OR IGNORE INTO seen0 SELECT substr(?1, i*?2+1, ?2) FROM nums WHERE i < ?3
			AND NOT EXISTS (SELECT 1 FROM seen1 WHERE key = substr(?1, i*?2+1, ?2))`
	default:
		sql = `INSERT OR IGNORE INTO seen1 SELECT substr(?1, i*?2+1, ?2) FROM nums WHERE i < ?3
			AND NOT EXISTS (SELECT 1 FROM seen0 WHERE key = substr(?1, i*?2+1, ?2))`
	}
	s.rows = true
	return w.c.run(sql, keys, size, len(keys)/size)
}

// rememberAll records the jobs that wanted names, in order, and reports each
// that was there already to known.
func (w *writer) rememberAll(n int, wanted func(i int) (id *identity.Identity, lane int64, ok bool), known func(i int)) error {
	keys, size, rows := w.keys[:0], 0, 0
	defer func() { w.keys = keys[:0] }()
	flush := func() error {
		if rows == 0 {
			return nil
		}
		fresh, err := w.rememberRun(keys, size)
		if err == nil && fresh != rows {
			err = errCareful
		}
		keys, rows = keys[:0], 0
		return err
	}
	for i := range n {
		id, lane, ok := wanted(i)
		if !ok {
			continue
		}
		if w.careful {
			keys = identity.AppendKey(keys[:0], id, lane)
			fresh, err := w.remember(keys)
			if err != nil {
				return err
			}
			if !fresh {
				known(i)
			}
			continue
		}
		before := len(keys)
		keys = identity.AppendKey(keys, id, lane)
		if l := len(keys) - before; l != size || rows == bulk {
			// The run ends before this key.
			last := append([]byte(nil), keys[before:]...)
			keys = keys[:before]
			if err := flush(); err != nil {
				return err
			}
			keys, size = append(keys, last...), l
		}
		rows++
	}
	return flush()
}
