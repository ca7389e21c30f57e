package storecopy_test

import (
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/storecopy"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
	"github.com/watermarkchurch/toot-go/internal/testing/faultengine"
	"github.com/watermarkchurch/toot-go/internal/testing/postgrestest"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// stores are those of each kind, by functions that return the name of a new one.
var stores = map[string]func(t *testing.T) string{
	"SQLite":     func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "toot.db") },
	"Redis":      func(t *testing.T) string { return redistest.Start(t).URL() },
	"PostgreSQL": func(t *testing.T) string { return postgrestest.Database(t) },
}

func open(t *testing.T, name string) anyengine.Store {
	t.Helper()
	s, err := anyengine.Open(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// TestFromEachToEach: between stores of all kinds everything is moved once, by runs
// each of which is interrupted a little later than the one before.
func TestFromEachToEach(t *testing.T) {
	for from, newFrom := range stores {
		for to, newTo := range stores {
			t.Run(from+"_to_"+to, func(t *testing.T) {
				t.Parallel()
				a, b := open(t, newFrom(t)), open(t, newTo(t))
				want := filled(t, a)
				for call, finished := int64(1), false; !finished; call += 1 + call/6 {
					finished = interruptedAt(t, a, b, call)
				}
				counts, err := storecopy.Copy(t.Context(), a, b, storecopy.Options{Prefix: "org.example.", Lease: time.Hour})
				if err != nil || counts.Held+counts.Soon+counts.Doubled > 0 {
					t.Errorf("at the end: %+v, %v", counts, err)
				}
				isMoved(t, want, a, b)
			})
		}
	}
}

// interruptedAt copies with a fault at one call, before or after it takes effect, and
// reports whether there were fewer calls.
func interruptedAt(t *testing.T, from, to anyengine.Store, call int64) (finished bool) {
	t.Helper()
	var calls atomic.Int64
	script := func(c faultengine.Call) faultengine.Fault {
		if calls.Add(1) == call {
			// What was claimed and not heard of would come back when the lease ends, on
			// Redis in any order. All else is moved without waiting for that.
			return faultengine.Fault{Err: faultengine.ErrInjected, Late: call%2 == 0 && c.Method != faultengine.Claim}
		}
		return faultengine.Fault{}
	}
	faultyFrom, faultyTo := faultengine.Wrap(from), faultengine.Wrap(to)
	faultyFrom.Play(script)
	faultyTo.Play(script)
	_, err := storecopy.Copy(t.Context(), faultyFrom, faultyTo, storecopy.Options{Prefix: "org.example.", Lease: time.Hour})
	if err != nil && !errors.Is(err, faultengine.ErrInjected) {
		t.Errorf("call %d failed, and the error is %v", call, err)
	}
	return err == nil
}
