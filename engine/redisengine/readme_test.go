package redisengine_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"

	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// TestTheREADMEsPublisherOnRedis changes the README's publisher as it says, and
// runs two of it on one server: each publishes to the subscriber that a Ruby
// app has left there.
func TestTheREADMEsPublisherOnRedis(t *testing.T) {
	t.Parallel()
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	program := regexp.MustCompile("(?s)<!-- publisher/main.go -->\n```go\n(.*?)```").FindSubmatch(readme)
	opened := regexp.MustCompile("(?s)<!-- on redis -->\n```go\n(.*?)\n```").FindSubmatch(readme)
	if program == nil || opened == nil {
		t.Fatal("README.md has no publisher, or does not open a store on Redis")
	}
	s := redistest.Start(t)
	var mu sync.Mutex
	got := map[string]int{} // payloads
	endpoint := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		var e struct{ Payload json.RawMessage }
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Error(err)
		}
		mu.Lock()
		defer mu.Unlock()
		got[string(e.Payload)]++
	}))
	defer endpoint.Close()
	s.Do("SADD", "org.example.publisher.users.updated.v1", endpoint.URL)

	source := strings.Replace(string(program[1]), "\tstore, err := sqliteengine.Open(\"publisher.db\", nil)", "\t"+string(opened[1]), 1)
	source = strings.NewReplacer("sqliteengine", "redisengine", "redis://localhost:6379", s.URL(), "localhost:8001", "localhost:0").Replace(source)
	if !strings.Contains(source, s.URL()) {
		t.Fatalf("the program does not open a store on Redis:\n%s", source)
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	gomod, err := os.ReadFile(filepath.Join(root, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	gosum, err := os.ReadFile(filepath.Join(root, "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	const module = "github.com/watermarkchurch/toot-go"
	gomod = bytes.Replace(gomod, []byte("module "+module), []byte("module example.org/publisher"), 1)
	gomod = append(gomod, "\nrequire "+module+" v0.0.0\nreplace "+module+" => "+root+"\n"...)
	for name, content := range map[string][]byte{"main.go": []byte(source), "go.mod": gomod, "go.sum": gosum} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	build := exec.CommandContext(t.Context(), "go", "build", "-mod=mod", "-o", "publisher", ".")
	build.Dir = dir
	build.Env = append(build.Environ(), "CGO_ENABLED=0") // as make test has built the packages before
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("go build: %v\n%s", err, out)
	}
	for range 2 {
		cmd := exec.CommandContext(t.Context(), filepath.Join(dir, "publisher"))
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			for lines := bufio.NewScanner(stderr); lines.Scan(); {
				if !strings.Contains(lines.Text(), "appendonly") { // it warns of the server's settings
					t.Errorf("the publisher says %s", lines.Text())
				}
			}
		}()
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			<-ended
			_ = cmd.Wait()
		})
	}
	redistest.Eventually(t, "events come from two publishers", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return got[`{"id":1}`] == 2 && got[`{"id":2}`] == 2
	})
	if keys, _ := s.Try("KEYS", "{shop:*").AsStrSlice(); len(keys) == 0 {
		t.Error("nothing is kept in the namespace")
	}
}
