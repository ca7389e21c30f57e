package main_test

import (
	"crypto/sha256"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go/auth"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

const authPrefix = "org.example.publisher."

// What the command adds comes in, on both stores.
func TestAuthAddsWhoComesIn(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t)
	for name, target := range map[string]string{
		"SQLite": "sqlite:" + filepath.Join(t.TempDir(), "toot.db"),
		"Redis":  server.URL(),
	} {
		t.Run(name, func(t *testing.T) {
			on := []string{"--store", target, "--channel-prefix", authPrefix}
			run := func(stdin string, args ...string) result {
				t.Helper()
				return commandWith(t, stdin, append(append([]string{"auth"}, args...), on...)...)
			}
			r := run("", "generate", "shop")
			wantCode(t, r, 0)
			m := regexp.MustCompile(`^Username: (shop[0-9a-f]{32})\nPassword: ([0-9a-f]{32})\n$`).FindStringSubmatch(r.stdout)
			if m == nil {
				t.Fatalf("generate prints:\n%s", r.stdout)
			}
			r = run("pass word\n", "add", "ann")
			wantCode(t, r, 0)
			if r.stdout != "Added ann\n" || strings.Contains(r.stderr, "pass word") {
				t.Errorf("add prints %q, %q", r.stdout, r.stderr)
			}
			wantCode(t, run("ruby's\n", "add", "ruby", "--original"), 0)
			r = run("", "list")
			wantCode(t, r, 0)
			if want := "ann\nruby\n" + m[1] + "\n"; r.stdout != want {
				t.Errorf("list prints:\n%s", r.stdout)
			}

			s, err := anyengine.Open(t.Context(), target, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = s.Close() }()
			users, err := auth.NewCredentials(s, &auth.Options{ChannelPrefix: authPrefix, Recheck: -1})
			if err != nil {
				t.Fatal(err)
			}
			web := httptest.NewServer(users.BasicAuth(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})))
			defer web.Close()
			comesIn := func(username, password string, want int) {
				t.Helper()
				req, _ := http.NewRequestWithContext(t.Context(), http.MethodGet, web.URL, nil)
				req.SetBasicAuth(username, password)
				res, err := web.Client().Do(req)
				if err != nil {
					t.Fatal(err)
				}
				_ = res.Body.Close()
				if res.StatusCode != want {
					t.Errorf("%s: %d, want %d", username, res.StatusCode, want)
				}
			}
			comesIn(m[1], m[2], 200)
			comesIn("ann", "pass word", 200)
			comesIn("ruby", "ruby's", 200)
			comesIn("ann", "", 401)
			comesIn("ann", "pass word\n", 401)
			sum := sha256.Sum256([]byte("ruby's"))
			if proof, err := s.(engine.Credentials).Credential(t.Context(), authPrefix+"toot.auth.credentials_store", "ruby"); err != nil || string(proof) != string(sum[:]) {
				t.Errorf("--original keeps %q, %v", proof, err)
			}
			wantCode(t, run("pass word\n", "add", "ann", "--operator", "--prefix", "org.a.", "--prefix", "org.b."), 0)
			r = run("", "list")
			if want := "ann operator prefix=org.a. prefix=org.b.\n"; !strings.HasPrefix(r.stdout, want) {
				t.Errorf("list prints:\n%s", r.stdout)
			}
			r = run("other\n", "add", "ann")
			if r.stdout != "Changed the password of ann\n" {
				t.Errorf("add of a user who is there prints %q", r.stdout)
			}
			wantContains(t, r.stderr, "realm "+authPrefix+"toot.auth.credentials_store, store ", "toot serve does not: see its --publish-auth")
			if strings.Contains(r.stderr, "without a channel prefix") {
				t.Errorf("it has a prefix: %s", r.stderr)
			}
			comesIn("ann", "other", 200)
			r = run("", "remove", "ann")
			wantCode(t, r, 0)
			comesIn("ann", "pass word", 401)
			r = run("", "remove", "ann")
			wantCode(t, r, 1)
			wantContains(t, r.stderr, `there is no user "ann"`)
		})
	}
}

func TestAuthSaysWhatIsWrong(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "toot.db")
	for _, tc := range []struct {
		stdin string
		args  []string
		code  int
		want  string
	}{
		{"", []string{"add", "ann", "--store", file}, 2, "no password"},
		{"\n", []string{"add", "ann", "--store", file}, 2, "no password"},
		{"x\n", []string{"add", "a:b", "--store", file}, 2, "colon"},
		{"x\n", []string{"add", "", "--store", file}, 2, "empty"},
		{"", []string{"generate", "", "--store", file}, 2, "empty"},
		{"", []string{"generate", "--store", file}, 2, "arg"},
		{"", []string{"list"}, 2, "which store"},
		{"", []string{"list", "--store", file + ".missing.db"}, 1, "no store"},
		{"", []string{"add", "ann", "password", "--store", file}, 2, "arg"},
		{"", []string{"grant"}, 2, "there is no command"},
	} {
		r := commandWith(t, tc.stdin, append([]string{"auth"}, tc.args...)...)
		wantCode(t, r, tc.code)
		wantContains(t, r.stderr, tc.want)
	}
}

// TestAuthSaysWhichUsers: without a prefix, and where there are none.
func TestAuthSaysWhichUsers(t *testing.T) {
	t.Parallel()
	store := "sqlite:" + filepath.Join(t.TempDir(), "toot.db")
	wantCode(t, command(t, "auth", "generate", "shop", "--store", store), 0)
	r := command(t, "auth", "list", "--store", store)
	wantContains(t, r.stderr, "realm toot.auth.credentials_store, store "+store, "apps without a channel prefix")
	wantContains(t, r.stdout, "shop")
	r = command(t, "auth", "list", "--store", store, "--channel-prefix", "org.")
	wantCode(t, r, 0)
	wantContains(t, r.stderr, "realm org.toot.auth.credentials_store, ", "There are no users in this realm.")
	r = command(t, "auth", "list", "--store", store, "--key", "elsewhere")
	wantContains(t, r.stderr, "realm elsewhere, ")
}
