package main_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	tootcmd "github.com/watermarkchurch/toot-go/cmd/toot"
)

// patience is how long anything may take that a test waits for.
const patience = 3 * time.Minute

// binary is the command as a program. It is the test itself, which is the command
// under this name: nothing has to be linked, and the race detector watches it.
var binary string

// What the command is told of its version.
const (
	builtVersion  = "v1.2.3-test"
	builtRevision = "0123456789abcdef0123456789abcdef01234567"
)

func TestMain(m *testing.M) {
	tootcmd.SetVersion(builtVersion, builtRevision+"+dirty")
	if filepath.Base(os.Args[0]) == "toot" {
		tootcmd.Main()
	}
	for _, e := range os.Environ() { // what would change the command
		if name, _, _ := strings.Cut(e, "="); strings.HasPrefix(name, "OTEL_") || strings.HasPrefix(name, "TOOT_") {
			_ = os.Unsetenv(name)
		}
	}
	// The race detector has processes wait for a second before they end.
	_ = os.Setenv("GORACE", os.Getenv("GORACE")+" atexit_sleep_ms=0")
	flag.Parse()
	// The tests wait for processes more than they work.
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		_ = flag.Set("test.parallel", "4")
	}
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "toot-test-")
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer func() { _ = os.RemoveAll(dir) }()
		binary = filepath.Join(dir, "toot")
		if err := shareProgram(binary); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		return m.Run()
	}())
}

// shareProgram gives the program that is running another name. No symbolic link:
// another user may have no right to where it leads.
func shareProgram(name string) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	if os.Link(self, name) == nil {
		return nil
	}
	program, err := os.ReadFile(self) // it is on another file system
	if err != nil {
		return err
	}
	return os.WriteFile(name, program, 0o755) //nolint:gosec // a program
}

// result is what came of a run of the command.
type result struct {
	stdout, stderr string
	code           int
}

// lastLine is the last line on standard output.
func (r result) lastLine() string {
	lines := strings.Split(strings.TrimSpace(r.stdout), "\n")
	return lines[len(lines)-1]
}

// command runs it to its end, within the test: it does what the program does, but
// for signals and terminals, without a process for each. What makes a store in the
// folder that it is in wants start.
func command(t *testing.T, args ...string) result {
	t.Helper()
	return commandWith(t, "", args...)
}

// commandWith is command with something on standard input.
func commandWith(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var stdout, stderr buffer
	code := tootcmd.Run(ctx, args, strings.NewReader(stdin), &stdout, &stderr)
	if ctx.Err() != nil {
		t.Fatalf("toot %s did not end", strings.Join(args, " "))
	}
	if _, err := os.Stat("toot.db"); err == nil {
		t.Fatalf("toot %s, or a test beside it, made a store in the folder of the tests: remove toot.db", strings.Join(args, " "))
	}
	return result{stdout.String(), stderr.String(), code}
}

// process is the command while it runs.
type process struct {
	t      *testing.T
	cmd    *exec.Cmd
	stdout buffer
	stderr buffer
	ended  chan struct{}
}

// start starts the command, and kills it when the test is over.
func start(t *testing.T, stdin string, args ...string) *process {
	t.Helper()
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), binary, args...)
	cmd.Stdin = strings.NewReader(stdin)
	return startIn(t, t.TempDir(), cmd)
}

// startIn starts any command in a folder. toot is on its PATH.
func startIn(t *testing.T, dir string, cmd *exec.Cmd) *process {
	t.Helper()
	p := &process{t: t, cmd: cmd, ended: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"))
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		defer close(p.ended)
		_ = p.cmd.Wait()
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			t.Logf("%s\nstdout:\n%s\nstderr:\n%s", strings.Join(cmd.Args, " "), tail(p.stdout.String()), tail(p.stderr.String()))
		}
	})
	return p
}

func tail(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-40):], "\n")
}

// signal sends a signal.
func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Fatal(err)
	}
}

// wait returns what came of it once it has ended.
func (p *process) wait() result {
	p.t.Helper()
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("toot %s did not end", strings.Join(p.cmd.Args[1:], " "))
	}
	return result{p.stdout.String(), p.stderr.String(), p.cmd.ProcessState.ExitCode()}
}

// await returns once standard output holds a text, or standard error does.
func (p *process) await(text string) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("toot %s prints %q", strings.Join(p.cmd.Args[1:], " "), text), func() bool {
		return strings.Contains(p.stdout.String(), text) || strings.Contains(p.stderr.String(), text)
	})
}

// eventually waits for something to become true.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// buffer is a bytes.Buffer for two goroutines.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func wantCode(t *testing.T, r result, want int) {
	t.Helper()
	if r.code != want {
		t.Errorf("exit code %d, want %d; standard error: %s", r.code, want, r.stderr)
	}
}

func wantContains(t *testing.T, text string, want ...string) {
	t.Helper()
	for _, w := range want {
		if !strings.Contains(text, w) {
			t.Errorf("%q is not in:\n%s", w, text)
		}
	}
}

// freePort finds a port that nobody listens on; somebody may take it before it
// is used.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}
