package anyengine

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
)

func TestNames(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"sqlite:" + filepath.Join(dir, "a"), "sqlite://" + filepath.Join(dir, "b"), filepath.Join(dir, "c"), filepath.Join(dir, "d.db")} {
		s, err := Open(t.Context(), name, Options{})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, name := range []string{"", "toot", "sqlite:", "mysql://h/d", "redis", "redis:h", "redis:/:p@h", "redis+sentinel:/h/m", "Redis:/h", "postgres:/u:p@h/d"} {
		if _, err := Open(t.Context(), name, Options{}); !errors.Is(err, ErrName) {
			t.Errorf("%q: %v, want ErrName", name, err)
		}
	}
}

func TestErrorsTellNoSecrets(t *testing.T) {
	for _, name := range []string{"postgres://u:secret@127.0.0.1:1/d", "postgres://u:secret@127.0.0.1:1/d?password=secret", "postgresql://u:secret@h/d?port=secret", "postgres://u:%zzsecret@h/d", "postgres://u@h:port/secret?schema=%zz", "redis://u:secret@127.0.0.1:1/0", "redis://u:secret@h/x", "rediss://:secret@h?password=secret&namespace=%zz",
		"redis:/:secret@h", "redis:secret@h", "redis:/:sec%40secret/x.db", "postgres:/u:secret@h/d", ":secret@h", "redis://u:secret?x@h", "u:secret@h"} {
		_, err := Open(t.Context(), name, Options{})
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
		"redis://h?namespace=%zz":                      "redis://h?redacted",
		"postgres://u:p@h/d?schema=shop&sslpassword=p": "postgres://redacted@h/d?schema=shop&redacted",
		"https://h/cb?namespace=secret":                "https://h/cb?redacted",
		"sqlite:/x/y@z?.db":                            "sqlite:/x/y@z?.db",
		"redis+sentinel://u:p/@/w@h1:1,h2/m/0":         "redis+sentinel://redacted@h1:1,h2/m/0",
		"redis://h?sentinel_password=a@b":              "redis://redacted",
		"redis://u:p?q@h":                              "redis://redacted",
		"redis:/:p@h":                                  "(not a URL)",
		"http:/u:p@h/":                                 "(not a URL)",
		"u:p@h":                                        "(not a URL)",
		"toot.db":                                      "toot.db",
		"a@b/toot.db":                                  "a@b/toot.db",
	} {
		if got := Redact(in); got != want {
			t.Errorf("Redact(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestCutSettings(t *testing.T) {
	for in, want := range map[string][3]string{
		"redis://h":                            {"redis://h", "", ""},
		"redis://h?namespace=shop":             {"redis://h", "shop", ""},
		"rediss://h?skip_verify=1&namespace=s": {"rediss://h?skip_verify=1", "s", ""},
		"redis://h?redis_namespace=a:b":        {"redis://h", "", "a:b"},
	} {
		rest, settings, err := cutSettings(in, redisSettings...)
		if err != nil || rest != want[0] || settings.Get("namespace") != want[1] || Namespace(in) != want[1] || RedisNamespace(in) != want[2] {
			t.Errorf("%s: %q, %q, %v, want %q", in, rest, settings, err, want)
		}
	}
}
