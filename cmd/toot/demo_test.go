package main_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

func TestDemoHandlesEveryEvent(t *testing.T) {
	t.Parallel()
	r := command(t, "demo", "--events", "2000")
	wantCode(t, r, 0)
	if got, want := r.lastLine(), "published 2000 · delivered 2000 · handled 2000 · lost 0"; got != want {
		t.Errorf("the last line is %q, want %q", got, want)
	}
	wantContains(t, r.stdout, "POSTed", "1,995 more", "/s")
	if strings.Contains(r.stdout+r.stderr, "\x1b") {
		t.Error("there are colours or a progress line in what is no terminal")
	}
}

func TestDemoWithFaultsRetries(t *testing.T) {
	t.Parallel()
	r := command(t, "demo", "--events", "600", "--faults")
	wantCode(t, r, 0)
	if got, want := r.lastLine(), "published 600 · delivered 600 · handled 600 · lost 0"; got != want {
		t.Errorf("the last line is %q, want %q", got, want)
	}
	wantContains(t, r.stdout, "answered with status 500", "answer", "500", "Retry-After", "hang", "panic")
	if m := regexp.MustCompile(`retried +([\d,]+) deliveries .*, (\d+) handler`).FindStringSubmatch(r.stdout); m == nil || m[1] == "0" || m[2] == "0" {
		t.Errorf("no retries are told of:\n%s", r.stdout)
	}
}

func TestDemoOfFewEvents(t *testing.T) {
	t.Parallel()
	for _, n := range []string{"0", "1", "3", "6"} {
		r := command(t, "demo", "--events", n, "--faults")
		wantCode(t, r, 0)
		if got, want := r.lastLine(), "published "+n+" · delivered "+n+" · handled "+n+" · lost 0"; got != want {
			t.Errorf("the last line is %q, want %q", got, want)
		}
	}
}

func TestDemoOnRedisLeavesNothingThere(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	r := command(t, "demo", "--events", "500", "--store", "redis://"+server.Addr())
	wantCode(t, r, 0)
	if got, want := r.lastLine(), "published 500 · delivered 500 · handled 500 · lost 0"; got != want {
		t.Errorf("the last line is %q, want %q", got, want)
	}
	client := server.Client()
	keys, err := client.Do(t.Context(), client.B().Dbsize().Build()).AsInt64()
	if err != nil || keys != 0 {
		t.Errorf("%d keys are left on the server (%v), want none", keys, err)
	}
}

func TestDemoTemporaryFolderIsRemoved(t *testing.T) {
	tmp := t.TempDir()
	t.Setenv("TMPDIR", tmp)
	wantCode(t, command(t, "demo", "--events", "10"), 0)
	left, err := os.ReadDir(tmp)
	if err != nil || len(left) > 0 {
		t.Errorf("%v is left behind (%v)", left, err)
	}
}

// TestDemoInterrupted: a signal ends it in order, and the next run in the same
// folder goes on with what was left.
func TestDemoInterrupted(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	p := start(t, "", "demo", "--events", "30000", "--dir", dir)
	eventually(t, "hundreds are published", func() bool {
		info, err := os.Stat(filepath.Join(dir, "published.log"))
		return err == nil && info.Size() > 20_000
	})
	p.signal(os.Interrupt)
	r := p.wait()
	wantCode(t, r, 130)
	wantContains(t, r.stdout, "Stopped after ")
	published, handled := number(t, r.lastLine(), "published"), number(t, r.lastLine(), "handled")
	if handled < published { // else it was quick enough to finish what there was
		wantContains(t, r.stdout, "waiting at the ", "--dir "+dir, " · waiting ")
	}
	if number(t, r.lastLine(), "lost") != 0 {
		t.Errorf("it was stopped in order, and says %q", r.lastLine())
	}

	r = command(t, "demo", "--events", "7", "--dir", dir)
	wantCode(t, r, 0)
	n := strconv.Itoa(published - handled + 7)
	if got, want := r.lastLine(), "published "+n+" · delivered "+n+" · handled "+n+" · lost 0"; got != want {
		t.Errorf("the last line is %q, want %q", got, want)
	}
}

// TestDemoKilled: what was published before a kill is handled by the next run.
func TestDemoKilled(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "demo")
	for range 3 {
		p := start(t, "", "demo", "--events", "5000", "--dir", dir)
		p.await("more, as fast as it goes")
		p.signal(syscall.SIGKILL)
		p.wait()
	}
	r := command(t, "demo", "--events", "0", "--dir", dir)
	wantCode(t, r, 0)
	last := r.lastLine()
	if n := number(t, last, "published"); number(t, last, "handled") != n || number(t, last, "lost") != 0 {
		t.Errorf("after three kills the last line is %q", last)
	}
}

func TestDemoUsage(t *testing.T) {
	t.Parallel()
	for _, args := range [][]string{
		{"demo", "--events", "-1"}, {"demo", "--events", "many"}, {"demo", "there"}, {"demo", "--evnts", "1"}, {"demonstrate"},
	} {
		r := command(t, args...)
		wantCode(t, r, 2)
		if lines := strings.Count(r.stderr, "\n"); lines != 1 || !strings.HasPrefix(r.stderr, "toot: ") {
			t.Errorf("toot %s says %q, want one line", strings.Join(args, " "), r.stderr)
		}
	}
	r := command(t, "demo", "--store", "redis://127.0.0.1:1")
	wantCode(t, r, 1)
	wantContains(t, r.stderr, "127.0.0.1:1")
}

// number finds the count behind a word.
func number(t *testing.T, line, word string) int {
	t.Helper()
	m := regexp.MustCompile(word + ` (\d+)`).FindStringSubmatch(line)
	if m == nil {
		t.Fatalf("there is no %q in %q", word, line)
	}
	n, err := strconv.Atoi(m[1])
	if err != nil {
		t.Fatal(err)
	}
	return n
}
