package crashtest_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/internal/testing/crashtest"
	"github.com/watermarkchurch/toot-go/internal/testing/netfault"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

var (
	rounds = flag.Int("rounds", 25, "how often to kill something or make other trouble, for each kind of store")
	seed   = flag.Uint64("seed", 0, "repeats the choices of a run; 0 for new ones")
)

func TestMain(m *testing.M) {
	crashtest.Main()
	os.Exit(m.Run())
}

// TestNothingIsLostWhateverProcessDies is what doc.go promises: every event
// that Publish acknowledged is handled by every subscription, and a handler
// that succeeded runs again only if its process was killed, or stood still for
// longer than its lease. Neither a network that fails, nor a clock that is set,
// nor the command that looks at a store makes an exception.
func TestNothingIsLostWhateverProcessDies(t *testing.T) {
	if *seed == 0 {
		*seed = rand.Uint64()
	}
	command := filepath.Join(t.TempDir(), "toot")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", command, "github.com/watermarkchurch/toot-go/cmd/toot")
	build.Env = append(build.Environ(), "CGO_ENABLED=0") // as make test has built the packages before
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for kind, prepare := range map[string]func(*testing.T, *crashtest.Config){"sqlite": onSQLite, "redis": onRedis} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			c := crashtest.Config{Dir: t.TempDir(), Rounds: *rounds, Seed: *seed, Command: command, Log: os.Stderr}
			prepare(t, &c)
			report, err := crashtest.Run(t.Context(), c)
			if err != nil {
				t.Fatalf("seed %d: %v", *seed, err)
			}
			fmt.Printf("%s\n%v", kind, report) // in one piece
			for _, e := range report.Examples {
				t.Error(e)
			}
			if !report.OK() {
				t.Log(strings.Join(report.Timeline, "\n"))
				t.Errorf("with seed %d: %d events lost, %d callbacks lost, %d runs of handlers too many", *seed, report.Lost, report.LostCallbacks, report.Unexplained)
			}
			if report.Events == 0 || report.Kills == 0 || len(report.Troubles) == 0 {
				t.Errorf("nothing happened: %+v", report)
			}
		})
	}
}

func onSQLite(t *testing.T, c *crashtest.Config) {
	c.Published = "sqlite:" + filepath.Join(c.Dir, "published.db")
	c.Received = "sqlite:" + filepath.Join(c.Dir, "received.db")
	c.SharesLock = true
	c.Clock = filepath.Join(c.Dir, "clock")
	set := func(ahead time.Duration) {
		if err := crashtest.SetClock(c.Clock, ahead); err != nil {
			t.Error(err)
		}
	}
	c.Troubles = append(c.Troubles, jump(set, 2*time.Hour), jump(set, -2*time.Hour))
}

func onRedis(t *testing.T, c *crashtest.Config) {
	s := redistest.StartWithClock(t, "appendonly yes", "appendfsync always")
	proxies := map[string]*netfault.Proxy{}
	for _, namespace := range []string{"published", "received"} {
		p, err := netfault.New(s.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		proxies[namespace] = p
		c.Troubles = append(c.Troubles,
			crashtest.Trouble{Name: "stalls of the network", Begin: p.Stall, End: p.Mend},
			crashtest.Trouble{Name: "cuts of all connections", Begin: p.Cut},
			crashtest.Trouble{Name: "times without a network", Begin: p.Down, End: p.Mend},
			crashtest.Trouble{Name: "times of lost answers", Begin: p.LoseAnswers, End: p.Mend},
		)
	}
	c.Published = "redis://" + proxies["published"].Addr() + "?namespace=published"
	c.Received = "redis://" + proxies["received"].Addr() + "?namespace=received"
	c.KillStore = func() {
		s.Kill()
		s.Restart()
	}
	c.Troubles = append(c.Troubles, jump(s.SetClock, 2*time.Hour), jump(s.SetClock, -2*time.Hour))
}

// jump sets a clock, and sets it back after a while, whatever the processes are
// doing, starting included.
func jump(set func(ahead time.Duration), by time.Duration) crashtest.Trouble {
	set(0)
	return crashtest.Trouble{
		Name:  "jumps of the clock",
		Begin: func() { set(by) },
		End:   func() { set(0) },
	}
}
