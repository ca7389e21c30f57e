package enginetest

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var manyChecks = []check{
	{"workers_do_every_job_once", 0, func(e *env) { churn(e, e.open(), nil) }},
	{"workers_of_two_engines_do_every_job_once", sharing, func(e *env) { churn(e, e.open(), e.open()) }},
}

// churn has workers push, claim, settle at random and die, until every job and
// its follow-up is done. What must be true at the end does not depend on what
// the dice said.
func churn(e *env, a, b *client) {
	e.Helper()
	clients := []*client{a, a}
	if b != nil {
		clients[1] = b
	}
	const (
		pushers, perPusher, batch = 4, 300, 30
		workers                   = 6
		total                     = 2 * pushers * perPusher // each with a follow-up
		lease                     = 150 * time.Millisecond
	)
	var (
		mu   sync.Mutex
		done = map[string]int{}
		left atomic.Int64
		wg   sync.WaitGroup
	)
	left.Store(total)
	lane := func(i int) engine.Lane { return deliver(fmt.Sprint("lane", i%7)) }

	settle := func(c *client, rnd *rand.Rand, js []engine.Claimed) error {
		var outcomes []engine.Outcome
		var keys []string
		for _, j := range js {
			o := outcome(j, engine.Done)
			switch n := rnd.IntN(100); {
			case n < 5:
				continue // the worker died
			case n < 15:
				o.Result, o.After, o.Attempt = engine.Retry, time.Duration(rnd.IntN(20))*time.Millisecond, j.Attempt+1
			case n < 25:
				o.Result = engine.Release
			case n < 30:
				o.Result, o.After = engine.Extend, time.Duration(rnd.IntN(20))*time.Millisecond
			default:
				if j.Lane.Kind == engine.Deliver {
					o.Follow = []engine.Job{{Lane: engine.Lane{Kind: engine.Handle, Name: j.Lane.Name}}}
				}
			}
			outcomes = append(outcomes, o)
			keys = append(keys, j.Event.ID+" in "+j.Lane.Kind.String()+" "+j.Lane.Name)
		}
		settled, err := c.Settle(e.ctx, outcomes)
		if err != nil {
			return err
		}
		mu.Lock()
		defer mu.Unlock()
		for i, s := range settled {
			if s.OK && outcomes[i].Result == engine.Done {
				done[keys[i]]++
				left.Add(-1)
			}
		}
		return nil
	}

	for p := range pushers {
		wg.Go(func() {
			for i := 0; i < perPusher; i += batch {
				var js []engine.Job
				for k := range batch {
					js = append(js, job(fmt.Sprintf("%d-%d", p, i+k), lane(p+i+k)))
				}
				// Twice, as somebody would who does not know how it went, and
				// through the other engine.
				for n := range 2 {
					if _, err := clients[(p+n)%2].Push(e.ctx, engine.PushRequest{Jobs: js}); err != nil {
						e.Errorf("Push among many: %v", err)
						left.Store(0)
						return
					}
				}
			}
		})
	}
	end := time.Now().Add(2 * e.patience)
	for w := range workers {
		wg.Go(func() {
			rnd := rand.New(rand.NewPCG(1, uint64(w)))
			c := clients[w%2]
			for i := w; left.Load() > 0 && time.Now().Before(end); i++ {
				req := engine.ClaimRequest{Kind: engine.Deliver, Max: 1 + rnd.IntN(60), MaxPerLane: 20, Lease: lease}
				if i%2 == 1 {
					req.Kind = engine.Handle
				}
				res, err := c.Claim(e.ctx, req)
				if err == nil {
					err = allowed(req, res)
				}
				if err == nil && len(res.Jobs) > 0 {
					err = settle(c, rnd, res.Jobs)
				}
				if err != nil {
					e.Errorf("Claim and Settle among many: %v", err)
					left.Store(0)
					return
				}
				if len(res.Jobs) == 0 {
					time.Sleep(min(max(res.Next, time.Millisecond), pollEvery))
				}
			}
		})
	}
	wg.Wait()
	if e.Failed() {
		return
	}
	for key, n := range done {
		if n != 1 {
			e.Fatalf("a job must be done once: %s was %d times", key, n)
		}
	}
	if len(done) != total {
		e.Fatalf("no job must be lost: %d of %d were done after %v", len(done), total, 2*e.patience)
	}
	for _, k := range kinds {
		if js := a.claim(engine.ClaimRequest{Kind: k}).Jobs; len(js) != 0 {
			e.Fatalf("no job must be left when all are done: claimed %s", list(js))
		}
	}
	if !e.h.NoInspector {
		if lanes := a.lanes(); len(lanes) != 0 {
			e.Fatalf("no lane must be left when all jobs are done: got %+v", lanes)
		}
	}
}
