package lanes

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// failures records what the policy was asked.
type failures struct {
	mu  sync.Mutex
	all []Failure
}

func (fs *failures) retry(next func(Failure) engine.Outcome) func(Failure) engine.Outcome {
	return func(f Failure) engine.Outcome {
		fs.mu.Lock()
		defer fs.mu.Unlock()
		fs.all = append(fs.all, f)
		return next(f)
	}
}

func TestWhatIsFinishedIsDone(t *testing.T) {
	inBubble(t, func(w *world) {
		var fs failures
		c := w.config(nil)
		c.Retry = fs.retry(c.Retry)
		p, pool := w.one(c)
		w.push(p, pool, "x", "1")
		same(t, "done", p.engine.done(engine.Done), 1)
		same(t, "left in the store", w.left(), 0)
		same(t, "failures", len(fs.all), 0)
	})
}

func TestWhatFailedIsTriedAgainAsThePolicySays(t *testing.T) {
	inBubble(t, func(w *world) {
		var fs failures
		c := w.config(replies(Verdict{Action: TryAgain, Reason: "sorry", Status: 500}, time.Second))
		c.Retry = fs.retry(func(f Failure) engine.Outcome {
			if f.Attempt == 2 {
				return engine.Outcome{Result: engine.Bury, Attempt: 3, Reason: "enough"}
			}
			return engine.Outcome{Result: engine.Retry, Attempt: f.Attempt + 1, History: append(f.History, 'h'), After: 10 * time.Second}
		})
		p, pool := w.one(c)
		began := time.Now()
		w.push(p, pool, "x", "1")
		w.at(time.Minute)
		same(t, "begins", w.tries.begins("x", time.Millisecond), []time.Duration{0, 11 * time.Second, 22 * time.Second})
		same(t, "failures", len(fs.all), 3)
		for i, f := range fs.all {
			same(t, "attempt", f.Attempt, i)
			same(t, "history", string(f.History), "hhh"[:i])
			same(t, "age", f.Age, time.Duration(i)*11*time.Second+time.Second)
			same(t, "at", f.At.Sub(began), f.Age)
			same(t, "verdict", f.Verdict.Reason, "sorry")
			same(t, "of the lane", []time.Duration{f.ProbeIn, f.AskedFor, f.NoLaterThan}, []time.Duration{-1, -1, 0})
		}
		dead, err := w.outside.Dead(t.Context(), engine.DeadQuery{})
		must(t, err)
		same(t, "dead letters", len(dead), 1)
		same(t, "reason", dead[0].Reason, "enough")
		same(t, "left in the store", w.left(), 0)
	})
}

func TestWhatIsHopelessIsBuried(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(replies(Verdict{Action: Bury, Reason: "hopeless"}, 0)))
		w.push(p, pool, "x", "1")
		dead, err := w.outside.Dead(t.Context(), engine.DeadQuery{})
		must(t, err)
		same(t, "dead letters", len(dead), 1)
		same(t, "reason", dead[0].Reason, "hopeless")
		same(t, "held", held(pool), 0)
	})
}

func TestWhatIsGivenBackCountsNoAttempt(t *testing.T) {
	inBubble(t, func(w *world) {
		var fs failures
		c := w.config(func(context.Context, *try) Verdict {
			if len(w.tries.of("x")) == 1 {
				return Verdict{Action: GiveBack, After: 3 * time.Second}
			}
			return fine
		})
		c.Retry = fs.retry(c.Retry)
		p, pool := w.one(c)
		w.push(p, pool, "x", "1")
		w.at(time.Minute)
		same(t, "begins", w.tries.begins("x", time.Millisecond), []time.Duration{0, 3 * time.Second})
		j := w.tries.of("x")[1].jobs[0]
		same(t, "attempt, claims", []int{j.Attempt, j.Claims}, []int{0, 1})
		same(t, "failures", len(fs.all), 0)
	})
}

// New jobs queue up behind one that was given back for now.
func TestNewJobsQueueUpBehindOneThatIsDueAtOnce(t *testing.T) {
	for _, v := range []Verdict{{Action: GiveBack}, {Action: TryAgain, HasAfter: true}} {
		inBubble(t, func(w *world) {
			c := w.config(func(_ context.Context, _ *try) Verdict {
				time.Sleep(time.Second)
				if len(w.tries.of("x")) == 1 {
					return v
				}
				return fine
			})
			c.Terms = wide(1)
			p, pool := w.one(c)
			p.engine.hook(hooks{claim: func(_ context.Context, _ engine.ClaimRequest, call func() (engine.ClaimResult, error)) (engine.ClaimResult, error) {
				time.Sleep(500 * time.Millisecond)
				return call()
			}})
			w.push(p, pool, "x", "1")
			w.at(1200 * time.Millisecond)
			w.push(p, pool, "x", "2")
			same(t, "waiting in the store", w.stats("x").Waiting, 2)
			w.at(10 * time.Second)
			same(t, "tried", w.tries.ids("x"), []string{"1", "1", "2"})
		})
	}
}

