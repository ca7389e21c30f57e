package lanes

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// wide returns terms of lanes that need not earn anything.
func wide(atOnce int) func(string) Terms {
	return func(lane string) Terms { return Terms{AtOnce: atOnce, Shown: lane} }
}

// large returns events of a size.
func large(size int, ids ...string) (events []*engine.Event) {
	body := make([]byte, size)
	for _, id := range ids {
		events = append(events, &engine.Event{ID: id, Channel: "a", Body: body})
	}
	return events
}

// depositEvents stores jobs as another process would.
func (w *world) depositEvents(lane string, events ...*engine.Event) {
	w.Helper()
	var jobs []engine.Job
	for _, e := range events {
		jobs = append(jobs, engine.Job{Event: e, Lane: engine.Lane{Kind: testKind, Name: lane}})
	}
	_, err := w.outside.Push(w.Context(), engine.PushRequest{Jobs: jobs})
	must(w, err)
}

// watchRoom returns the most jobs and bytes that a pool is seen to hold.
func watchRoom(w *world, pool *Pool, until time.Duration, done func() bool) (jobs, bytes int) {
	for time.Since(w.began) < until && !done() {
		pool.mu.Lock()
		jobs, bytes = max(jobs, pool.room.held), max(bytes, pool.room.bytes)
		pool.mu.Unlock()
		w.wait(50 * time.Millisecond)
	}
	return jobs, bytes
}

func TestAPoolNeverHoldsMoreJobsThanItHasRoomFor(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, 100*time.Millisecond))
		c.Terms = wide(8192)
		c.Workers = 40000
		p, pool := w.one(c)
		const lanes = 18
		for i := range lanes {
			w.deposit(fmt.Sprint("lane", i), named(fmt.Sprint("job", i, "-"), 1000)...)
		}
		most, _ := watchRoom(w, pool, time.Minute, func() bool { return w.left() == 0 })
		if most > maxHeld || most < maxHeld/2 {
			t.Errorf("held %d jobs, where there is room for %d", most, maxHeld)
		}
		same(t, "stored outcomes", p.engine.done(engine.Done), lanes*1000)
		for _, r := range p.engine.requests() {
			if r.Max < 1 || r.Max > claimMax {
				t.Errorf("a claim of %d", r.Max)
			}
		}
	})
}

// Claims and pushes share the room.
func TestPushesDoNotTakeTheRoomOfAClaimUnderWay(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, time.Minute))
		c.Terms = wide(8192)
		c.Workers = 40000
		p, pool := w.one(c)
		w.at(time.Second)
		p.engine.hook(hooks{claim: func(_ context.Context, _ engine.ClaimRequest, call func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
			res, err := call()
			time.Sleep(3 * time.Second)
			return res, err
		}})
		w.deposit("x", named("x", 2000)...)
		w.at(2 * time.Second)
		var push Push
		for i := range 4 {
			for range maxHeld / 4 {
				push.Add(pool, event("y"), fmt.Sprint("lane", i))
			}
		}
		if n := held(pool); n > maxHeld || n < maxHeld-2*claimMax {
			t.Errorf("held %d", n)
		}
		w.at(10 * time.Second)
		if n := held(pool); n > maxHeld {
			t.Errorf("held %d, where there is room for %d", n, maxHeld)
		}
		push.Cancel()
		w.at(2 * time.Minute)
		same(t, "left in the store", w.left(), 0)
	})
}

func TestAPoolThatIsFullTakesNoReservations(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(nil)
		c.Terms = wide(8192)
		p, pool := w.one(c)
		var push Push
		for i := range 4 {
			for range maxHeld / 4 {
				push.Add(pool, event("y"), fmt.Sprint("lane", i))
			}
		}
		same(t, "held", held(pool), maxHeld)
		w.push(p, pool, "x", "1")
		same(t, "held", held(pool), maxHeld)
		same(t, "waiting in the store", w.stats("x").Waiting, 1)
		w.at(20 * time.Second)
		same(t, "claims of a pool without room", len(p.engine.requests()), 1)
		same(t, "stalled", pool.Stalled(), false)
		push.Cancel()
		w.wait(0)
		w.once([]string{"1"})
	})
}

