package redisengine

import (
	"context"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// The store's clock is the server's plus an offset that is kept beside the
// jobs, one for each shard, since each may be on a server of its own. Every
// script is told what time its caller expects, by its own monotonic clock since
// an answer before. If that is wrong by more than jump the script does nothing,
// and the caller finds out here what has happened.

const (
	// jump is from when on a difference is no inaccuracy any more.
	// lua/lib.lua knows it, too.
	jump = 10_000_000
	// prompt is how fast an answer should be from which the clock is set: so
	// exactly is it known when it was given.
	prompt = 1_000_000
)

// clock is what this process knows of a queue's time, all in microseconds.
type clock struct {
	offset atomic.Int64 // between the queue's time and monotonic
	// When that was found out, by monotonic and by the wall clock.
	heard, heardWall atomic.Int64

	mu sync.Mutex // held by who finds out about a jump
}

var processStart = time.Now()

// monotonic is the time of this process, which never jumps.
func monotonic() int64 { return time.Since(processStart).Microseconds() }

// now is what the queue's clock says, as this process reckons.
func (c *clock) now() int64 { return monotonic() + c.offset.Load() }

// note notes that the queue's clock said now at some time between sent and this
// moment. What was known before is corrected as far as it cannot be true.
func (c *clock) note(now, sent int64) {
	t := time.Now()
	received := t.Sub(processStart).Microseconds()
	known := c.offset.Load()
	if right := min(max(known, now-received), now-sent); right != known {
		c.offset.Store(right)
	}
	c.heard.Store(received)
	c.heardWall.Store(t.UnixMicro())
}

// set notes what the queue's clock said, whatever was known before.
func (c *clock) set(found *seen) {
	c.offset.Store(found.now() - (found.sent+found.received)/2)
}

// fresh tells whether the time was heard of within the last second, by either
// clock of this process: one of them stands still while the machine sleeps.
func (c *clock) fresh() bool {
	const second = 1_000_000
	t := time.Now()
	byWall := t.UnixMicro() - c.heardWall.Load()
	return c.heard.Load() != 0 && t.Sub(processStart).Microseconds()-c.heard.Load() < second && byWall < second && byWall > -second
}

// seen is what the server says of a queue's clock.
type seen struct {
	sent, received int64 // by monotonic
	server         int64 // its time
	offset         int64
	noted          int64 // the queue's time when somebody called before
}

func (s *seen) now() int64 { return s.server + s.offset }

// lookAtClock asks for a queue's time, as exactly as it can be had. It moves the
// offset first if move is not 0, and if nobody has moved it since before.
func (e *Engine) lookAtClock(ctx context.Context, s *shard, move int64, before seen) (found seen, err error) {
	const tries = 3
	args := append(reserve(nil), "", "")
	if move != 0 {
		args[reserved], args[reserved+1] = strconv.FormatInt(move, 10), strconv.FormatInt(before.offset, 10)
	}
	for range tries {
		var a answer
		err := e.try(ctx, func(ctx context.Context) (err error) {
			found.sent = monotonic()
			a, err = e.run(ctx, clockScript, s.fixed, args)
			found.received = monotonic()
			return err
		})
		if err != nil {
			return found, err
		}
		found.server, found.offset, found.noted = a.now, a.int(1), a.int(2)
		if a.err != nil || move != 0 || found.received-found.sent <= prompt {
			return found, a.err
		}
	}
	return found, nil
}

// startClock is called before anything else is. A process that begins has
// nothing to compare the time with but what was noted last. If that was long
// ago the clock may have jumped while others are at work: they are told to look,
// so that they take the jump up before this process makes it everybody's time.
func (e *Engine) startClock(ctx context.Context, s *shard) error {
	found, err := e.lookAtClock(ctx, s, 0, seen{})
	if err != nil {
		return err
	}
	if found.noted > 0 && found.now() > found.noted+jump && !s.former {
		if e.askOthers(ctx) {
			const patience = 250 * time.Millisecond
			select {
			case <-time.After(patience):
			case <-ctx.Done():
				return context.Cause(ctx)
			}
		}
		if found, err = e.lookAtClock(ctx, s, 0, seen{}); err != nil {
			return err
		}
	}
	s.clock.set(&found)
	if found.noted > found.now()+jump && !s.former {
		return e.settleClock(ctx, s)
	}
	return nil
}

// settleClock finds out why a script was refused for the time. Afterwards the
// offset has taken up what was a jump, and this process knows the time.
func (e *Engine) settleClock(ctx context.Context, s *shard) error {
	s.clock.mu.Lock()
	defer s.clock.mu.Unlock()
	found, err := e.lookAtClock(ctx, s, 0, seen{})
	for err == nil {
		move := s.clock.jumped(&found)
		if move == 0 {
			s.clock.set(&found)
			return nil
		}
		e.log.Warn("toot: the clock of the Redis server has jumped; what waits and what is leased stays as it was", "by", (time.Duration(-move) * time.Microsecond).Round(time.Millisecond))
		if found, err = e.lookAtClock(ctx, s, move, found); err == nil {
			found, err = e.lookAtClock(ctx, s, 0, seen{})
		}
	}
	return err
}

// jumped tells by how much the offset has to be moved for the queue's time to be
// what it must be; 0 if it is.
func (c *clock) jumped(found *seen) int64 {
	first, last := c.offset.Load()+found.sent, c.offset.Load()+found.received
	now := found.now()
	switch {
	case found.noted > now+jump:
		// It was later already, for somebody. If this process knows, it knows
		// better, as that may have been a while ago.
		return max(found.noted, last) - now
	case now < first-jump:
		return last - now
	case now > last+jump && found.noted < now-jump:
		return first - now
	}
	// This process waited for an answer or slept, while others were at work by
	// that time; or somebody has taken the jump up.
	return 0
}

// askOthers makes the other processes call the server, and reports whether there
// may be some.
func (e *Engine) askOthers(ctx context.Context) bool {
	told := "123"
	n, err := e.client.Do(ctx, e.client.B().Publish().Channel(e.watch.channel).Message(e.watch.sender+" "+told).Build()).AsInt64()
	return err == nil && n > 0
}

// storeTime is the time by which registrations and attributes begin and end:
// that of the first shard.
func (e *Engine) storeTime(ctx context.Context) (int64, error) {
	s := e.shards[0]
	if !s.clock.fresh() {
		if _, err := e.exec(ctx, s, timeScript, nil, reserve(nil)); err != nil {
			return 0, err
		}
	}
	return s.clock.now(), nil
}
