package sqliteengine

import (
	"maps"
	"time"
)

// counts holds how many jobs each lane has, so that nobody has to count them.
// To write it with every job would cost as much as the job. So a process adds
// up what changes, and writes it every few seconds; what was pushed and settled
// meanwhile, as most jobs are, is not written at all.
//
// A process notes in its row of owners since when it owes changes. One that
// owes them for too long has died, and all lanes are counted anew, by the next
// that opens the file alone or is asked for a page. Each recount has a number:
// a process that was taken for dead learns from it that what it owed has been
// counted.

const (
	// owedFor is for how long a process keeps changes to itself.
	owedFor = 3 * time.Second
	// owedTooLong is when it has died.
	owedTooLong = 20 * time.Second
	// maxOwed is for how many lanes changes are kept.
	maxOwed = 16 << 10
)

// counts is what the writer owes.
type counts struct {
	now      []countChange   // by the current transaction
	owed     map[int64]int64 // by those before
	since    int64           // as the row of owners says; 0: nothing is owed
	recounts int64           // the number of the recount since which it is owed

	// Of the current transaction: whether it has written what is owed, and
	// what since and recounts are once it is committed.
	paid                    bool
	nextSince, nextRecounts int64
}

type countChange struct{ lane, jobs int64 }

// add notes that a lane has so many jobs more.
func (c *counts) add(lane int64, jobs int) {
	n := int64(jobs)
	if last := len(c.now) - 1; last >= 0 && c.now[last].lane == lane {
		c.now[last].jobs += n
		return
	}
	c.now = append(c.now, countChange{lane, n})
}

// valid forgets what is owed if all lanes have been counted since.
func (c *counts) valid(recounts int64) {
	if c.recounts != recounts {
		c.recounts, c.since = recounts, 0
		clear(c.owed)
	}
}

// begin is the beginning of a transaction.
func (c *counts) begin() {
	c.now, c.paid, c.nextSince, c.nextRecounts = c.now[:0], false, c.since, c.recounts
}

// committed is its end, unless it has failed.
func (c *counts) committed() {
	c.since, c.recounts = c.nextSince, c.nextRecounts
	if c.paid {
		clear(c.owed)
	}
	c.merge()
}

// merge adds the changes of the current transaction to those before.
func (c *counts) merge() {
	if c.owed == nil && len(c.now) > 0 {
		c.owed = map[int64]int64{}
	}
	for _, d := range c.now {
		if n := c.owed[d.lane] + d.jobs; n != 0 {
			c.owed[d.lane] = n
		} else {
			delete(c.owed, d.lane)
		}
	}
	c.now = c.now[:0]
}

// untilDue is how long an idle writer may keep it.
func (c *counts) untilDue(now int64) time.Duration {
	if c.since == 0 {
		return time.Hour
	}
	return time.Duration(c.since-now)*time.Microsecond + owedFor
}

// keepCounts is the end of every transaction.
func (w *writer) keepCounts() error {
	c := &w.counts
	switch {
	case c.nextSince > 0 && (w.now-c.nextSince >= owedFor.Microseconds() || len(c.owed) > maxOwed):
		return w.payCounts()
	case c.nextSince == 0 && len(c.now) > 0:
		return w.owe(w.now)
	}
	return nil
}

// owe notes in the file since when changes are owed.
func (w *writer) owe(since int64) error {
	w.counts.nextSince = since
	_, err := w.c.run("INSERT INTO owners (id, uncounted) VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET uncounted = excluded.uncounted", w.owner, since)
	return err
}

// payCounts writes what is owed.
func (w *writer) payCounts() error {
	c := &w.counts
	total := map[int64]int64{}
	if !c.paid {
		maps.Copy(total, c.owed)
	}
	for _, d := range c.now {
		total[d.lane] += d.jobs
	}
	for lane, n := range total {
		if n == 0 {
			continue
		}
		if _, err := w.c.run(`INSERT INTO counts (lane, jobs) VALUES (?1, ?2)
			ON CONFLICT (lane) DO UPDATE SET jobs = jobs + excluded.jobs`, lane, n); err != nil {
			return err
		}
	}
	c.now, c.paid = c.now[:0], true
	if c.nextSince == 0 {
		return nil
	}
	return w.owe(0)
}

// settleCounts makes counts right: it writes what this process owes, and counts
// anew if another has died owing something.
func (w *writer) settleCounts() error {
	dead, err := w.oweTooLong()
	if err != nil {
		return err
	}
	if dead {
		return w.recount()
	}
	return w.payCounts()
}

// countsSettled reports whether settleCounts would have nothing to do.
func (w *writer) countsSettled() (bool, error) {
	if err := w.refresh(); err != nil || w.counts.since > 0 {
		return false, err
	}
	dead, err := w.oweTooLong()
	return !dead, err
}

func (w *writer) oweTooLong() (bool, error) {
	q, _, err := w.c.query("SELECT EXISTS (SELECT 1 FROM owners WHERE uncounted > 0 AND uncounted < ?1)", w.now-owedTooLong.Microseconds())
	if err != nil {
		return false, err
	}
	defer q.reset()
	return q.int(0) == 1, nil
}

// recount counts the jobs of all lanes.
func (w *writer) recount() error {
	for _, sql := range []string{
		"DELETE FROM counts",
		"INSERT INTO counts SELECT lane, count(*) FROM jobs GROUP BY lane",
		"UPDATE owners SET uncounted = 0",
		"UPDATE state SET recounts = recounts + 1",
	} {
		if _, err := w.c.run(sql); err != nil {
			return err
		}
	}
	c := &w.counts
	c.now, c.paid, c.nextSince = c.now[:0], true, 0
	c.nextRecounts++
	return nil
}