// A few large claims cost less than many small ones: the pool waits until half
// of it is free, and then does not wait for the next poll.
func TestAPoolThatWasFullGoesOnOnceHalfOfItIsFree(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(nil)
		c.Terms = wide(8192)
		p := w.process()
		p.deaf = true
		pool := p.Add(c)
		p.start()
		var reserved [2]Push
		for i := range maxHeld - claimMax/4 + 1 {
			reserved[min(i/(maxHeld/2), 1)].Add(pool, event("y"), fmt.Sprint("lane", i%4))
		}
		w.deposit("x", "1")
		w.at(7 * time.Second)
		same(t, "claims", len(p.engine.requests()), 1)
		var one Push // so that room comes free to the last job
		one.targets, reserved[0].targets = reserved[0].targets[:1], reserved[0].targets[1:]
		reserved[0].Cancel()
		w.wait(0)
		n := len(p.engine.requests())
		// The claim takes room itself, so that half may be free once more.
		if n < 2 || n > 3 {
			t.Errorf("%d claims once half of the room is free", n)
		}
		w.once([]string{"1"})
		one.Cancel()
		reserved[1].Cancel()
	})
}

func TestAClaimIsNoLargerThanTheRoomForItsJobs(t *testing.T) {
	for _, test := range []struct{ held, bytes, eventBytes, want int }{
		{0, 0, 100, claimMax},
		{maxHeld - 500, 0, 100, 500},
		{maxHeld, 0, 100, 0},
		{0, 0, 1 << 20, 64},
		{0, maxHeldBytes / 2, 1 << 20, 32},
		{0, 0, 0, claimMax},
		{0, maxHeldBytes, 1, 0},
	} {
		r := room{held: test.held, bytes: test.bytes, eventBytes: test.eventBytes}
		same(t, fmt.Sprintf("%+v", r), r.forClaim(), test.want)
	}
}

func TestRoomIsFullAndTightInTime(t *testing.T) {
	for _, test := range []struct {
		held, bytes int
		full, tight bool
	}{
		{0, 0, false, false},
		{maxHeld - claimMax/4, 0, false, false},
		{maxHeld - claimMax/4 + 1, 0, false, true},
		{maxHeld - 1, 0, false, true},
		{maxHeld, 0, true, true},
		{0, maxHeldBytes / 4 * 3, false, false},
		{0, maxHeldBytes/4*3 + 1, false, true},
		{0, maxHeldBytes - 1, false, true},
		{0, maxHeldBytes, true, true},
	} {
		r := room{held: test.held, bytes: test.bytes}
		same(t, fmt.Sprintf("full: %+v", r), !r.hasFor(0) && !r.hasFor(1), test.full)
		same(t, fmt.Sprintf("tight: %+v", r), r.isTight(), test.tight)
	}
}

func TestLargeEventsAreRememberedForAWhile(t *testing.T) {
	r := room{eventBytes: 100}
	r.took(1 << 20)
	same(t, "after a large one", r.eventBytes, 1<<20)
	r.took(100)
	if r.eventBytes < 1<<19 || r.eventBytes >= 1<<20 {
		t.Errorf("after a small one: %d", r.eventBytes)
	}
	for range 200 {
		r.took(100)
	}
	if r.eventBytes < 100 || r.eventBytes > 200 {
		t.Errorf("after 200 small ones: %d", r.eventBytes)
	}
	same(t, "bytes", r.bytes, 1<<20+201*100)
}

func TestAPoolNeverHoldsMoreBytesThanItHasRoomFor(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, 100*time.Millisecond))
		c.Terms = wide(1000)
		c.EventBytes = 1 << 20
		p, pool := w.one(c)
		for i := range 72 {
			w.depositEvents(fmt.Sprint("lane", i%5), large(1<<20, fmt.Sprint("job", i))...)
		}
		_, most := watchRoom(w, pool, time.Minute, func() bool { return w.left() == 0 })
		if most > maxHeldBytes || most < maxHeldBytes/2 {
			t.Errorf("held %d bytes, where there is room for %d", most, maxHeldBytes)
		}
		same(t, "stored outcomes", p.engine.done(engine.Done), 72)
	})
}

// A single call pushes more than there is room for.
func TestPushesNeverTakeMoreBytesThanThereIsRoomFor(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, 100*time.Millisecond))
		c.Terms = wide(1000)
		p, pool := w.one(c)
		w.pushEvents(p, pool, "x", large(1<<20, named("", 70)...)...)
		_, most := watchRoom(w, pool, time.Minute, func() bool { return w.left() == 0 })
		if most > maxHeldBytes || most < maxHeldBytes/2 {
			t.Errorf("held %d bytes, where there is room for %d", most, maxHeldBytes)
		}
		w.once(named("", 70))
	})
}

