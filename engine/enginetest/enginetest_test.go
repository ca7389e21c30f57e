package enginetest

import (
	"testing"

	"github.com/watermarkchurch/toot-go/engine"
)

func memHarness(b bug) Harness {
	return Harness{
		NewStore: func(testing.TB) Opener { return newMemStore(b).open },
		Abandon:  func(e engine.Engine) { e.(*memEngine).abandon() },
	}
}

func TestMemory(t *testing.T) { Run(t, memHarness("")) }
