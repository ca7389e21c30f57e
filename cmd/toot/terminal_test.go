//go:build unix

package main_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/rivo/uniseg"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/sqliteengine"
)

// terminal is the command on a terminal of its own.
type terminal struct {
	t      *testing.T
	cmd    *exec.Cmd
	file   *os.File // what a person sees and types
	screen buffer
	closed chan struct{}
}

// onTerminal starts the command in a folder, on a terminal of some width.
func onTerminal(t *testing.T, dir string, columns int, args ...string) *terminal {
	t.Helper()
	p := &terminal{t: t, closed: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), binary, args...)
	p.cmd.Dir, p.cmd.Env = dir, append(os.Environ(), "TERM=xterm-256color")
	file, err := pty.StartWithSize(p.cmd, &pty.Winsize{Rows: 40, Cols: uint16(columns)})
	if err != nil {
		t.Fatal(err)
	}
	// A file that can be closed while it is being read.
	fd, err := syscall.Dup(int(file.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	_ = file.Close()
	syscall.CloseOnExec(fd)
	if err := syscall.SetNonblock(fd, true); err != nil {
		t.Fatal(err)
	}
	p.file = os.NewFile(uintptr(fd), "terminal")
	go func() {
		defer close(p.closed)
		_, _ = io.Copy(&p.screen, p.file) // until the command ends
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		_ = p.file.Close()
		if t.Failed() {
			t.Logf("toot %s shows:\n%s", strings.Join(args, " "), p.screen.String())
		}
	})
	return p
}

func (p *terminal) await(text string) {
	p.t.Helper()
	eventually(p.t, fmt.Sprintf("%q is shown", text), func() bool { return strings.Contains(p.screen.String(), text) })
}

func (p *terminal) enter(keys string) {
	p.t.Helper()
	if _, err := p.file.WriteString(keys); err != nil {
		p.t.Fatal(err)
	}
}

// ends returns the exit code, and what was shown without its colours.
func (p *terminal) ends() (code int, shown string) {
	p.t.Helper()
	select {
	case <-p.closed:
	case <-time.After(patience):
		p.t.Fatal("it does not end")
	}
	_ = p.cmd.Wait()
	return p.cmd.ProcessState.ExitCode(), regexp.MustCompile("\x1b\\[[0-9;]*[a-zA-Z]").ReplaceAllString(p.screen.String(), "")
}

// echoes reports whether the terminal shows what is typed.
func (p *terminal) echoes() bool {
	p.t.Helper()
	out, err := func() ([]byte, error) {
		cmd := exec.Command("stty", "-a")
		cmd.Stdin = p.file
		return cmd.Output()
	}()
	if err != nil {
		p.t.Fatal(err)
	}
	return regexp.MustCompile(`(^|\s)echo(\s|;|$)`).Match(out)
}

// TestPasswordsAreNotShown: toot auth add asks for the password on a terminal,
// twice, and shows nothing of it.
func TestPasswordsAreNotShown(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	add := func(name string, passwords ...string) (int, string) {
		p := onTerminal(t, dir, 80, "auth", "add", name, "--store", "sqlite:toot.db")
		for i, prompt := range []string{"Password: ", "Again: "} {
			p.await(prompt)
			eventually(t, "the terminal stops showing what is typed", func() bool { return !p.echoes() })
			p.enter(passwords[i] + "\n")
			if i == 0 { // until it has been taken, what is typed would be lost
				p.await("Again: ")
			}
		}
		code, shown := p.ends()
		for _, password := range passwords {
			if strings.Contains(shown, password) {
				t.Errorf("the terminal shows the password: %q", shown)
			}
		}
		return code, shown
	}
	if code, shown := add("ann", "s3cret ü", "s3cret ü"); code != 0 || !strings.Contains(shown, "Added ann") {
		t.Errorf("exit code %d: %q", code, shown)
	}
	if code, shown := add("bob", "one thing", "another"); code != 2 || !strings.Contains(shown, "not the same") {
		t.Errorf("exit code %d: %q", code, shown)
	}
	r := commandIn(t, dir, "auth", "list", "--json") // toot.db is here
	wantCode(t, r, 0)
	if r.stdout != `{"username":"ann"}`+"\n" {
		t.Errorf("there are %q", r.stdout)
	}
}

// TestQuestionsEndWithCtrlC, and leave the terminal as it was.
func TestQuestionsEndWithCtrlC(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bury(t, filepath.Join(dir, "toot.db"), 3)
	for _, c := range []struct {
		prompt string
		args   []string
	}{
		{"Password: ", []string{"auth", "add", "ann"}},
		{"[y/N]", []string{"dead", "redrive", "--all"}},
	} {
		p := onTerminal(t, dir, 80, c.args...)
		p.await(c.prompt)
		p.enter("x\x03")
		code, shown := p.ends()
		if code != 130 || !strings.HasSuffix(shown, "\n") {
			t.Errorf("%v: exit code %d, shown %q", c.args, code, shown)
		}
	}
}

// TestRedriveAsks: what is to be redriven is redriven if the answer is yes.
func TestRedriveAsks(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bury(t, filepath.Join(dir, "toot.db"), 1200)
	p := onTerminal(t, dir, 80, "dead", "redrive", "--all")
	p.await("[y/N]")
	p.enter("n\n")
	if code, shown := p.ends(); code != 0 || !strings.Contains(shown, "Redrive 1,200 dead letters of http://127.0.0.1:1/callbacks?") || !strings.Contains(shown, "Nothing was done") {
		t.Errorf("exit code %d, shown %q", code, shown)
	}
	p = onTerminal(t, dir, 80, "dead", "redrive", "--all")
	p.await("[y/N]")
	p.enter("y\n")
	code, shown := p.ends()
	if code != 0 || !strings.Contains(shown, "1,200 dead letters redriven") || !strings.Contains(shown, "─") {
		t.Errorf("exit code %d, shown %q", code, shown)
	}
}

