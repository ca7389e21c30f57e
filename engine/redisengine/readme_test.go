package redisengine_test

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/watermarkchurch/toot-go/internal/testing/pages"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// TestTheREADMEsPublisherOnRedis changes the README's publisher as it says, and
// runs it twice on one server: each process publishes to the subscriber that a Ruby
// app has left there.
func TestTheREADMEsPublisherOnRedis(t *testing.T) {
	t.Parallel()
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

	source := strings.Replace(pages.Named(t, "README.md", "publisher/main.go"),
		"\tstore, err := sqliteengine.Open(\"publisher.db\", nil)", "\t"+strings.TrimSpace(pages.Named(t, "README.md", "on redis")), 1)
	source = strings.NewReplacer("sqliteengine", "redisengine", "redis://localhost:6379", s.URL(), `"localhost:8001"`, "os.Args[1]", `"errors"`, "\"errors\"\n\t\"os\"").Replace(source)
	if !strings.Contains(source, s.URL()) || !strings.Contains(source, "os.Args[1]") {
		t.Fatalf("the program does not open a store on Redis, or does not say where it listens:\n%s", source)
	}
	publisher := pages.Build(t, "publisher", source)
	var addresses []string
	for range 2 {
		addresses = append(addresses, pages.FreeAddress(t))
		cmd := exec.CommandContext(t.Context(), publisher, addresses[len(addresses)-1])
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
	for i, address := range addresses {
		redistest.Eventually(t, "a publisher publishes", func() bool {
			res, err := http.Post(fmt.Sprintf("http://%s/users/%d", address, i), "", nil)
			if err != nil {
				return false // it does not listen yet
			}
			_ = res.Body.Close()
			return res.StatusCode == http.StatusOK
		})
	}
	redistest.Eventually(t, "events come from two publishers", func() bool {
		mu.Lock()
		defer mu.Unlock()
		return got[`{"id":"0"}`] == 1 && got[`{"id":"1"}`] == 1
	})
	if keys, _ := s.Try("KEYS", "{shop:*").AsStrSlice(); len(keys) == 0 {
		t.Error("nothing is kept in the namespace")
	}
}
