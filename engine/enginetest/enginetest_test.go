package enginetest

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// mutant is a promise that is broken on purpose.
type mutant struct {
	bug       string // how it is broken
	retention func(*engine.Retention)
	with      func(*broken)
	caughtBy  []string // checks that must fail
}

var mutants = slices.Concat(
	pushMutants, pastMutants, identityMutants, audienceMutants, claimMutants, settleMutants, releaseMutants, leaseMutants, extendMutants, followMutants,
	deferMutants, subscriberMutants, registrationMutants, watchMutants,
	deadMutants, laneMutants, lanePageMutants, credentialMutants, attributeMutants, memoryMutants, retentionMutants, contentsMutants, invalidMutants, pingMutants, closeMutants, clockMutants,
)

// TestIntact proves that what mutants are made from breaks no promise itself.
func TestIntact(t *testing.T) { Run(t, mutant{}.harness()) }

// TestSuiteCatches proves that the suite can fail: each mutant is caught by
// the checks that are about its bug.
func TestSuiteCatches(t *testing.T) {
	all := map[string]check{}
	for _, g := range groups {
		for _, c := range g.checks {
			if _, twice := all[g.name+"/"+c.name]; twice {
				t.Errorf("two checks are named %s/%s", g.name, c.name)
			}
			all[g.name+"/"+c.name] = c
		}
	}
	caught := map[string]bool{}
	var wg sync.WaitGroup
	for _, m := range mutants {
		for _, name := range m.caughtBy {
			c, ok := all[name]
			if !ok {
				t.Errorf("%q: there is no check %s", m.bug, name)
				continue
			}
			caught[name] = true
			// All at once: most of what they do is wait.
			wg.Go(func() {
				// A machine that is slow hides that something comes too early.
				for range 5 {
					if failures := try(t, c, m); len(failures) > 0 {
						t.Logf("%q: %s: %.300s", m.bug, name, failures[0])
						return
					}
				}
				t.Errorf("%q: %s does not fail", m.bug, name)
			})
		}
	}
	wg.Wait()
	for name := range all {
		if !caught[name] {
			t.Errorf("there is no mutant for %s", name)
		}
	}
}

// try runs a check on a store with a mutant and returns how it failed.
func try(t *testing.T, c check, m mutant) []string {
	r := &recorder{TB: t}
	ended := make(chan struct{})
	go func() { // Fatal ends the goroutine
		defer close(ended)
		defer r.cleanUp()
		c.run(newEnv(r, m.harness(), 2*time.Second))
	}()
	<-ended
	return r.failures
}
