package sqliteengine_test

import (
	"flag"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/enginetest"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
	"github.com/watermarkchurch/toot-go/internal/testing/memdir"
)

func TestMain(m *testing.M) {
	flag.Parse()
	// Many of the tests wait more than they work.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = flag.Set("test.parallel", "8")
	}
	goleak.VerifyTestMain(m)
}

func TestConformance(t *testing.T) {
	t.Parallel()
	var clocks sync.Map // by file
	enginetest.Run(t, enginetest.Harness{
		NewStore: func(t testing.TB) enginetest.Opener {
			file, clock := filepath.Join(memdir.New(t), "toot.db"), &sqliteengine.WallTime{}
			clocks.Store(file, clock)
			return func(r engine.Retention) (engine.Engine, error) {
				opts := &sqliteengine.Options{Retention: r}
				clock.Use(opts)
				return sqliteengine.Open(file, opts)
			}
		},
		Jump: func(e engine.Engine, d time.Duration) {
			clock, _ := clocks.Load(e.(*sqliteengine.Engine).Path())
			clock.(*sqliteengine.WallTime).Set(d)
		},
		BreakChannel: func(e engine.Engine, channel string) {
			if err := e.(*sqliteengine.Engine).BreakChannel(channel); err != nil {
				t.Error(err)
			}
		},
		// Whether its memory is out of date an engine sees in the file.
		Stall: func(engine.Engine) (resume func()) { return func() {} },
	})
}
