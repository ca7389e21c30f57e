package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"testing"
)

// TestVersion: what it is told is what both ways to ask print.
func TestVersion(t *testing.T) {
	t.Parallel()
	want := "toot " + builtVersion + " (" + builtRevision[:12] + ", modified), " + runtime.Version() + ", " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	for _, args := range [][]string{{"version"}, {"--version"}, {"--version", "--verbose"}} {
		r := command(t, args...)
		wantCode(t, r, 0)
		if r.stdout != want {
			t.Errorf("toot %s prints %q, want %q", strings.Join(args, " "), r.stdout, want)
		}
	}
	v := objects(t, command(t, "version", "--json").stdout)
	if v[0]["version"] != builtVersion || v[0]["revision"] != builtRevision || v[0]["modified"] != true {
		t.Errorf("version --json prints %v", v)
	}
	wantCode(t, command(t, "--version", "now"), 2)
}

// TestMakeTellsTheVersion: the linker learns it from make build, whatever Go finds
// out by itself, and the program says it.
func TestMakeTellsTheVersion(t *testing.T) {
	t.Parallel()
	out, err := exec.CommandContext(t.Context(), "make", "-C", "../..", "-n", "build", "VERSION=v9.8.7").CombinedOutput()
	m := regexp.MustCompile(`-ldflags '([^']* -X main\.version=v9\.8\.7 -X main\.revision=(?:[0-9a-f]{40}(?:\+dirty)?)?)'`).FindSubmatch(out)
	if err != nil || m == nil {
		t.Fatalf("make build runs (%v):\n%s", err, out)
	}
	program := filepath.Join(t.TempDir(), "toot")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", program, "-ldflags", string(m[1]), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0") // as make build does, and make test has built the packages before
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	said, err := exec.CommandContext(t.Context(), program, "version").CombinedOutput()
	if want := "toot v9.8.7"; err != nil || !strings.HasPrefix(string(said), want) {
		t.Errorf("the program says %q (%v), want %q…", said, err, want)
	}
}

// TestTheImageHasItsRevision: the folder that the image is built in is a clone in
// which nothing is missing, so that Go finds the revision, and no change.
func TestTheImageHasItsRevision(t *testing.T) {
	var patterns []string
	for line := range strings.Lines(readFile(t, "../../deploy/Dockerfile.dockerignore")) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			if !strings.HasPrefix(line, "/") {
				t.Errorf("%q does not begin with a slash: Docker and git would read it differently", line)
			}
			patterns = append(patterns, "--exclude="+line)
		}
	}
	out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", "../..", "ls-files", "--cached", "--ignored"}, patterns...)...).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("of what git knows this is left out (%v):\n%s", err, out)
	}
	for _, p := range patterns {
		if strings.Contains(p, ".git") {
			t.Errorf("%s leaves out the repository", p)
		}
	}
	if file := readFile(t, "../../deploy/Dockerfile"); !strings.Contains(file, "COPY . .\n") || strings.Contains(file, "-buildvcs=false") {
		t.Error("deploy/Dockerfile does not build from the whole clone")
	}
}
