package lanes

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"time"
)

// at returns terms of lanes of one site.
func sited(of func(string) Terms, site string, atOnce int) func(string) Terms {
	return func(lane string) Terms {
		t := of(lane)
		t.Site, t.SiteAtOnce = site, atOnce
		return t
	}
}

// siteOf returns what a pool's site has taken, and what of that sick lanes have.
func siteOf(p *Pool, name string) (taken, bySick int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if s := p.sites[name]; s != nil {
		return s.taken, s.takenBySick
	}
	return 0, 0
}

func TestPartsOfASite(t *testing.T) {
	for _, test := range []struct {
		most, taken, bySick int
		healthy, sick       int
	}{
		{512, 0, 0, 170, 170},
		{512, 127, 0, 128, 128}, // one alone gets a quarter
		{512, 128, 0, 128, 128},
		{512, 255, 255, 85, 85},
		{512, 256, 256, 85, 0},
		{512, 509, 0, 1, 1},
		{512, 511, 0, 1, 1},
		{512, 512, 0, 0, 0},
		{512, 513, 0, 0, 0}, // it was given less since
		{1, 0, 0, 1, 1},
		{1, 1, 1, 0, 0},
		{3, 1, 1, 1, 0},
	} {
		s := newSite(test.most)
		s.taken, s.takenBySick = test.taken, test.bySick
		same(t, fmt.Sprintf("%+v", test), []int{s.part(false), s.part(true)}, []int{test.healthy, test.sick})
	}
	same(t, "the least", newSite(0).most, 1)
}

func TestLanesOfOneSiteShareItsTries(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, time.Second))
		c.Terms = func(lane string) Terms {
			if lane == "elsewhere" {
				return sited(wide(4), "b", 8)(lane)
			}
			return sited(wide(4), "a", 8)(lane)
		}
		p, pool := w.one(c)
		var all []string
		for i, lane := range named("lane", 30) {
			ids := named(fmt.Sprint(i, "-"), 3)
			w.push(p, pool, lane, ids...)
			all = append(all, ids...)
		}
		same(t, "under way", w.tries.running(""), 8)
		w.push(p, pool, "elsewhere", "e")
		same(t, "under way elsewhere", w.tries.running("elsewhere"), 1)
		// Whoever waited goes on at once: 8 a second.
		w.at(11500 * time.Millisecond)
		same(t, "tries", len(w.tries.of("")), 91)
		w.at(13 * time.Second)
		same(t, "most", w.tries.most("")-1, 8)
		w.once(append(all, "e"))
		taken, bySick := siteOf(pool, "a")
		same(t, "taken", []int{taken, bySick}, []int{0, 0})
	})
}

// Those that wait longest go first, and one that has just had a try goes last.
func TestLanesOfAFullSiteTakeTurns(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(replies(fine, time.Second))
		c.Terms = sited(wide(4), "a", 1)
		p, pool := w.one(c)
		w.push(p, pool, "x", named("x", 3)...)
		w.push(p, pool, "y", named("y", 2)...)
		w.push(p, pool, "z", "z1")
		w.at(10 * time.Second)
		same(t, "tried", w.tries.ids(""), []string{"x1", "x2", "y1", "z1", "x3", "y2"})
		same(t, "begins", w.tries.begins("z", time.Millisecond), []time.Duration{3 * time.Second})
	})
}

// Lanes that have yet to show that they work leave half of a site to those that
// have, however many there are.
func TestSickLanesHaveNoMoreThanHalfOfASite(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.lane == "good" {
				time.Sleep(100 * time.Millisecond)
				return fine
			}
			time.Sleep(30 * time.Second)
			return Verdict{Action: TryAgain, Evidence: TimedOut}
		})
		c.Terms = sited(adapting(8), "a", 8)
		p, pool := w.one(c)
		w.push(p, pool, "good", "g0")
		w.at(time.Second)
		for _, lane := range named("bad", 20) {
			w.push(p, pool, lane, lane)
		}
		same(t, "bad ones under way", w.tries.running(""), 4)
		taken, bySick := siteOf(pool, "a")
		same(t, "taken", []int{taken, bySick}, []int{4, 4})
		w.push(p, pool, "good", named("g", 10)...)
		w.at(2500 * time.Millisecond)
		same(t, "of the good lane", len(w.tries.of("good")), 11)
		w.push(p, pool, "new", "n1") // it has to wait, as one of them
		w.at(29 * time.Second)
		same(t, "of a new lane", len(w.tries.of("new")), 0)
		w.at(4 * time.Minute)
		same(t, "of a new lane", len(w.tries.of("new")) > 0, true)
		for _, lane := range named("bad", 20) {
			if len(w.tries.of(lane)) == 0 {
				t.Errorf("%s was never tried", lane)
			}
		}
	})
}

// Whichever kind frees room, the other has a turn, too.
func TestHealthyAndSickLanesOfAFullSiteAlternate(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.ids[0] == "proof" {
				return fine
			}
			time.Sleep(time.Second)
			return Verdict{Action: Finish}
		})
		c.Terms = sited(adapting(8), "a", 1)
		p, pool := w.one(c)
		for _, lane := range named("well", 3) {
			w.push(p, pool, lane, "proof")
		}
		w.at(time.Second)
		for _, lane := range append(named("well", 3), named("new", 3)...) {
			w.push(p, pool, lane, lane)
		}
		w.at(20 * time.Second)
		same(t, "tried", w.tries.ids("")[3:], []string{"well1", "well2", "new1", "well3", "new2", "new3"})
	})
}

