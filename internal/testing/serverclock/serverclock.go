// Package serverclock sets the clocks of servers that tests start: a library that
// they preload adds to what the system says is the time.
package serverclock

import (
	_ "embed"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"
)

//go:embed testdata/clock.c
var source []byte

// Clock is the wall clock of a server.
type Clock struct {
	t     testing.TB
	dir   string
	ahead time.Duration
}

// New makes the clock of a server that is about to be started, with its files in a
// directory of the server's. Without a C compiler, or on another system than Linux,
// the test is skipped.
func New(t testing.TB, dir string) *Clock {
	t.Helper()
	if runtime.GOOS != "linux" {
		t.Skip("the clock of a server can be set on Linux only")
	}
	compiled, err := library()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("there is no C compiler")
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &Clock{t: t, dir: dir}
	if err := os.WriteFile(c.library(), compiled, 0o755); err != nil { //nolint:gosec // the server may run as another user
		t.Fatal(err)
	}
	c.Set(0)
	return c
}

// library compiles what sets a clock, once for the process, and returns the
// compiled file.
var library = sync.OnceValues(func() ([]byte, error) {
	compiler, err := exec.LookPath("cc")
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "serverclock")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	text, compiled := filepath.Join(dir, "clock.c"), filepath.Join(dir, "clock.so")
	if err := os.WriteFile(text, source, 0o600); err != nil {
		return nil, err
	}
	if out, err := exec.Command(compiler, "-shared", "-fPIC", "-O1", "-o", compiled, text).CombinedOutput(); err != nil {
		return nil, fmt.Errorf("can't compile what sets the clock: %w\n%s", err, out)
	}
	return os.ReadFile(compiled)
})

func (c *Clock) library() string { return filepath.Join(c.dir, "clock.so") }

func (c *Clock) file() string { return filepath.Join(c.dir, "clock") }

// Env is what the server's environment must have.
func (c *Clock) Env() []string {
	return []string{"LD_PRELOAD=" + c.library(), "SERVER_CLOCK=" + c.file()}
}

// Jump sets the clock forward, or back.
func (c *Clock) Jump(d time.Duration) {
	c.t.Helper()
	c.Set(c.ahead + d)
}

// Set sets the clock by how much it is ahead.
func (c *Clock) Set(ahead time.Duration) {
	c.t.Helper()
	c.ahead = ahead
	// Not truncated: the server has it mapped. It may run as another user.
	file, err := os.OpenFile(c.file(), os.O_CREATE|os.O_WRONLY, 0o644) //nolint:gosec // as the comment says
	if err != nil {
		c.t.Fatal(err)
	}
	_, err = file.Write(binary.NativeEndian.AppendUint64(nil, uint64(ahead.Microseconds()))) //nolint:gosec // the server reads it as it is
	if err != nil {
		c.t.Fatal(err)
	}
	if err := file.Close(); err != nil {
		c.t.Fatal(err)
	}
}
