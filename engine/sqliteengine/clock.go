package sqliteengine

import (
	"sync"
	"time"
)

// The store's clock runs evenly. It is wall time plus an offset in the file;
// when wall time jumps, the offset takes the jump up.
//
// A process sees a jump in that wall time and its own monotonic time disagree
// between two looks. From then on its own clock is right; the next transaction
// writes the new offset, unless another process was first. Which of two
// processes is right the file decides: clock_jumps counts the changes of the
// offset, and clock_at is a time that the clock has shown, at most markEvery
// ago as long as there are transactions.
//
// A file that nobody has open has no clock: what wall time says then is how
// long the file was closed, save that the clock never goes back. A process that
// starts beside others learns the time from them, see asktime.go.

const (
	// tolerance is the largest disagreement that is no jump.
	tolerance = int64(10 * time.Second / time.Microsecond)
	// markEvery is how often clock_at is written.
	markEvery = tolerance
	// lookEvery is how often an idle writer looks at the clock, and whether
	// another process asks for the time.
	lookEvery = 250 * time.Millisecond
)

// clockRow is what the file says of the clock.
type clockRow struct {
	offset, jumps, at int64
}

// clock is the store's clock as a process has it. All times are microseconds.
type clock struct {
	read func() (wall time.Time, mono time.Duration)

	mu     sync.Mutex
	offset int64    // what is added to wall time
	wall   int64    // of the last look
	mono   int64    // of the last look
	file   clockRow // as of the last transaction
	agreed int64    // when that was, by mono
}

func newClock(read func() (wall time.Time, mono time.Duration)) *clock {
	if read == nil {
		start := time.Now()
		read = func() (time.Time, time.Duration) {
			now := time.Now()
			return now, now.Sub(start)
		}
	}
	c := &clock{read: read}
	c.wall, c.mono = c.sample()
	return c
}

func (c *clock) sample() (wall, mono int64) {
	w, m := c.read()
	return w.UnixMicro(), m.Microseconds()
}

// now is the time.
func (c *clock) now() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.look()
}

func (c *clock) look() int64 {
	wall, mono := c.sample()
	if c.jump(wall, mono) != 0 {
		// The process may have been stopped between reading the two.
		wall, mono = c.sample()
		c.offset -= c.jump(wall, mono)
	}
	c.wall, c.mono = wall, mono
	return wall + c.offset
}

// jump is by how much wall time has jumped since the last look.
func (c *clock) jump(wall, mono int64) int64 {
	if d := (wall - c.wall) - (mono - c.mono); !near(d, 0) {
		return d
	}
	return 0
}

// jumped reports whether there was a jump that the file does not know of.
func (c *clock) jumped() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.look()
	return c.offset != c.file.offset
}

// adopt has the clock show what wall time and the row say. What wall time has
// done before is none of its business: whoever had the clock saw it.
func (c *clock) adopt(row clockRow) {
	c.look()
	c.offset = row.offset
}

// agreesWith reports whether wall time has not jumped since the row was
// written, as far as somebody can tell who has just come. Zero is no time.
func (c *clock) agreesWith(row clockRow) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adopt(row)
	return row.at == 0 || near(c.wall+c.offset, row.at)
}

// shows reports whether at is what the clock shows.
func (c *clock) shows(at int64) bool { return near(c.now(), at) }

// start takes the clock over from whoever had the file open before: it goes
// on from where wall time and the row say, but not back. Like agree, it returns
// what the row is to be.
func (c *clock) start(row clockRow) (now int64, _ clockRow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.adopt(row)
	if now = c.wall + c.offset; now < row.at-tolerance {
		return row.at, c.set(row.at, row)
	}
	return now, row
}

// agree brings the clock and the row together, at the beginning of a
// transaction. Where they differ, the row is right unless wall time has jumped
// since it was written.
func (c *clock) agree(row clockRow) (now int64, _ clockRow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	here := c.look()
	now = c.wall + row.offset
	if row.jumps == c.file.jumps {
		// Nobody has changed the offset; but others may have seen the clock go
		// on while this machine, or process, stood still.
		if here = max(here, row.at); !near(now, here) {
			return here, c.set(here, row)
		}
	} else if !near(now, here) {
		// The clock showed row.at at some moment since the last transaction.
		// If what it shows here fits, there was another jump. If not, the other
		// process is right, and it was that process that saw more than this one.
		lo, hi := row.at, row.at+c.mono-c.agreed
		if fits := min(max(here, lo), hi); fits == here || now < lo-tolerance || now > hi+tolerance {
			return fits, c.set(fits, row)
		}
	}
	c.offset = row.offset
	return now, row
}

func near(a, b int64) bool { return a-b <= tolerance && b-a <= tolerance }

// set makes the clock show now and returns the row that says so.
func (c *clock) set(now int64, row clockRow) clockRow {
	c.offset = now - c.wall
	return clockRow{offset: c.offset, jumps: row.jumps + 1, at: now}
}

// committed notes that the file has the row.
func (c *clock) committed(row clockRow) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.file, c.agreed = row, c.mono
}

// fromWall and toWall turn a moment of wall time into one of the clock, and
// back, as if wall time had always been what it is now.
func (c *clock) fromWall(t time.Time) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return t.UnixMicro() + c.offset
}

func (c *clock) toWall(t int64) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.UnixMicro(t - c.offset)
}

// since is how long ago t was.
func since(t, now int64) time.Duration {
	return time.Duration(max(0, now-t)) * time.Microsecond
}

// tellTime sets the time of a transaction, and writes what others must know of
// the clock.
func (w *writer) tellTime() error {
	c, row := w.e.clock, w.time
	if w.started {
		w.now, row = c.agree(w.time)
	} else {
		w.now, row = c.start(w.time)
		w.started = true
	}
	if w.now-row.at >= markEvery {
		row.at = w.now
	}
	if row == w.time {
		return nil
	}
	if row.jumps != w.time.jumps {
		w.e.log.Warn("wall time has jumped; what waits does so by a clock that has not", "file", w.e.path,
			"by", time.Duration(w.time.offset-row.offset)*time.Microsecond)
	}
	w.time = row
	_, err := w.c.run("UPDATE state SET clock_offset = ?1, clock_jumps = ?2, clock_at = ?3", row.offset, row.jumps, row.at)
	return err
}
