package redisengine_test

import (
	"math/rand/v2"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// Jobs that were claimed together and jobs that others have claimed since are
// settled in any order and number: each outcome counts for itself, once.
func TestSettlingParts(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	e := open(t, s.URL(), nil)
	rnd := rand.New(rand.NewPCG(1, 2))
	const n = 300
	jobs := make([]engine.Job, n)
	for i := range jobs {
		jobs[i] = engine.Job{Event: newEvent(), Lane: deliver("l")}
	}
	if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: jobs}); err != nil {
		t.Fatal(err)
	}
	claim := func(most int, lease time.Duration) []engine.Claimed {
		res, err := e.Claim(t.Context(), engine.ClaimRequest{Kind: engine.Deliver, Max: most, MaxPerLane: most, Lease: lease})
		if err != nil {
			t.Fatal(err)
		}
		return res.Jobs
	}
	held := claim(n/2, time.Hour)
	lapsed := claim(n/2, time.Microsecond)
	var again []engine.Claimed
	redistest.Eventually(t, "leases end", func() bool {
		again = append(again, claim(n, time.Hour)...)
		return len(again) == n/2
	})
	good := map[engine.Ticket]bool{}
	var all []engine.Ticket
	for _, j := range append(held, again...) {
		good[j.Ticket] = true
		all = append(all, j.Ticket, j.Ticket) // the second time it is spent
	}
	for _, j := range lapsed {
		all = append(all, j.Ticket)
	}
	rnd.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	for len(all) > 0 {
		size := min(1+rnd.IntN(60), len(all))
		outcomes := make([]engine.Outcome, size)
		for i := range outcomes {
			outcomes[i] = engine.Outcome{Ticket: all[i], Result: engine.Done}
			if rnd.IntN(20) == 0 {
				outcomes[i] = engine.Outcome{Ticket: all[i], Result: engine.Retry, After: time.Hour}
			}
		}
		all = all[size:]
		settled, err := e.Settle(t.Context(), outcomes)
		if err != nil {
			t.Fatal(err)
		}
		for i, o := range outcomes {
			if settled[i].OK != good[o.Ticket] {
				t.Fatalf("an outcome is OK: %v, want %v", settled[i].OK, good[o.Ticket])
			}
			delete(good, o.Ticket)
		}
	}
	if len(good) > 0 {
		t.Errorf("%d jobs were not settled", len(good))
	}
}
