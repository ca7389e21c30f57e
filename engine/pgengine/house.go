package pgengine

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// What an engine that works does beside its calls. Each second it asks the server
// for the time, and what is due; every few seconds it says that it is there. One of
// all that are there is the keeper, who does what is to be done for all.

const (
	// pulseEvery is how often the server is asked.
	pulseEvery = time.Second
	// pollEvery is how often it is asked behind a pooler, where there are no
	// notifications, for pollFor after something was there to be done.
	pollEvery = 100 * time.Millisecond
	pollFor   = 5 * time.Second
	// keeperFor is for how long a keeper is one without saying so again.
	keeperFor = 10 * time.Second
	// deadAfter is when a process that has said nothing is taken for dead.
	deadAfter = time.Minute
)

// house is what an engine knows of those that share the store.
type house struct {
	others atomic.Bool   // other engines are there
	keeper atomic.Bool   // this one is the keeper
	old    atomic.Bool   // the schema needs a newer version of this program, which has been said
	noted  atomic.Int64  // when this engine last said hello, by monotonic; 0: never
	busy   atomic.Int64  // when something was last there to be done, by monotonic
	poke   chan struct{} // the keeper has something to do

	// Of the last pulse, for the keeper:
	gen, genStart atomic.Int64
	dedupe        atomic.Int64 // the window in microseconds
	lowFloors     atomic.Bool  // there are lanes whose next may be too low
	uncounted     atomic.Bool  // there is something in counts
}

// pulse asks again and again until ctx ends.
func (e *Engine) pulse(ctx context.Context) {
	for ctx.Err() == nil {
		if err := e.beat(ctx); err != nil && ctx.Err() == nil {
			e.report("asking for the time and for work did not work; it is tried again", err)
		}
		every := pulseEvery
		if e.pooled && monotonic()-e.house.busy.Load() < pollFor.Microseconds() {
			every = pollEvery
		}
		sleep(ctx, every)
	}
}

// report tells of an error of what goes on beside the calls: of an outage, calls tell
// themselves.
func (e *Engine) report(what string, err error) {
	level := slog.LevelWarn
	if passing(err) {
		level = slog.LevelDebug
	}
	e.log.Log(context.Background(), level, "pgengine: "+what, "error", err)
}

// beat is one pulse.
func (e *Engine) beat(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, quick)
	defer cancel()
	found, due, others, needs := seen{sent: monotonic()}, []int16{}, 0, 0
	var gen, genStart int64
	var dedupe *int64
	var low, uncounted bool
	err := e.pool.QueryRow(ctx, e.sql(`SELECT CLOCK, s.clock_offset, s.clock_noted, s.needs, s.gen, s.gen_start, s.dedupe,
			EXISTS (SELECT 1 FROM toot.lanes WHERE next < $2::bigint - 1000000), EXISTS (SELECT 1 FROM toot.counts),
			(SELECT count(*) FROM toot.processes WHERE id <> $1),
			ARRAY(SELECT DISTINCT l.kind FROM toot.lanes l WHERE l.next <= $2 AND l.deferred <= $2
				AND EXISTS (SELECT 1 FROM toot.jobs j WHERE j.lane = l.id AND j.due >= l.next AND j.due <= $2))
		FROM toot.state s WHERE s.id = 1`), e.mode, e.id, e.now()).Scan(&found.server, &found.offset, &found.noted, &needs, &gen, &genStart, &dedupe, &low, &uncounted, &others, &due)
	if err != nil {
		return err
	}
	found.received = monotonic()
	e.clock.mu.Lock()
	err = e.heardTime(ctx, found)
	e.clock.mu.Unlock()
	if err != nil {
		return err
	}
	if needs > len(e.migrations) && !e.house.old.Swap(true) {
		e.log.Error("pgengine: restart this program with a newer version", "error", e.tooOld(needs))
	}
	h := &e.house
	h.others.Store(others > 0)
	h.gen.Store(gen)
	h.genStart.Store(genStart)
	h.lowFloors.Store(low)
	h.uncounted.Store(uncounted)
	h.dedupe.Store(window(dedupe))
	k := kinds(0)
	for _, kind := range due {
		k |= kindOf(engine.Kind(kind)) //nolint:gosec // written as one
	}
	if k != 0 {
		e.house.busy.Store(monotonic())
		e.wake(k)
	}
	signal(e.house.poke)
	if last := e.house.noted.Load(); last != 0 && monotonic()-last < noteEvery.Microseconds() {
		return nil
	}
	return e.sayHello(ctx)
}

