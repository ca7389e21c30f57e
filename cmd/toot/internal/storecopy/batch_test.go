package storecopy_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/storecopy"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
	"github.com/watermarkchurch/toot-go/internal/testing/faultengine"
)

// TestWorkersOfTheFirstStore get nothing of what was being moved when copying was
// interrupted, if it is run again before the lease ends; which waits for nobody.
func TestWorkersOfTheFirstStore(t *testing.T) {
	type fault struct {
		method faultengine.Method
		ofFrom bool
		late   bool
	}
	for _, faults := range [][]fault{
		{{faultengine.Push, false, false}},
		{{faultengine.Push, false, true}},
		{{faultengine.Settle, true, false}},
		{{faultengine.Settle, true, true}},
		{{faultengine.Push, false, true}, {faultengine.Later, true, false}}, // by the second run, too
		{{faultengine.Settle, true, false}, {faultengine.Settle, true, true}},
	} {
		synctest.Test(t, func(t *testing.T) {
			from, to := memengine.New(), memengine.New()
			want := filled(t, from)
			for i, f := range faults {
				faultyFrom, faultyTo := faultengine.Wrap(from), faultengine.Wrap(to)
				faulty := faultyTo
				if f.ofFrom {
					faulty = faultyFrom
				}
				faulty.Play(faultengine.Nth(f.method, 1, faultengine.Fault{Err: faultengine.ErrInjected, Late: f.late}))
				if _, err := storecopy.Copy(t.Context(), faultyFrom, faultyTo, storecopy.Options{}); !errors.Is(err, faultengine.ErrInjected) {
					t.Fatalf("%+v, %d: the error is %v", faults, i, err)
				}
				idle(t, from)
				time.Sleep(30 * time.Second)
			}
			counts, err := storecopy.Copy(t.Context(), from, to, storecopy.Options{})
			if err != nil || counts.Held+counts.Soon+counts.Doubled > 0 {
				t.Errorf("%+v: run again, it has %+v, %v", faults, counts, err)
			}
			isMoved(t, want, from, to)
			time.Sleep(time.Hour)
			idle(t, from)
		})
	}
}

// TestStoppedBetweenTwoBatches: whenever the context ends, what has been begun is
// ended, so that no job is in both stores and none is held.
func TestStoppedBetweenTwoBatches(t *testing.T) {
	for call, stopped := 1, true; stopped; call++ {
		synctest.Test(t, func(t *testing.T) {
			from, to := memengine.New(), memengine.New()
			want := filled(t, from)
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			var calls atomic.Int64
			script := func(faultengine.Call) faultengine.Fault {
				if calls.Add(1) == int64(call) {
					stop()
				}
				return faultengine.Fault{}
			}
			faultyFrom, faultyTo := faultengine.Wrap(from), faultengine.Wrap(to)
			faultyFrom.Play(script)
			faultyTo.Play(script)
			first, err := storecopy.Copy(ctx, faultyFrom, faultyTo, storecopy.Options{})
			stopped = calls.Load() >= int64(call)
			if err != nil && !errors.Is(err, context.Canceled) {
				t.Errorf("stopped at call %d: %v", call, err)
			}
			left, err := storecopy.Look(t.Context(), from, storecopy.Options{})
			if err != nil || left.Held > 0 {
				t.Errorf("stopped at call %d: %+v is left, %v", call, left, err)
			}
			second, err := storecopy.Copy(t.Context(), from, to, storecopy.Options{})
			if err != nil || first.Moved()+second.Moved() != wanted.Moved() || second.Moved() != left.Moved() {
				t.Errorf("stopped at call %d: %d jobs were moved before, %d were left and %d moved after, %v", call, first.Moved(), left.Moved(), second.Moved(), err)
			}
			isMoved(t, want, from, to)
		})
	}
}

// idle makes sure that a worker finds nothing to publish, which is what is moved
// first.
func idle(t *testing.T, s engine.Engine) {
	t.Helper()
	res, err := s.Claim(t.Context(), engine.ClaimRequest{Kind: engine.FanOut, Max: 100, MaxPerLane: 100, Lease: time.Second})
	if err != nil || len(res.Jobs) > 0 {
		t.Errorf("a worker gets %d jobs, %v", len(res.Jobs), err)
	}
}
