package anyengine

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

func TestNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"sqlite:" + filepath.Join(dir, "a"), "sqlite://" + filepath.Join(dir, "b"), filepath.Join(dir, "c"), filepath.Join(dir, "d.db")} {
		s, err := Open(t.Context(), name, nil)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "toot", "sqlite:", "postgres://h/d", "redis", "redis:h", "redis:/:p@h", "redis+sentinel:/h/m", "Redis:/h", "postgres:/u:p@h/d"} {
		if _, err := Open(t.Context(), name, nil); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v, want ErrName", name, err)
		}
	}
}

func TestErrorsTellNoSecrets(t *testing.T) {
	for _, name := range []string{"postgres://u:secret@h/d", "redis://u:secret@127.0.0.1:1/0", "redis://u:secret@h/x", "rediss://:secret@h?password=secret&namespace=%zz",
		"redis:/:secret@h", "redis:secret@h", "redis:/:sec%40secret/x.db", "postgres:/u:secret@h/d", ":secret@h", "redis://u:secret?x@h", "u:secret@h"} {
		_, err := Open(t.Context(), name, nil)
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"redis://u:p@h:1/0?a=b":    "redis://redacted@h:1/0?redacted",
		"redis://h":                "redis://h",
		"redis://h?namespace=shop": "redis://h?namespace=shop",
		"rediss://h?skip_verify=1&sentinel_password=p&redis_namespace=a%26b": "rediss://h?redis_namespace=a%26b&skip_verify=1&redacted",
		"redis://h?namespace=%zz":              "redis://h?redacted",
		"https://h/cb?namespace=secret":        "https://h/cb?redacted",
		"sqlite:/x/y@z?.db":                    "sqlite:/x/y@z?.db",
		"redis+sentinel://u:p/@/w@h1:1,h2/m/0": "redis+sentinel://redacted@h1:1,h2/m/0",
		"redis://h?sentinel_password=a@b":      "redis://redacted",
		"redis://u:p?q@h":                      "redis://redacted",
		"redis:/:p@h":                          "(not a URL)",
		"http:/u:p@h/":                         "(not a URL)",
		"u:p@h":                                "(not a URL)",
		"toot.db":                              "toot.db",
		"a@b/toot.db":                          "a@b/toot.db",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestSplitRedis(t *testing.T) {
	for in, want := range map[string]Redis{
		"redis://h":                            {URL: "redis://h"},
		"redis://h?namespace=shop":             {URL: "redis://h", Namespace: "shop"},
		"rediss://h?skip_verify=1&namespace=s": {URL: "rediss://h?skip_verify=1", Namespace: "s"},
		"redis://h?redis_namespace=a:b":        {URL: "redis://h", RedisNamespace: "a:b"},
	} {
		if got, err := SplitRedis(in); err != nil || got != want {
			t.Errorf("%s: %+v, %v, want %+v", in, got, err, want)
		}
	}
	if _, err := SplitRedis("redis://h?namespace=%zz"); !errors.Is(err, ErrName) {
		t.Errorf("what is not escaped: %v", err)
	}
}

// TestExisting: what is not there is not made.
func TestExisting(t *testing.T) {
	path := filepath.Join(t.TempDir(), "toot.db")
	if _, err := Open(t.Context(), path, &Options{Existing: true}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
		t.Errorf("opened what is not there: %v", err)
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("made %s (%v)", path, err)
	}
}

// TestMemoryIsNoStore: the error says what is.
func TestMemoryIsNoStore(t *testing.T) {
	for _, name := range []string{":memory:", "sqlite::memory:", "sqlite://:memory:", "sqlite:file::memory:"} {
		if _, err := Open(t.Context(), name, &Options{Existing: name == ":memory:"}); err == nil || !strings.Contains(err.Error(), "memengine") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestOnRedis: a real server, on which the URL's namespace goes before that of
// the options.
func TestOnRedis(t *testing.T) {
	s := redistest.Start(t)
	for name, opts := range map[string]*Options{s.URL(): {Namespace: "shop"}, s.URL() + "?namespace=shop": {Namespace: "other"}} {
		store, err := Open(t.Context(), name, opts)
		if err != nil {
			t.Fatalf("%s: %v", Redact(name), err)
		}
		job := engine.Job{Event: &engine.Event{ID: "1", Channel: "a"}, Lane: engine.Lane{Kind: engine.Handle, Name: "h"}}
		if _, err := store.Push(t.Context(), engine.PushRequest{Jobs: []engine.Job{job}}); err != nil {
			t.Error(err)
		}
		lanes, err := store.Lanes(t.Context())
		if err != nil || len(lanes) != 1 || lanes[0].Waiting != 1 {
			t.Errorf("%s: %+v, %v", name, lanes, err)
		}
		if err := store.Close(); err != nil {
			t.Error(err)
		}
	}
}
