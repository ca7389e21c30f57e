package main_test

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

func TestDemoOnRedisOfEveryKind(t *testing.T) {
	t.Parallel()
	for name, start := range map[string]func() (url string, servers []*redistest.Server){
		"another_database": func() (string, []*redistest.Server) {
			s := redistest.Start(t)
			return s.URL() + "/3", []*redistest.Server{s}
		},
		"a_cluster": func() (string, []*redistest.Server) {
			c := redistest.StartCluster(t)
			return c.URL(), c.Masters
		},
		"a_pair_with_a_Sentinel": func() (string, []*redistest.Server) {
			p := redistest.StartPair(t)
			return p.URL(), []*redistest.Server{p.Master}
		},
	} {
		url, servers := start()
		r := command(t, "demo", "--events", "300", "--store", url)
		wantCode(t, r, 0)
		if got, want := r.lastLine(), "published 300 · delivered 300 · handled 300 · lost 0"; got != want {
			t.Errorf("on %s the last line is %q, want %q", name, got, want)
		}
		for _, s := range servers {
			if left := s.Info("db0") + s.Info("db3"); left != "" {
				t.Errorf("on %s keys are left: %s", name, left)
			}
		}
	}
}

// TestDemoOnRedisInterrupted: the next run goes on with what was left on the
// server.
func TestDemoOnRedisInterrupted(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	dir := filepath.Join(t.TempDir(), "demo")
	p := start(t, "", "demo", "--events", "100000", "--dir", dir, "--store", server.URL())
	eventually(t, "hundreds are published", func() bool {
		info, err := os.Stat(filepath.Join(dir, "published.log"))
		return err == nil && info.Size() > 20_000
	})
	p.signal(os.Interrupt)
	r := p.wait()
	wantCode(t, r, 130)
	published, handled := number(t, r.lastLine(), "published"), number(t, r.lastLine(), "handled")
	if number(t, r.lastLine(), "lost") != 0 {
		t.Errorf("it was stopped in order, and says %q", r.lastLine())
	}
	r = command(t, "demo", "--events", "7", "--dir", dir, "--store", server.URL())
	wantCode(t, r, 0)
	n := strconv.Itoa(published - handled + 7)
	if got, want := r.lastLine(), "published "+n+" · delivered "+n+" · handled "+n+" · lost 0"; got != want {
		t.Errorf("the last line is %q, want %q", got, want)
	}
	r = command(t, "demo", "--dir", dir)
	wantCode(t, r, 1)
	wantContains(t, r.stderr, "was begun on redis://")
}

func TestDemoKeepsToNamespacesOfItsOwn(t *testing.T) {
	t.Parallel()
	r := command(t, "demo", "--store", "redis://localhost?namespace=shop")
	wantCode(t, r, 2)
	if !strings.Contains(r.stderr, "namespace") {
		t.Errorf("it says %q", r.stderr)
	}
}
