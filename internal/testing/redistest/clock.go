package redistest

import (
	_ "embed"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"
	"time"
)

//go:embed testdata/clock.c
var clockSource []byte

// StartWithClock is Start for a server whose clock can be set. Without a C
// compiler, or on another system than Linux, the test is skipped.
func StartWithClock(t testing.TB, settings ...string) *Server {
	t.Helper()
	s := newServer(t, settings)
	s.makeClock()
	s.launchOnFreePort()
	return s
}

// makeClock compiles what a server is to preload.
func (s *Server) makeClock() {
	s.t.Helper()
	if runtime.GOOS != "linux" {
		s.t.Skip("the clock of a redis-server can be set on Linux only")
	}
	compiler, err := exec.LookPath("cc")
	if err != nil {
		s.t.Skip("there is no C compiler")
	}
	source, library := filepath.Join(s.dir, "clock.c"), filepath.Join(s.dir, "clock.so")
	if err := os.WriteFile(source, clockSource, 0o600); err != nil {
		s.t.Fatal(err)
	}
	if out, err := exec.Command(compiler, "-shared", "-fPIC", "-O1", "-o", library, source).CombinedOutput(); err != nil {
		s.t.Fatalf("can't compile what sets the clock: %v\n%s", err, out)
	}
	s.env = []string{"LD_PRELOAD=" + library, "REDISTEST_CLOCK=" + s.clockFile()}
	s.SetClock(0)
}

func (s *Server) clockFile() string { return filepath.Join(s.dir, "clock") }

// Jump sets the clock of a server of StartWithClock forward, or back.
func (s *Server) Jump(d time.Duration) {
	s.t.Helper()
	s.SetClock(s.ahead + d)
}

// SetClock sets that clock by how much it is ahead.
func (s *Server) SetClock(ahead time.Duration) {
	s.t.Helper()
	s.ahead = ahead
	file, err := os.OpenFile(s.clockFile(), os.O_CREATE|os.O_WRONLY, 0o600) // not truncated: the server has it mapped
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = file.Write(binary.NativeEndian.AppendUint64(nil, uint64(ahead.Microseconds()))) //nolint:gosec // the server reads it as it is
	if err != nil {
		s.t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		s.t.Fatal(err)
	}
}
