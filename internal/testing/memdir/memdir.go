// Package memdir gives tests folders in memory for data that is written to disk
// again and again: tests that run at the same time would wait for one disk.
package memdir

import (
	"os"
	"testing"
)

// New makes a folder, which is removed when the test is over. It is in memory
// where the system has a place for that with enough room, and otherwise as that
// of testing.TB.TempDir. Programs may not be run from there.
func New(t testing.TB) string {
	t.Helper()
	place, ok := memory()
	if !ok {
		return t.TempDir()
	}
	dir, err := os.MkdirTemp(place, "toot-test-")
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}
