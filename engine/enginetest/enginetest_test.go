package enginetest

import "testing"

func memHarness(b bug) Harness {
	return Harness{NewStore: func(testing.TB) Opener { return newMemStore(b).open }}
}

func TestMemory(t *testing.T) { Run(t, memHarness("")) }