func TestAPoolThatWasFullOfBytesGoesOnOnceHalfOfThemAreGone(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.lane == "slow" {
				time.Sleep(3 * time.Second)
			}
			return fine
		})
		c.Terms = wide(1000)
		p := w.process()
		p.deaf = true
		pool := p.Add(c)
		p.start()
		w.pushEvents(p, pool, "slow", large(8<<20, named("", 7)...)...)
		w.deposit("x", "y")
		w.at(2 * time.Second)
		pool.Wake()
		w.wait(0)
		same(t, "claims of a pool without room", len(p.engine.requests()), 1)
		w.at(3100 * time.Millisecond)
		same(t, "tried once there is room", w.tries.ids("x"), []string{"y"})
	})
}

// An event larger than all the room there is has to go through all the same.
func TestAnEventThatIsTooLargeForTheRoomIsTriedAlone(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(nil)
		c.EventBytes = 2 * maxHeldBytes
		c.RoundBytes = 1
		p, pool := w.one(c)
		w.deposit("x", "1", "2")
		w.once([]string{"1", "2"})
		w.push(p, pool, "x", "3")
		w.once([]string{"1", "2", "3"})
		for _, r := range p.engine.requests() {
			if r.Max < 1 {
				t.Errorf("a claim of %d", r.Max)
			}
		}
	})
}

// Of a lane a process holds what keeps it busy; the rest another may have.
func TestALaneIsHeldAsFarAsItsCapacity(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(fine, time.Second)))
		w.push(p, pool, "x", named("", 40)...)
		same(t, "capacity", heldOf(pool, "x"), 16)
		same(t, "waiting in the store", w.stats("x").Waiting, 24)
		w.at(3500 * time.Millisecond)
		if n := heldOf(pool, "x"); n > 16 || n < 8 {
			t.Errorf("held %d", n)
		}
		w.at(20 * time.Second)
		w.once(named("", 40))
	})
}

// A claim for a few jobs at a time is not worth it.
func TestALaneIsAskedForOnceHalfOfItsCapacityIsFree(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.deaf = true
		pool := p.Add(w.config(replies(fine, time.Second)))
		p.start()
		w.at(500 * time.Millisecond)
		w.push(p, pool, "x", named("", 40)...)
		w.at(30 * time.Second)
		w.once(named("", 40))
		limits := []int{}
		for _, r := range p.engine.requests() {
			if n, named := r.Limits["x"]; named && n > 0 {
				limits = append(limits, n)
			}
		}
		for _, n := range limits {
			if n < 8 || n > 16 {
				t.Errorf("claimed up to %d", n)
			}
		}
		if len(limits) < 3 {
			t.Errorf("limits: %v", limits)
		}
		if n := w.tries.of("x")[39].began; n > 11*time.Second {
			t.Errorf("the last was tried at %v", n)
		}
	})
}

// A lane that is full is left out of claims, and asked for as soon as there is
// room in it.
func TestALaneThatWasLeftOutIsAskedForOnceThereIsRoom(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		p.deaf = true
		pool := p.Add(w.config(replies(fine, time.Second)))
		p.start()
		w.at(100 * time.Millisecond)
		w.push(p, pool, "x", named("a", 15)...)
		pool.Wake()
		w.at(200 * time.Millisecond) // left out: one more would be too few
		same(t, "limit", p.engine.requests()[1].Limits, map[string]int{"x": 0})
		w.deposit("x", "b") // nobody says so
		w.at(1900 * time.Millisecond)
		same(t, "claims", len(p.engine.requests()), 2)
		w.at(2200 * time.Millisecond) // 7 are left
		if n := p.engine.requests()[2].Limits["x"]; n < 8 || n > 9 {
			t.Errorf("claimed up to %d", n)
		}
	})
}

func TestNewJobsQueueUpBehindThoseInTheStore(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, time.Second))
		c.Terms = wide(1)
		p := w.process()
		p.deaf = true
		pool := p.Add(c)
		p.start()
		w.push(p, pool, "x", named("a", 17)...) // room for 16
		w.at(4500 * time.Millisecond)
		w.push(p, pool, "x", "b1") // room there is, but a17 is older
		same(t, "waiting in the store", w.stats("x").Waiting, 2)
		w.at(30 * time.Second)
		same(t, "tried", w.tries.ids("x"), append(named("a", 17), "b1"))
		before := len(p.engine.requests())
		w.push(p, pool, "x", "c1") // nothing waits any more
		same(t, "leased", w.stats("x").Leased, 1)
		w.wait(2 * time.Second)
		same(t, "claims that took", len(p.engine.requests())-before <= 1, true)
	})
}

