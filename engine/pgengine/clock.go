package pgengine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// The store's clock is the server's plus an offset that is kept in the store. Each
// process reckons what it says, by its own monotonic clock since an answer before.
// Statements go by what it says when they run, and are told what is reckoned: if
// that is wrong by more than jump, nothing of them takes effect, and the process
// finds out here what has happened. "NOW" stands for the store's time in statements
// that read the table state.

const (
	// jump is from when on a difference is no inaccuracy any more, in
	// microseconds.
	jump = 10_000_000
	// prompt is how fast an answer should be from which the clock is set: so
	// exactly is it known when it was given.
	prompt = 1_000_000
	// freshFor is for how long the time is reckoned without asking.
	freshFor = 2500 * time.Millisecond
	// noteEvery is how often the time is written down by whoever is at work.
	noteEvery = 4 * time.Second
)

// clock is what this process knows of the store's time, all in microseconds.
type clock struct {
	offset atomic.Int64 // between the store's time and monotonic
	// When that was found out, by monotonic and by the wall clock.
	heard, heardWall atomic.Int64
	doubted          atomic.Bool // somebody was told another time

	mu sync.Mutex // held by who asks for the time
}

var processStart = time.Now()

// monotonic is the time of this process, which never jumps.
func monotonic() int64 { return time.Since(processStart).Microseconds() }

// now is what the store's clock says, as this process reckons.
func (e *Engine) now() int64 { return monotonic() + e.clock.offset.Load() }

// end is when something ends that is kept for d from now; 0, for never, if d is
// not positive.
func end(now int64, d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return now + micros(d)
}

// micros is d in microseconds, rounded up, and not negative.
func micros(d time.Duration) int64 {
	if d <= 0 {
		return 0
	}
	return int64((d-1)/time.Microsecond) + 1
}

// since is how long ago t was.
func since(t, now int64) time.Duration { return time.Duration(max(0, now-t)) * time.Microsecond }

// fresh tells whether the time was heard of lately, by either clock of this
// process: one of them stands still while the machine sleeps.
func (c *clock) fresh() bool {
	t := time.Now()
	byWall := t.UnixMicro() - c.heardWall.Load()
	limit := freshFor.Microseconds()
	return !c.doubted.Load() && c.heard.Load() != 0 && t.Sub(processStart).Microseconds()-c.heard.Load() < limit && byWall < limit && byWall > -limit
}

// seen is what the server says of the clock.
type seen struct {
	sent, received int64 // by monotonic
	server         int64 // its time
	offset         int64
	noted          int64 // the store's time when somebody wrote it down
}

func (s *seen) now() int64 { return s.server + s.offset }

// checkTime holds the store's time of a statement against what this process
// reckons. If they disagree, the statement is to be tried again; before that the
// process finds out what has happened.
func (e *Engine) checkTime(now int64) error {
	if d := now - e.now(); d < jump && d > -jump {
		return nil
	}
	e.clock.doubted.Store(true)
	return errMoved
}

// storeTime asks for the store's time, and for which generation of seen it is.
func (e *Engine) storeTime(ctx context.Context, q querier) (now, gen int64, err error) {
	if err := q.QueryRow(ctx, e.sql("SELECT NOW, gen FROM toot.state"), e.mode).Scan(&now, &gen); err != nil {
		return 0, 0, err
	}
	return now, gen, e.checkTime(now)
}

// keepTime asks for the time unless it was heard of lately.
func (e *Engine) keepTime(ctx context.Context) error {
	if e.clock.fresh() {
		return nil
	}
	return e.askTime(ctx)
}

func (e *Engine) askTime(ctx context.Context) error {
	e.clock.mu.Lock()
	defer e.clock.mu.Unlock()
	if e.clock.fresh() {
		return nil
	}
	found, err := e.lookAtClock(ctx)
	if err != nil {
		return err
	}
	return e.heardTime(ctx, found)
}

// lookAtClock asks for the time, as exactly as it can be had.
func (e *Engine) lookAtClock(ctx context.Context) (found seen, err error) {
	const tries = 3
	for range tries {
		found.sent = monotonic()
		err := e.pool.QueryRow(ctx, e.sql("SELECT CLOCK, clock_offset, clock_noted FROM toot.state"), e.mode).Scan(&found.server, &found.offset, &found.noted)
		found.received = monotonic()
		if err != nil || found.received-found.sent <= prompt {
			return found, err
		}
	}
	return found, nil
}

