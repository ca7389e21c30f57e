package memengine_test

import (
	"flag"
	"os"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/enginetest"
	"github.com/watermarkchurch/toot-go/engine/memengine"
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
	enginetest.Run(t, enginetest.Harness{
		NewStore: func(testing.TB) enginetest.Opener {
			s := memengine.NewStore()
			return func(r engine.Retention) (engine.Engine, error) { return s.Open(r), nil }
		},
		// It goes by monotonic time, which nobody can set, and remembers no
		// answers that could be out of date.
		Jump:  func(engine.Engine, time.Duration) {},
		Stall: func(engine.Engine) func() { return func() {} },
	})
}
