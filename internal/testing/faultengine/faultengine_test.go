package faultengine_test

import (
	"context"
	"errors"
	"flag"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/enginetest"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/internal/testing/faultengine"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// The conformance suite waits more than it works.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = flag.Set("test.parallel", "16")
	}
	os.Exit(m.Run())
}

func TestConformance(t *testing.T) {
	enginetest.Run(t, enginetest.Harness{NewStore: func(testing.TB) enginetest.Opener {
		s := memengine.NewStore()
		return func(r engine.Retention) (engine.Engine, error) { return faultengine.Wrap(s.Open(r)), nil }
	}})
}

var (
	lane = engine.Lane{Kind: engine.Handle, Name: "lane"}
	jobs = []engine.Job{{Event: &engine.Event{ID: "1", Channel: "a"}, Lane: lane}}
	all  = engine.ClaimRequest{Kind: engine.Handle, Max: 10, MaxPerLane: 10, Lease: time.Hour}
)

// waiting is how many jobs are in the store, which has no faults.
func waiting(t *testing.T, s *memengine.Store) int {
	t.Helper()
	stats, err := s.Open(engine.Retention{}).Lanes(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, l := range stats {
		n += l.Waiting + l.Leased
	}
	return n
}

func TestFaults(t *testing.T) {
	own := errors.New("own")
	for name, tc := range map[string]struct {
		script  faultengine.Script
		want    error
		effect  bool
		after   time.Duration
		crashed bool
	}{
		"none":                {nil, nil, true, 0, false},
		"down":                {faultengine.Down(faultengine.Push), faultengine.ErrInjected, false, 0, false},
		"everything down":     {faultengine.Down(), faultengine.ErrInjected, false, 0, false},
		"something else down": {faultengine.Down(faultengine.Claim), nil, true, 0, false},
		"deaf":                {faultengine.Deaf(faultengine.Push), faultengine.ErrInjected, true, 0, false},
		"error of its own":    {faultengine.Only(faultengine.Fault{Err: own}), own, false, 0, false},
		"first call":          {faultengine.Nth(faultengine.Push, 1, faultengine.Fault{Err: own}), own, false, 0, false},
		"second call":         {faultengine.Nth(faultengine.Push, 2, faultengine.Fault{Err: own}), nil, true, 0, false},
		"slow":                {faultengine.Only(faultengine.Fault{Delay: time.Second}), nil, true, time.Second, false},
		"too slow":            {faultengine.Only(faultengine.Fault{Delay: time.Hour}), context.DeadlineExceeded, false, time.Minute, false},
		"hangs":               {faultengine.Stuck(), context.DeadlineExceeded, false, time.Minute, false},
		"hangs after effect":  {faultengine.Only(faultengine.Fault{Hang: true, Late: true}), context.DeadlineExceeded, true, time.Minute, false},
		"dies before":         {faultengine.Nth(faultengine.Push, 1, faultengine.Fault{Crash: true}), faultengine.ErrCrashed, false, 0, true},
		"dies after":          {faultengine.Nth(faultengine.Push, 1, faultengine.Fault{Crash: true, Late: true}), faultengine.ErrCrashed, true, 0, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := memengine.NewStore()
				e := faultengine.Wrap(s.Open(engine.Retention{}))
				e.Play(tc.script)
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				began := time.Now()
				if _, err := e.Push(ctx, engine.PushRequest{Jobs: jobs}); !errors.Is(err, tc.want) {
					t.Errorf("got %v, want %v", err, tc.want)
				}
				if took := time.Since(began); took != tc.after {
					t.Errorf("it took %v, want %v", took, tc.after)
				}
				if n := waiting(t, s); (n == 1) != tc.effect {
					t.Errorf("%d jobs are in the store", n)
				}
				e.Play(nil)
				_, err := e.Claim(t.Context(), engine.ClaimRequest{})
				if e.Crashed() != tc.crashed || errors.Is(err, engine.ErrClosed) != tc.crashed {
					t.Errorf("crashed: %v, then Claim: %v", e.Crashed(), err)
				}
			})
		})
	}
}

func TestHungCallsGoOnWhenTheScriptEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memengine.NewStore()
		e := faultengine.Wrap(s.Open(engine.Retention{}))
		e.Play(faultengine.Stuck())
		time.AfterFunc(time.Minute, func() { e.Play(nil) })
		if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: jobs}); err != nil || waiting(t, s) != 1 {
			t.Errorf("Push: %v, %d jobs", err, waiting(t, s))
		}
		e.Play(faultengine.Stuck())
		time.AfterFunc(time.Minute, e.Crash)
		if _, err := e.Claim(t.Context(), all); !errors.Is(err, faultengine.ErrCrashed) {
			t.Errorf("Claim: %v", err)
		}
	})
}

func TestHintsGetLost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := faultengine.Wrap(memengine.NewStore().Open(engine.Retention{}))
		var hints []engine.Kind
		stop := e.Watch(func(k engine.Kind) { hints = append(hints, k) })
		e.Play(faultengine.Down(faultengine.Hint))
		if _, err := e.Push(t.Context(), engine.PushRequest{Jobs: jobs}); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(hints) != 0 || e.Calls(faultengine.Hint) != 1 {
			t.Errorf("hints %v of %d", hints, e.Calls(faultengine.Hint))
		}
		e.Play(nil)
		if err := e.Defer(t.Context(), lane, 0); err != nil {
			t.Fatal(err)
		}
		synctest.Wait()
		if len(hints) != 1 || hints[0] != engine.Handle {
			t.Errorf("hints %v", hints)
		}
		stop()
	})
}

func TestRandomIsTheSameForASeed(t *testing.T) {
	count := func(seed uint64) (faults []faultengine.Fault, failed int) {
		script := faultengine.Random(seed, 0.1)
		for n := range 10_000 {
			f := script(faultengine.Call{Method: faultengine.Push, N: n})
			faults = append(faults, f)
			if f.Err != nil {
				failed++
			}
		}
		return faults, failed
	}
	a, failed := count(7)
	b, _ := count(7)
	c, _ := count(8)
	if failed < 900 || failed > 1100 {
		t.Errorf("%d of 10,000 calls failed, want about a tenth", failed)
	}
	same := 0
	for i := range a {
		if a[i] != b[i] {
			t.Fatalf("call %d: %+v, then %+v", i, a[i], b[i])
		}
		if a[i].Err != nil && c[i].Err != nil {
			same++
		}
	}
	if same > 200 {
		t.Errorf("two seeds have %d failures in common", same)
	}
}
