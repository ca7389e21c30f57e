package crashtest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/watermarkchurch/toot-go/internal/testing/crashtest"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

var (
	rounds = flag.Int("rounds", 25, "how often to kill something, for each kind of store")
	seed   = flag.Uint64("seed", 0, "repeats the choices of a run; 0 for new ones")
)

func TestMain(m *testing.M) {
	crashtest.Main()
	os.Exit(m.Run())
}

// TestNothingIsLostWhateverProcessDies is what doc.go promises: every event
// that Publish acknowledged is handled by every subscription, and a handler
// that succeeded runs again only if its process was killed.
func TestNothingIsLostWhateverProcessDies(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	var mu sync.Mutex
	fmt.Println(crashtest.Header)
	for _, kind := range []string{"sqlite", "redis"} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			c := crashtest.Config{Dir: dir, Rounds: *rounds, Seed: *seed, Log: os.Stderr}
			switch kind {
			case "sqlite":
				c.Published = "sqlite:" + filepath.Join(dir, "published.db")
				c.Received = "sqlite:" + filepath.Join(dir, "received.db")
			case "redis":
				s := redistest.Start(t, "appendonly yes", "appendfsync always")
				c.Published = s.URL() + "?namespace=published"
				c.Received = s.URL() + "?namespace=received"
				c.KillStore = func() {
					s.Kill()
					s.Restart()
				}
			}
			report, err := crashtest.Run(t.Context(), c)
			if err != nil {
				t.Fatalf("seed %d: %v", *seed, err)
			}
			mu.Lock()
			fmt.Println(report.Line(kind))
			mu.Unlock()
			for _, e := range report.Examples {
				t.Error(e)
			}
			if !report.OK() {
				t.Errorf("with seed %d: %d events lost, %d callbacks lost, %d runs of handlers too many", *seed, report.Lost, report.LostCallbacks, report.Unexplained)
			}
			if report.Events == 0 || report.Kills == 0 {
				t.Errorf("nothing happened: %+v", report)
			}
		})
	}
}