// sayHello writes down that this engine is there and what time it is, and finds
// out who the keeper is.
func (e *Engine) sayHello(ctx context.Context) error {
	var keeper bool
	err := e.pool.QueryRow(ctx, e.sql(`WITH p AS (INSERT INTO toot.processes AS p (id, seen) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET seen = $2),
		gone AS (DELETE FROM toot.processes WHERE seen < $4)
		UPDATE toot.state SET clock_noted = GREATEST(clock_noted, $2), gen_start = CASE WHEN gen_start = 0 THEN $2 ELSE gen_start END,
			keeper = CASE WHEN keeper_until <= $2 THEN $1 ELSE keeper END,
			keeper_until = CASE WHEN keeper = $1 OR keeper_until <= $2 THEN $3 ELSE keeper_until END
		WHERE id = 1 RETURNING COALESCE(keeper = $1, false)`),
		e.mode, e.id, e.now(), e.now()+keeperFor.Microseconds(), e.now()-deadAfter.Microseconds()).Scan(&keeper)
	if err != nil {
		return err
	}
	e.house.noted.Store(monotonic())
	e.house.keeper.Store(keeper)
	return nil
}

// beginWork is before the first claim of an engine: whoever opens the store after it
// must find out that it is there.
func (e *Engine) beginWork(ctx context.Context) error {
	if e.house.noted.Load() == 0 {
		if err := e.sayHello(ctx); err != nil {
			return err
		}
	}
	e.work()
	return nil
}

// leave takes an engine that is closed off the list.
func (e *Engine) leave() {
	if e.house.noted.Load() == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	_, err := e.pool.Exec(ctx, e.sql(`WITH p AS (DELETE FROM toot.processes WHERE id = $1)
		UPDATE toot.state SET keeper_until = 0 WHERE keeper = $1`), e.mode, e.id)
	if err != nil && !errors.Is(err, context.Canceled) {
		e.log.Debug("pgengine: the store has not learned that this engine was closed", "error", err)
	}
}

// keepHouse does what the keeper does, after each pulse.
func (e *Engine) keepHouse(ctx context.Context) {
	duties := []*duty{
		{name: "raising floors", every: time.Second, most: 8 * time.Second, do: e.raiseFloors},
		{name: "counting jobs", every: time.Second, most: time.Second, do: e.sumCounts},
		{name: "rotating what is remembered", every: time.Second, most: 30 * time.Second, do: e.rotate},
		{name: "vacuuming", every: 5 * time.Second, most: time.Minute, do: e.vacuum},
		{name: "tidying", every: time.Minute, most: time.Minute, do: e.tidy, next: time.Now().Add(time.Minute)},
	}
	for {
		select {
		case <-ctx.Done():
			return
		case <-e.house.poke:
		}
		if !e.house.keeper.Load() {
			continue
		}
		for _, d := range duties {
			e.perform(ctx, d)
		}
	}
}

// duty is something that the keeper does now and then: after every, or up to most
// while there is nothing to be done.
type duty struct {
	name  string
	every time.Duration
	most  time.Duration
	do    func(context.Context) (some bool, err error)
	pause time.Duration
	next  time.Time
}

func (e *Engine) perform(ctx context.Context, d *duty) {
	if time.Now().Before(d.next) || ctx.Err() != nil {
		return
	}
	some, err := d.do(ctx)
	if err != nil && ctx.Err() == nil {
		e.log.Debug("pgengine: "+d.name+" did not work; it is tried again", "error", err)
	}
	d.pause = min(max(2*d.pause, d.every), d.most)
	if some || err != nil {
		d.pause = d.every
	}
	d.next = time.Now().Add(d.pause - 100*time.Millisecond)
}
