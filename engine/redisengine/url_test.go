package redisengine_test

import (
	"bytes"
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

func TestURLs(t *testing.T) {
	for url, want := range map[string]string{
		"redis://":                                    "localhost:6379",
		"redis://host":                                "host:6379",
		"redis://[::1]:7000/3":                        "[::1]:7000 db=3",
		"redis://user:p%40ss%2F@host:1":               "host:1 user=user password=p@ss/",
		"redis://:pa/ss@host/0":                       "host:6379 password=pa/ss",
		"rediss://host":                               "host:6379 tls",
		"redis://a:1,b:2,c":                           "a:1,b:2,c:6379",
		"redis+cluster://a:1":                         "a:1",
		"rediss+sentinel://u:p@a:1,b/mymaster/2":      "a:1,b:26379 tls user=u password=p db=2 master=mymaster",
		"redis+sentinel://a/m?sentinel_password=x%3D": "a:26379 master=m sentinel=:x=",
	} {
		o, err := redisengine.ClientOption(url)
		if err != nil {
			t.Errorf("%s: %v", url, err)
			continue
		}
		got := strings.Join(o.InitAddress, ",")
		if o.TLSConfig != nil {
			got += " tls"
		}
		for name, v := range map[string]string{"user": o.Username, "password": o.Password} {
			if v != "" && !strings.Contains(want, name+"="+v) {
				t.Errorf("%s: %s is %q", url, name, v)
			}
		}
		if o.Username != "" {
			got += " user=" + o.Username
		}
		if o.Password != "" {
			got += " password=" + o.Password
		}
		if o.SelectDB != 0 {
			got += " db=" + string(rune('0'+o.SelectDB))
		}
		if o.Sentinel.MasterSet != "" {
			got += " master=" + o.Sentinel.MasterSet
		}
		if o.Sentinel.Password != "" {
			got += " sentinel=" + o.Sentinel.Username + ":" + o.Sentinel.Password
		}
		if got != want {
			t.Errorf("%s means %q, want %q", url, got, want)
		}
	}
	for _, url := range []string{
		"", "host:6379", "http://u:SECRET@host", "redis+sentinel://u:SECRET@host", "redis://u:SECRET@host/x", "redis://u:SECRET@host:port",
		"redis://u:SECRET%zz@host", "redis://u:SECRET@host?what=1", "redis+cluster://u:SECRET@host/2", "redis://u:SECRET@host:99999",
		"redis://u:SECRET@host?skip_verify=1", "redis+other://u:SECRET@host",
	} {
		if _, err := redisengine.ClientOption(url); err == nil {
			t.Errorf("%q is no URL of a server", url)
		} else if strings.Contains(err.Error(), "SECRET") {
			t.Errorf("an error must not tell the password: %v", err)
		}
	}
}

// TestThePasswordMayBeInAFile: so that neither arguments nor environments have it.
func TestThePasswordMayBeInAFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, text := range map[string]string{"right": "p@ss /word\n", "wrong": "hunter2", "empty": "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s := redistest.Start(t, `requirepass "p@ss /word"`)
	e := open(t, s.URL()+"?password_file="+filepath.Join(dir, "right"), nil)
	push(t, e, "1")
	for _, url := range []string{
		s.URL() + "?password_file=" + filepath.Join(dir, "wrong"),
		s.URL() + "?password_file=" + filepath.Join(dir, "empty"),
		s.URL() + "?password_file=" + filepath.Join(dir, "nothere"),
		strings.Replace(s.URL(), "//", "//:hunter2@", 1) + "?password_file=" + filepath.Join(dir, "right"),
	} {
		if _, err := redisengine.Open(t.Context(), url, &redisengine.Options{Logger: quiet}); err == nil {
			t.Errorf("%s must not open", url)
		} else if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("the password is told: %v", err)
		}
	}
}

func TestOpenTellsNoPassword(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t, "requirepass right")
	var log bytes.Buffer
	opts := &redisengine.Options{Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	for _, url := range []string{
		strings.Replace(s.URL(), "//", "//:hunter2@", 1),
		"redis://user:hunter2@127.0.0.1:1",
		"redis+sentinel://user:hunter2@127.0.0.1:1/master",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		if _, err := redisengine.Open(ctx, url, opts); err == nil {
			t.Errorf("%s must not open", url)
		} else if strings.Contains(err.Error()+log.String(), "hunter2") {
			t.Errorf("the password is told: %v\n%s", err, &log)
		}
		cancel()
	}
	e := open(t, strings.Replace(s.URL(), "//", "//:right@", 1), nil)
	push(t, e, "1")
}

func TestOpenWarnsOfSettings(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		settings []string
		want     []string
	}{
		{[]string{"appendonly yes"}, nil},
		{[]string{"appendonly yes", "appendfsync no"}, []string{"appendfsync no"}},
		{[]string{"appendonly no", "maxmemory-policy allkeys-lru"}, []string{"appendonly no", "maxmemory-policy allkeys-lru"}},
		{[]string{"appendonly no", "rename-command CONFIG \"\""}, []string{"appendonly no"}},
		{[]string{"appendonly no", "rename-command INFO \"\""}, nil},
	} {
		s := redistest.Start(t, c.settings...)
		var log bytes.Buffer
		open(t, s.URL(), &redisengine.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		lines := strings.Count(log.String(), "\n")
		if (len(c.want) > 0) != (lines == 1) || lines > 1 {
			t.Errorf("with %v the log must have one line if there is a risk, else none: %s", c.settings, &log)
		}
		for _, want := range c.want {
			if !strings.Contains(log.String(), want) {
				t.Errorf("with %v the log must tell of %s: %s", c.settings, want, &log)
			}
		}
	}
}

func TestOwnClient(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr()}})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	e, err := redisengine.New(client, &redisengine.Options{Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	push(t, e, "1")
	if err := e.Close(); err != nil {
		t.Fatal(err)
	}
	if err := client.Do(t.Context(), client.B().Ping().Build()).Error(); err != nil {
		t.Errorf("Close must leave the caller's client alone: %v", err)
	}
}