// Jobs that are due later are no reason to wait.
func TestNewJobsDoNotWaitForOneThatIsDueLater(t *testing.T) {
	inBubble(t, func(w *world) {
		p, pool := w.one(w.config(func(_ context.Context, t *try) Verdict {
			if t.ids[0] == "1" && t.jobs[0].Attempt == 0 {
				return Verdict{Action: TryAgain}
			}
			time.Sleep(time.Second)
			return fine
		}))
		w.push(p, pool, "x", "1")
		w.push(p, pool, "x", "2")
		same(t, "tries under way", w.tries.running("x"), 1)
		same(t, "leased", w.stats("x").Leased, 1)
	})
}

func TestEachJobOfARoundGetsItsOwnVerdict(t *testing.T) {
	inBubble(t, func(w *world) {
		var fs failures
		c := w.config(nil)
		c.Terms = adapting(1)
		c.Retry = fs.retry(c.Retry)
		var ended [][]engine.Result
		c.Ended = func(l *Lane, jobs []*Job, verdicts []Verdict, outcomes []engine.Outcome) {
			var results []engine.Result
			for i := range jobs {
				results = append(results, outcomes[i].Result)
				if jobs[i].Data != jobs[i].Event.ID {
					t.Errorf("%v is not what the try left with job %s", jobs[i].Data, jobs[i].Event.ID)
				}
			}
			same(t, "verdicts", len(verdicts), len(jobs))
			same(t, "lane", l.Name()+l.Shown(), "xx")
			ended = append(ended, results)
		}
		c.Try = func(_ context.Context, _ *Lane, jobs []*Job, verdicts []Verdict) {
			time.Sleep(100 * time.Millisecond)
			for i, j := range jobs {
				j.Data = j.Event.ID
				if verdicts[i].Action != 0 || verdicts[i].Evidence != None {
					t.Errorf("the verdict on %s is set before the try: %v", j.Event.ID, verdicts[i])
				}
				verdicts[i] = map[string]Verdict{
					"again": {Action: TryAgain, Reason: "a"}, "bury": {Action: Bury, Reason: "b"}, "back": {Action: GiveBack, After: time.Hour},
				}[j.Event.ID]
				if verdicts[i].Action == 0 {
					verdicts[i] = rounds(8)
				}
			}
		}
		p, pool := w.one(c)
		w.push(p, pool, "x", "1")
		w.at(time.Second)
		w.push(p, pool, "x", "2", "3", "again", "bury", "back", "4")
		w.at(2 * time.Second)
		same(t, "outcomes", ended, [][]engine.Result{{engine.Done}, {engine.Done}, {engine.Done, engine.Retry, engine.Bury, engine.Release, engine.Done}})
		same(t, "failures", len(fs.all), 2)
		same(t, "done", p.engine.done(engine.Done), 4)
		same(t, "of the others", []int{p.engine.done(engine.Retry), p.engine.done(engine.Bury), p.engine.done(engine.Release)}, []int{1, 1, 1})
	})
}

// Policies and observers are somebody else's code, and may use the pool.
func TestCallbacksMayUseThePool(t *testing.T) {
	inBubble(t, func(w *world) {
		var pool *Pool
		var uses atomic.Int64
		look := func() {
			uses.Add(1)
			pool.Stalled()
			pool.Circuit("x")
		}
		use := func() {
			look()
			pool.SetTerms("x", Terms{AtOnce: 4})
			pool.Wake()
			var push Push
			push.Add(pool, event("never"), "z")
			push.Cancel()
		}
		c := w.config(func(_ context.Context, t *try) Verdict {
			use()
			if t.jobs[0].Attempt == 0 {
				return trouble
			}
			return fine
		})
		terms := adapting(4)
		c.Terms = func(lane string) Terms {
			look()
			return terms(lane)
		}
		c.Only = func() []string {
			look()
			return []string{"x", "y"}
		}
		retry := c.Retry
		c.Retry = func(f Failure) engine.Outcome {
			use()
			return retry(f)
		}
		c.Ended = func(*Lane, []*Job, []Verdict, []engine.Outcome) { use() }
		p := w.process()
		pool = p.Add(c)
		p.start()
		w.deposit("y", "2")
		w.push(p, pool, "x", "1")
		w.at(20 * time.Second)
		same(t, "left in the store", w.left(), 0)
		same(t, "used", uses.Load() > 10, true)
	})
}

func TestWhatALaneKnowsOfItself(t *testing.T) {
	inBubble(t, func(w *world) {
		c := w.config(nil)
		c.Terms = func(lane string) Terms {
			return Terms{AtOnce: 1, Shown: "shown-" + lane, Peer: "peer-" + lane}
		}
		got := ""
		c.Try = func(_ context.Context, l *Lane, _ []*Job, verdicts []Verdict) {
			got = l.Name() + " " + l.Shown() + " " + l.Peer().(string)
			verdicts[0] = fine
		}
		p, pool := w.one(c)
		w.push(p, pool, "x", "1")
		same(t, "lane", got, "x shown-x peer-x")
		pool.SetTerms("x", Terms{AtOnce: 1, Shown: "other", Peer: "other"})
		w.push(p, pool, "x", "2")
		same(t, "lane", got, "x shown-x peer-x")
	})
}