// Lanes that worked begin to hang, with much to be tried in each.
func TestLanesOfASiteThatBeginToHangLeaveRoomForTheOthers(t *testing.T) {
	inBubble(t, func(w *world) {
		var hanging atomic.Bool
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.lane == "good" || !hanging.Load() {
				return fine
			}
			time.Sleep(30 * time.Second)
			return Verdict{Action: TryAgain, Evidence: TimedOut}
		})
		c.Workers = 1000
		c.Terms = sited(adapting(32), "a", 64)
		p, pool := w.one(c)
		bad := named("bad", 8)
		for _, lane := range append(bad, "good") {
			for _, id := range named(lane+"-", 40) {
				w.push(p, pool, lane, id)
			}
		}
		w.at(time.Second)
		hanging.Store(true)
		for _, lane := range bad {
			w.push(p, pool, lane, named(lane+"+", 40)...)
		}
		if n := w.tries.running("bad1"); n != 16 {
			t.Errorf("%d tries of the first, want a quarter of what there is", n)
		}
		if n := w.tries.running(""); n >= 60 {
			t.Errorf("%d tries of 64 are of lanes that hang", n)
		}
		before := len(w.tries.of("good"))
		w.push(p, pool, "good", named("new", 20)...)
		same(t, "tries of the lane that works", len(w.tries.of("good"))-before, 20)
	})
}

// A lane that may have no more of a site gets it when others leave it, though
// none of its own tries ends.
func TestALanesPartOfASiteGrowsAsOthersLeave(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(func(_ context.Context, t *try) Verdict {
			if t.lane == "long" {
				time.Sleep(time.Hour)
			}
			time.Sleep(time.Second)
			return fine
		})
		c.Terms = sited(wide(4), "a", 20)
		p, pool := w.one(c)
		for i, lane := range named("lane", 17) {
			w.push(p, pool, lane, fmt.Sprint(i))
		}
		w.push(p, pool, "long", named("l", 4)...)
		same(t, "long tries while the site is full", w.tries.running("long"), 1)
		w.at(2 * time.Second)
		same(t, "long tries", w.tries.running("long"), 4)
	})
}

// A lane gets a turn at its site and can't use it when a worker comes: it is
// paused by then, or the lease of its job was lost.
func TestATurnThatALaneCanNotUseGoesToAnother(t *testing.T) {
	for name, spoil := range map[string]func(w *world, p *process, pool *Pool){
		"paused": func(_ *world, _ *process, pool *Pool) {
			terms := wide(1)("x")
			terms.Paused = true
			pool.SetTerms("x", terms)
		},
		"lost": func(_ *world, _ *process, pool *Pool) {
			pool.mu.Lock()
			defer pool.mu.Unlock()
			pool.lanes["x"].queue.peek().state = leaseLost
		},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(w *world) {
				c := w.config(replies(fine, 3*time.Second))
				c.Workers = 1
				c.Terms = func(lane string) Terms {
					if lane == "busy" {
						return wide(1)(lane)
					}
					t := sited(wide(1), "a", 1)(lane)
					t.Endpoint = "e"
					return t
				}
				p, pool := w.one(c)
				w.push(p, pool, "busy", "b") // has the only worker
				w.push(p, pool, "x", "x1")   // has the turn
				w.push(p, pool, "y", "y1")
				spoil(w, p, pool)
				w.at(3500 * time.Millisecond)
				same(t, "tried", w.tries.ids(""), []string{"b", "y1"})
				taken, _ := siteOf(pool, "a")
				same(t, "taken", taken, 1)
				pool.SetTerms("x", wide(1)("x"))
			})
		})
	}
}

func TestASiteIsForgottenWithItsLastLane(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(nil)
		c.Terms = func(lane string) Terms {
			t := sited(wide(1), "a", 1)(lane)
			t.Endpoint = "e"
			return t
		}
		p, pool := w.one(c)
		known := func() []int {
			pool.mu.Lock()
			defer pool.mu.Unlock()
			return []int{len(pool.lanes), len(pool.endpoints), len(pool.sites)}
		}
		w.push(p, pool, "x", "1")
		w.at(50 * time.Second)
		w.push(p, pool, "y", "2")
		same(t, "lanes, endpoints, sites", known(), []int{2, 1, 1})
		w.at(100 * time.Second)
		same(t, "lanes, endpoints, sites", known(), []int{1, 1, 1})
		w.at(3 * time.Minute)
		same(t, "lanes, endpoints, sites", known(), []int{0, 0, 0})
		w.push(p, pool, "x", "3")
		same(t, "lanes, endpoints, sites", known(), []int{1, 1, 1})
		p.drain(time.Minute)
		same(t, "lanes, endpoints, sites after a drain", known(), []int{0, 0, 0})
	})
}

// Each pool has a site of its own.
func TestTwoPoolsShareNoSite(t *testing.T) {
	inBubble(t, func(w *world) {
		p := w.process()
		c := w.config(replies(fine, time.Second))
		c.Terms = sited(wide(4), "a", 2)
		first, second := p.Add(c), p.Add(c)
		p.start()
		for i := range 3 {
			w.push(p, first, fmt.Sprint("x", i), fmt.Sprint(i))
			w.push(p, second, fmt.Sprint("y", i), fmt.Sprint(i+3))
		}
		same(t, "under way", w.tries.running(""), 4)
		w.at(1500 * time.Millisecond)
		w.once([]string{"0", "1", "2", "3", "4", "5"})
	})
}