// heardTime takes over what the server said, after moving the offset if its clock
// has jumped and nobody else has moved it.
func (e *Engine) heardTime(ctx context.Context, found seen) error {
	c := &e.clock
	c.doubted.Store(false)
	for c.heard.Load() != 0 {
		move := c.jumped(&found)
		if move == 0 {
			break
		}
		// The difference may be one of a slow answer, or be over.
		var err error
		if found, err = e.lookAtClock(ctx); err != nil {
			return err
		}
		if move = c.jumped(&found); move == 0 {
			break
		}
		moved, err := e.pool.Exec(ctx, e.sql("UPDATE toot.state SET clock_offset = clock_offset + $1 WHERE clock_offset = $2"), e.mode, move, found.offset)
		if err != nil {
			return err
		}
		if moved.RowsAffected() > 0 {
			e.log.Warn("pgengine: the clock of the PostgreSQL server has jumped; what waits and what is leased stays as it was",
				"by", (time.Duration(-move) * time.Microsecond).Round(time.Millisecond))
		}
		if found, err = e.lookAtClock(ctx); err != nil {
			return err
		}
	}
	c.note(&found)
	return nil
}

// note takes over what the server said. What was known before is corrected as far
// as it cannot be true, unless it is another time altogether.
func (c *clock) note(found *seen) {
	low, high := found.now()-found.received, found.now()-found.sent
	known := c.offset.Load()
	switch {
	case c.heard.Load() == 0 || known < low-jump || known > high+jump:
		c.offset.Store((low + high) / 2)
	case known < low:
		c.offset.Store(low)
	case known > high:
		c.offset.Store(high)
	}
	c.heard.Store(found.received)
	c.heardWall.Store(time.Now().UnixMicro())
}

// jumped tells by how much the offset has to be moved for the store's time to be
// what it must be; 0 if it is.
func (c *clock) jumped(found *seen) int64 {
	first, last := c.offset.Load()+found.sent, c.offset.Load()+found.received
	now := found.now()
	switch {
	case now < first-jump:
		return last - now
	case found.noted > now+jump:
		// It was later already, for somebody. If this process knows, it knows
		// better, as that may have been a while ago.
		return max(found.noted, last) - now
	case now > last+jump && found.noted < now-jump:
		return first - now
	}
	// This process slept while others were at work by that time; or somebody has
	// taken the jump up.
	return 0
}

// startClock is called before anything else is. A process that begins has nothing
// to compare the time with but what was noted last. If that was long ago, or later
// than now, the clock may have jumped while others are at work: they are given the
// time to notice, and to take the jump up, before this process makes it everybody's
// time.
func (e *Engine) startClock(ctx context.Context) error {
	const noticed = 2500 * time.Millisecond // that they ask for the time, which they do each second
	off := func(s *seen) bool {
		return s.noted > 0 && (s.now() > s.noted+jump || s.noted > s.now()+jump)
	}
	found, err := e.lookAtClock(ctx)
	if err != nil {
		return err
	}
	if off(&found) {
		if found, err = e.awaitOthers(ctx, found, off, noticed); err != nil {
			return err
		}
	}
	if found.noted > found.now()+jump {
		// Nobody is there who knows better: the clock does not go back.
		move := found.noted - found.now()
		if _, err := e.pool.Exec(ctx, e.sql("UPDATE toot.state SET clock_offset = clock_offset + $1 WHERE clock_offset = $2"), e.mode, move, found.offset); err != nil {
			return err
		}
		if found, err = e.lookAtClock(ctx); err != nil {
			return err
		}
	}
	e.clock.note(&found)
	return nil
}

// awaitOthers waits until the clock is no longer off, if there are other processes.
// Those that don't notice are dead.
func (e *Engine) awaitOthers(ctx context.Context, found seen, off func(*seen) bool, patience time.Duration) (seen, error) {
	var others bool
	if err := e.pool.QueryRow(ctx, e.sql("SELECT EXISTS (SELECT 1 FROM toot.processes WHERE id <> $1)"), e.mode, e.id).Scan(&others); err != nil || !others {
		return found, err
	}
	for end := time.Now().Add(patience); ; {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return found, ctx.Err()
		}
		var err error
		if found, err = e.lookAtClock(ctx); err != nil || !off(&found) {
			return found, err
		}
		if time.Now().After(end) {
			_, err := e.pool.Exec(ctx, e.sql("DELETE FROM toot.processes WHERE id <> $1"), e.mode, e.id)
			return found, err
		}
	}
}