// A claim that fails says nothing about what waits in the store.
func TestNewJobsQueueUpBehindThoseInTheStoreThoughAClaimFails(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, 100*time.Millisecond))
		c.Terms = wide(1)
		p := w.process()
		p.deaf = true
		pool := p.Add(c)
		p.start()
		var down atomic.Bool
		down.Store(true)
		p.engine.hook(hooks{claim: func(_ context.Context, _ engine.ClaimRequest, call func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
			if down.Load() {
				return engine.ClaimResult{}, errOut
			}
			return call()
		}})
		w.push(p, pool, "x", named("a", 17)...) // room for 16
		w.at(8 * time.Second)
		w.push(p, pool, "x", "b1")
		down.Store(false)
		w.at(20 * time.Second)
		same(t, "tried", w.tries.ids("x"), append(named("a", 17), "b1"))
	})
}

// A job goes into the store while a claim is under way that does not see it.
func TestAJobStoredDuringAClaimIsNotOvertaken(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, 100*time.Millisecond))
		c.Terms = wide(1)
		p := w.process()
		p.deaf = true
		pool := p.Add(c)
		p.start()
		w.push(p, pool, "x", named("a", 17)...) // room for 16
		claims := 0
		p.engine.hook(hooks{claim: func(_ context.Context, _ engine.ClaimRequest, call func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
			if claims++; claims > 1 {
				time.Sleep(time.Second)
				return call()
			}
			res, err := call()
			time.Sleep(500 * time.Millisecond)
			return res, err
		}})
		w.at(time.Second) // the claim for a17 is under way since 0.8 s
		same(t, "claims", claims, 1)
		w.push(p, pool, "x", "b1")
		w.at(1350 * time.Millisecond) // it has brought a17, and the next one is under way
		same(t, "claims", claims, 2)
		w.push(p, pool, "x", "b2")
		w.at(10 * time.Second)
		same(t, "tried", w.tries.ids("x"), append(named("a", 17), "b1", "b2"))
	})
}

// What a process holds of a lane follows its pace.
func TestALaneThatIsFastIsHeldMoreOf(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, 10*time.Millisecond)) // 100 a second
		c.Terms = wide(1)
		p, pool := w.one(c)
		w.deposit("x", named("a", 100)...)
		w.at(2 * time.Second)
		w.push(p, pool, "x", named("b", 100)...)
		if n := heldOf(pool, "x"); n < 45 || n > 55 {
			t.Errorf("held %d, where half a second's are 50", n)
		}
	})
}

// A job that goes into the store though there is room, as others wait there,
// makes the pool look; but not if the lane could not have it anyway.
func TestAJobThatIsStoredMakesThePoolLookIfItCouldHaveIt(t *testing.T) {
	for name, test := range map[string]struct {
		set  func(l *Lane)
		want int
	}{
		"nothing held":        {func(*Lane) {}, 1},
		"half of it held":     {func(l *Lane) { l.held = 8 }, 1},
		"more than half held": {func(l *Lane) { l.held = 9 }, 0},
		"slow, a try ended":   {func(l *Lane) { l.slow, l.held = true, 3 }, 1},
		"slow, all under way": {func(l *Lane) { l.slow, l.held = true, 4 }, 0},
		"resting":             {func(l *Lane) { l.restsUntil = time.Now().Add(time.Minute) }, 0},
		"paused":              {func(l *Lane) { l.terms.Paused = true }, 0},
		"hanging":             {func(l *Lane) { l.terms.Adapts, l.endpoint.active = true, 1 }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				p := w.process()
				p.deaf = true
				pool := p.Add(w.config(nil))
				p.start()
				w.push(p, pool, "x", "0")
				w.at(1500 * time.Millisecond)
				pool.mu.Lock()
				l := pool.lanes["x"]
				before := *l
				l.waitsInStore = true
				test.set(l)
				pool.mu.Unlock()
				claims := len(p.engine.requests())
				w.push(p, pool, "x", "1")
				same(t, "made it look", len(p.engine.requests()) > claims, test.want > 0)
				pool.mu.Lock()
				l.held, l.endpoint.active, l.terms = before.held, 0, before.terms
				pool.mu.Unlock()
			})
		})
	}
}

