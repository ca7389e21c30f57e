package sqliteengine_test

import (
	"path/filepath"
	"testing"

	"go.uber.org/goleak"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/enginetest"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	enginetest.Run(t, enginetest.Harness{
		NewStore: func(t testing.TB) enginetest.Opener {
			file := filepath.Join(t.TempDir(), "toot.db")
			return func(r engine.Retention) (engine.Engine, error) {
				return sqliteengine.Open(file, &sqliteengine.Options{Retention: r})
			}
		},
	})
}