// TestNarrowTerminals: nothing is wider than the terminal, words that can't be
// broken left out.
func TestNarrowTerminals(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	bury(t, filepath.Join(dir, "toot.db"), 3)
	for _, args := range [][]string{
		{"help"}, {"help", "serve"}, {"help", "dead", "list"}, {"stats"}, {"dead", "list"}, {"dead", "show", "1"}, {"config", "check"}, {"version"}, {"auth", "list"}, {"dead", "redrive", "1"},
	} {
		p := onTerminal(t, dir, 60, args...)
		code, shown := p.ends()
		if code != 0 {
			t.Errorf("%v: exit code %d", args, code)
		}
		if args[0] == "help" { // examples and drawings are as they are
			_, shown, _ = strings.Cut(shown, "\nFlags:")
		}
		for line := range strings.Lines(shown) {
			line = strings.TrimRight(line, "\r\n")
			if w := uniseg.StringWidth(line); w > 60 {
				t.Errorf("toot %s: %d columns: %q", strings.Join(args, " "), w, line)
			}
		}
	}
}

// TestLanesLookDifferent: URLs that are cut differ as before.
func TestLanesLookDifferent(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	lanes := []string{"http://127.0.0.1:9001/toot/callbacks", "http://127.0.0.1:9002/toot/callbacks", "http://127.0.0.1:9003/toot/callbacks"}
	for _, lane := range lanes {
		buryIn(t, filepath.Join(dir, "toot.db"), lane, 1)
	}
	for _, args := range [][]string{{"stats"}, {"dead", "list"}} {
		for _, columns := range []int{60, 80} {
			_, shown := onTerminal(t, dir, columns, args...).ends()
			for _, port := range []string{"9001", "9002", "9003"} {
				if !strings.Contains(shown, port) {
					t.Errorf("toot %s does not tell the lanes apart at %d columns:\n%s", strings.Join(args, " "), columns, shown)
				}
			}
		}
	}
}

// TestDemoBreaksBetweenWords: on a narrow terminal nothing is cut by its edge.
func TestDemoBreaksBetweenWords(t *testing.T) {
	t.Parallel()
	code, shown := onTerminal(t, t.TempDir(), 60, "demo", "--faults", "--events", "100").ends()
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	shown = shown[strings.LastIndex(shown, "faults"):]
	for line := range strings.Lines(shown) {
		line = strings.TrimRight(line, "\r\n")
		if w := uniseg.StringWidth(line); w > 60 && !strings.HasPrefix(line, "published") {
			t.Errorf("%d columns: %q", w, line)
		}
	}
	if !strings.Contains(shown, "retried") {
		t.Errorf("shown:\n%s", shown)
	}
}

// TestServeOnATerminal: the log is laid out for those who watch, and the
// command ends in order with Ctrl-C.
func TestServeOnATerminal(t *testing.T) {
	t.Parallel()
	p := onTerminal(t, t.TempDir(), 100, "serve", "--listen", "127.0.0.1:0")
	p.await("serving")
	p.enter("\x03")
	code, shown := p.ends()
	if code != 0 || !regexp.MustCompile(`\d\d:\d\d:\d\d\.\d{3}    serving  url=http://127\.0\.0\.1:\d+  store=sqlite:toot\.db`).MatchString(shown) {
		t.Errorf("exit code %d, shown:\n%s", code, shown)
	}
}

// TestServeEndsWithItsTerminal, though SIGHUP means something else to it
// otherwise: nobody would find it again.
func TestServeEndsWithItsTerminal(t *testing.T) {
	t.Parallel()
	p := onTerminal(t, t.TempDir(), 100, "serve", "--listen", "127.0.0.1:0")
	p.await("serving")
	if err := p.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.await("credentials were read again")
	if err := p.file.Close(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- p.cmd.Wait() }()
	select {
	case err := <-ended:
		if err != nil {
			t.Errorf("it ended with %v", err)
		}
	case <-time.After(patience):
		t.Error("it goes on")
	}
}

// commandIn is command in a folder.
func commandIn(t *testing.T, dir string, args ...string) result {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), binary, args...)
	var stdout, stderr buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, os.Environ(), &stdout, &stderr
	_ = cmd.Run()
	return result{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// bury makes a store with dead letters.
func bury(t *testing.T, file string, n int) {
	t.Helper()
	buryIn(t, file, "http://127.0.0.1:1/callbacks", n)
}

// buryIn adds dead letters of a lane to a store.
func buryIn(t *testing.T, file, lane string, n int) {
	t.Helper()
	s, err := sqliteengine.Open(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	jobs := make([]engine.Job, n)
	for i := range jobs {
		jobs[i] = engine.Job{
			Event: &engine.Event{ID: fmt.Sprint("event ", i, " to ", lane), Channel: "org.example.publisher.users.updated.v1", Body: []byte(`{}`)},
			Lane:  engine.Lane{Kind: engine.Deliver, Name: lane},
			Lease: time.Minute,
		}
	}
	res, err := s.Push(t.Context(), engine.PushRequest{Jobs: jobs})
	if err != nil {
		t.Fatal(err)
	}
	outcomes := make([]engine.Outcome, n)
	for i, ticket := range res.Tickets {
		outcomes[i] = engine.Outcome{Ticket: ticket, Result: engine.Bury, Attempt: 26, Reason: "answered with status 503, as it has done for some time now"}
	}
	if _, err := s.Settle(t.Context(), outcomes); err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
