package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/internal/testing/pages"
)

// step is something that the tutorial has its readers do: what the comment
// says, and the block below it, if there is one.
type step struct{ verb, what, text string }

func stepsOf(t *testing.T, page string) []step {
	t.Helper()
	var steps []step
	for _, m := range regexp.MustCompile("(?ms)^<!-- (\\w+)(?: ([^\n]+?))? -->\n(?:```\\w*\n(.*?)^```$)?").FindAllStringSubmatch(readFile(t, page), -1) {
		steps = append(steps, step{m[1], m[2], m[3]})
	}
	if len(steps) == 0 {
		t.Fatalf("%s has no steps", page)
	}
	return steps
}

// reader does what the tutorial says.
type reader struct {
	*testing.T
	dir       string
	addresses *strings.Replacer
	terminals map[string]*process
	last      string // what the last command printed
}

// TestTutorial does what docs/tutorial.md says, in an empty folder: with the
// toot of this repository, and on free ports.
func TestTutorial(t *testing.T) {
	t.Parallel()
	r := &reader{T: t, dir: t.TempDir(), terminals: map[string]*process{}}
	r.addresses = strings.NewReplacer("localhost:8001", pages.FreeAddress(t), "localhost:8002", pages.FreeAddress(t))
	for _, s := range stepsOf(t, "../../docs/tutorial.md") {
		t.Logf("%s %s", s.verb, s.what)
		r.do(s)
		if t.Failed() {
			return
		}
	}
}

func (r *reader) do(s step) {
	r.Helper()
	text := r.addresses.Replace(s.text)
	switch s.verb {
	case "file":
		if err := os.WriteFile(filepath.Join(r.dir, s.what), []byte(text), 0o600); err != nil {
			r.Fatal(err)
		}
	case "run":
		r.run(text)
	case "await": // the same command again, until it prints what it is to print
		eventually(r.T, text+" prints "+s.what, func() bool {
			r.run(text)
			return strings.Contains(r.last, s.what)
		})
	case "output":
		r.wants(r.last, text)
	case "terminal":
		r.terminals[s.what] = startIn(r.T, r.dir, exec.Command("sh", "-c", "exec "+text))
		r.awaitServing(s.what)
	case "see":
		r.terminals[s.what].await(strings.TrimSpace(text))
	case "stop":
		r.terminals[s.what].signal(os.Interrupt)
		wantCode(r.T, r.terminals[s.what].wait(), 0)
	case "kill":
		r.terminals[s.what].signal(os.Kill)
		r.terminals[s.what].wait()
	default:
		r.Fatalf("nobody knows how to %s", s.verb)
	}
}

// run runs commands. Those that get toot from the internet are left to
// pages.Module; toot is on the PATH. They build without cgo, as make test has
// built toot's packages before.
func (r *reader) run(script string) {
	r.Helper()
	lines := strings.Split(script, "\n")
	for i, line := range lines {
		switch {
		case strings.HasPrefix(line, "go mod init "):
			pages.Module(r.T, r.dir, strings.TrimPrefix(line, "go mod init "))
			lines[i] = ""
		case strings.HasPrefix(line, "go get "), strings.HasPrefix(line, "go install "):
			if !strings.HasSuffix(line, "@latest") {
				r.Errorf("%q gets no released version", line)
			}
			lines[i] = ""
		}
	}
	p := startIn(r.T, r.dir, exec.Command("sh", "-eu", "-c", "export GOFLAGS=-mod=mod CGO_ENABLED=0; "+strings.Join(lines, "\n")))
	result := p.wait()
	wantCode(r.T, result, 0)
	r.last = result.stdout
}

// wants looks for lines in what was printed; "…" stands for anything.
func (r *reader) wants(printed, want string) {
	r.Helper()
	for line := range strings.Lines(want) {
		pattern := strings.ReplaceAll(regexp.QuoteMeta(strings.TrimSpace(line)), "…", ".+")
		if !regexp.MustCompile(pattern).MatchString(printed) {
			r.Errorf("%q is not in:\n%s", line, printed)
		}
	}
}

// awaitServing waits until a terminal's program listens and, in the case of the
// mailer, is registered, as a reader does who goes from one terminal to another.
func (r *reader) awaitServing(name string) {
	r.Helper()
	url := r.addresses.Replace(map[string]string{"shop": "http://localhost:8001/readyz", "mailer": "http://localhost:8001/subscriptions"}[name])
	callback := r.addresses.Replace("http://localhost:8002/callbacks")
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		out, err := exec.CommandContext(r.Context(), "curl", "-sf", url).Output()
		if err == nil && (name == "shop" || strings.Contains(string(out), callback)) {
			return
		}
		if time.Now().After(deadline) {
			r.Fatalf("the %s does not serve", name)
		}
	}
}
