package serve

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
)

func TestGuard(t *testing.T) {
	file := filepath.Join(t.TempDir(), "credentials")
	if err := os.WriteFile(file, []byte("# comment\n\n  ruby:p:w  \ntoken two\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	g, err := NewGuard(" app:secret , token,@" + file)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		authorize func(*http.Request)
		want      bool
	}{
		{func(*http.Request) {}, false},
		{func(r *http.Request) { r.SetBasicAuth("app", "secret") }, true},
		{func(r *http.Request) { r.SetBasicAuth("app", "Secret") }, false},
		{func(r *http.Request) { r.SetBasicAuth("", "token") }, false},
		{func(r *http.Request) { r.SetBasicAuth("", "") }, false},
		{func(r *http.Request) { r.SetBasicAuth("ruby", "p:w") }, true},
		{func(r *http.Request) { r.Header.Set("Authorization", "Bearer token") }, true},
		{func(r *http.Request) { r.Header.Set("Authorization", "bearer  token two") }, true},
		{func(r *http.Request) { r.Header.Set("Authorization", "Bearer ") }, false},
		{func(r *http.Request) { r.Header.Set("Authorization", "Bearer app:secret") }, false},
		{func(r *http.Request) { r.Header.Set("Authorization", "token") }, false},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		c.authorize(r)
		if got := g.pass(r); got != c.want {
			t.Errorf("Authorization: %q passes: %v, want %v", r.Header.Get("Authorization"), got, c.want)
		}
	}
}

func TestGuardRefusesWhatWouldLetAllPass(t *testing.T) {
	empty := filepath.Join(t.TempDir(), "empty")
	if err := os.WriteFile(empty, []byte("# nobody yet\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, spec := range []string{"@" + empty, "@nothere", ":", "name:", ":password"} {
		if _, err := NewGuard(spec); err == nil {
			t.Errorf("%q is taken for credentials", spec)
		}
	}
	g, err := NewGuard("")
	if err != nil || !g.Open() {
		t.Errorf("no credentials: %v", err)
	}
}
