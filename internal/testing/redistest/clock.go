package redistest

import (
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/internal/testing/serverclock"
)

// StartWithClock is Start for a server whose clock can be set. Without a C
// compiler, or on another system than Linux, the test is skipped.
func StartWithClock(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := newServer(t, append([]string{
		"jemalloc-bg-thread no", // it does nothing but wake up while the clock is behind
	}, settings...))
	s.makeClock()
	s.launchOnFreePort()
	return s
}

// makeClock prepares a server that is about to be started.
func (s *Server) makeClock() {
	s.t.Helper()
	s.clock = serverclock.New(s.t, s.dir)
	s.env = s.clock.Env()
}

// Jump sets the clock of a server of StartWithClock forward, or back.
func (s *Server) Jump(d time.Duration) {
	s.t.Helper()
	s.clock.Jump(d)
}

// SetClock sets that clock by how much it is ahead.
func (s *Server) SetClock(ahead time.Duration) {
	s.t.Helper()
	s.clock.Set(ahead)
}
