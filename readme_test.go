package toot_test

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestTheREADMEsAppsExchangeAnEvent builds the publisher and the subscriber as
// they are printed, each in a module of its own, and runs them.
func TestTheREADMEsAppsExchangeAnEvent(t *testing.T) {
	readme := must2(os.ReadFile("README.md"))
	root := must2(filepath.Abs("."))
	blocks := regexp.MustCompile("(?s)<!-- (\\w+)/main.go -->\n```go\n(.*?)```").FindAllSubmatch(readme, -1)
	if len(blocks) != 2 {
		t.Fatalf("README.md has %d programs, want 2", len(blocks))
	}
	publisher, subscriber := freePort(t), freePort(t)
	programs := map[string]string{}
	for _, block := range blocks {
		name, source := string(block[1]), string(block[2])
		if lines := strings.Count(source, "\n"); lines > 40 {
			t.Errorf("the %s has %d lines", name, lines)
		}
		source = strings.NewReplacer("localhost:8001", publisher, "localhost:8002", subscriber).Replace(source)
		dir := filepath.Join(t.TempDir(), name)
		must(t, os.Mkdir(dir, 0o755))
		must(t, os.WriteFile(filepath.Join(dir, "main.go"), []byte(source), 0o600))
		gomod := bytes.Replace(must2(os.ReadFile("go.mod")), []byte("module "+module), []byte("module example.org/"+name), 1)
		gomod = append(gomod, "\nrequire "+module+" v0.0.0\nreplace "+module+" => "+root+"\n"...)
		must(t, os.WriteFile(filepath.Join(dir, "go.mod"), gomod, 0o600))
		must(t, os.WriteFile(filepath.Join(dir, "go.sum"), must2(os.ReadFile("go.sum")), 0o600))
		build := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", "-o", name, ".")
		build.Dir = dir
		build.Env = append(build.Environ(), "CGO_ENABLED=0") // as make test has built the packages before
		if out, err := build.CombinedOutput(); err != nil {
			t.Fatalf("build the %s: %v\n%s", name, err, out)
		}
		programs[name] = filepath.Join(dir, name)
	}
	run := func(name string) io.Reader {
		cmd := exec.CommandContext(t.Context(), programs[name])
		cmd.Dir = filepath.Dir(programs[name])
		out := must2(cmd.StderrPipe())
		must(t, cmd.Start())
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		})
		return out
	}
	run("publisher")
	eventually(t, "the publisher listens", func() bool {
		conn, err := net.Dial("tcp", publisher)
		if err == nil {
			_ = conn.Close()
		}
		return err == nil
	})
	lines := bufio.NewScanner(run("subscriber"))
	for lines.Scan() {
		if strings.Contains(lines.Text(), "was updated at 20") {
			servesWithSlash(t, publisher, "/subscriptions", http.StatusOK)
			servesWithSlash(t, subscriber, "/callbacks", http.StatusMethodNotAllowed)
			return
		}
		t.Log(lines.Text())
	}
	t.Error("the subscriber ended without an event")
}

// servesWithSlash: a service is at its path and at that with a slash, and what
// is below is none. Ruby peers follow no redirects.
func servesWithSlash(t *testing.T, host, path string, status int) {
	t.Helper()
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	for path, want := range map[string]int{path: status, path + "/": status, path + "/more": http.StatusNotFound} {
		res := must2(client.Get("http://" + host + path))
		_ = res.Body.Close()
		if res.StatusCode != want {
			t.Errorf("GET %s was answered with %d, want %d", path, res.StatusCode, want)
		}
	}
}

func freePort(t *testing.T) string {
	t.Helper()
	l := must2(net.Listen("tcp", "localhost:0"))
	defer func() { _ = l.Close() }()
	_, port, err := net.SplitHostPort(l.Addr().String())
	must(t, err)
	return "localhost:" + port
}