func TestALaneOfWhichAClaimBroughtAllItAskedForMayHaveMore(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, 100*time.Millisecond))
		c.Terms = wide(1)
		p := w.process()
		pool := p.Add(c)
		w.deposit("x", named("a", claimMax+5)...)
		p.start()
		pool.mu.Lock()
		same(t, "waits in the store", pool.lanes["x"].waitsInStore, true)
		pool.mu.Unlock()
		w.push(p, pool, "x", "b")
		w.at(3 * time.Minute)
		same(t, "the last", w.tries.ids("x")[claimMax:], append(named("a", claimMax+5)[claimMax:], "b"))
	})
}

func TestALaneOfWhichAClaimBroughtLessHasNoMore(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		pool := p.Add(w.config(replies(fine, time.Second)))
		w.deposit("x", "1", "2")
		p.start()
		w.push(p, pool, "x", "3")
		same(t, "leased", w.stats("x").Leased, 3)
		same(t, "tries under way", w.tries.running("x"), 3)
	})
}

// Lanes that nobody asked for in a while are forgotten, but not what matters.
func TestLanesAreForgotten(t *testing.T) {
	now := time.Now()
	old := func(change func(l *Lane)) *Lane {
		l := newLane("x", Terms{AtOnce: 4, Adapts: true, Probe: time.Minute})
		l.used = now.Add(-2 * time.Minute)
		change(l)
		return l
	}
	for what, test := range map[string]struct {
		lane *Lane
		want bool
	}{
		"old":                       {old(func(*Lane) {}), true},
		"used":                      {old(func(l *Lane) { l.used = now.Add(-30 * time.Second) }), false},
		"held":                      {old(func(l *Lane) { l.held = 1 }), false},
		"being tried":               {old(func(l *Lane) { l.active = 1 }), false},
		"having a turn":             {old(func(l *Lane) { l.hasTurn = true }), false},
		"waiting in the store":      {old(func(l *Lane) { l.waitsInStore = true }), false},
		"in trouble":                {old(func(l *Lane) { l.health.fails = 1 }), false},
		"in trouble, long ago":      {old(func(l *Lane) { l.health.fails, l.used = 1, now.Add(-2*time.Hour) }), true},
		"yet to keep its spacing":   {old(func(l *Lane) { l.nextStart = now.Add(time.Second) }), false},
		"refusing rounds":           {old(func(l *Lane) { l.noRoundsBefore = now.Add(time.Second) }), false},
		"having refused rounds ago": {old(func(l *Lane) { l.noRoundsBefore = now.Add(-time.Second) }), true},
	} {
		same(t, what, test.lane.isForgettable(now), test.want)
	}
}

func TestALaneWithoutWorkIsForgottenAfterAWhile(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(nil))
		w.push(p, pool, "x", "1")
		known := func() bool {
			pool.mu.Lock()
			defer pool.mu.Unlock()
			return pool.lanes["x"] != nil
		}
		w.at(50 * time.Second)
		same(t, "known", known(), true)
		w.push(p, pool, "x", "2")
		w.at(100 * time.Second)
		same(t, "known", known(), true)
		w.at(120 * time.Second)
		same(t, "known", known(), false)
	})
}

// The lock is free while a lane's terms are asked for.
func TestRoomIsLookedForAgainOnceALanesTermsAreKnown(t *testing.T) {
	for name, meanwhile := range map[string]func(p *process, pool *Pool, push *Push){
		"drained": func(p *process, _ *Pool, _ *Push) { p.drain(time.Minute) },
		"filled": func(_ *process, pool *Pool, push *Push) {
			for i := range maxHeld {
				push.Add(pool, event("y"), fmt.Sprint("lane", i%4))
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				var pool *Pool
				var others Push
				p := w.process()
				c := w.config(nil)
				c.Terms = func(lane string) Terms {
					if lane == "x" {
						meanwhile(p, pool, &others)
					}
					return Terms{AtOnce: 8192}
				}
				pool = p.Add(c)
				p.start()
				w.push(p, pool, "x", "1")
				same(t, "waiting in the store", w.stats("x").Waiting, 1)
				same(t, "held of the lane", heldOf(pool, "x"), 0)
				others.Cancel()
			})
		})
	}
}
