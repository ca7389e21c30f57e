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
		if got := nil != g.find(r); got != c.want {
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

func TestCredentialsHaveNamesAndRights(t *testing.T) {
	g, err := NewGuard("ann:pw:x=1 operator,shop=t0ken prefix=org.shop. prefix=org.all.,c2VjcmV0PQ==,plain")
	if err != nil {
		t.Fatal(err)
	}
	keys := map[string]bool{}
	for _, tc := range []struct {
		authorize func(*http.Request)
		name      string
		operator  bool
		prefixes  int
	}{
		{func(r *http.Request) { r.SetBasicAuth("ann", "pw:x=1") }, "ann", true, 0},
		{func(r *http.Request) { r.Header.Set("Authorization", "Bearer t0ken") }, "shop", false, 2},
		{func(r *http.Request) { r.Header.Set("Authorization", "Bearer c2VjcmV0PQ==") }, "", false, 0},
		{func(r *http.Request) { r.Header.Set("Authorization", "Bearer plain") }, "", false, 0},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		tc.authorize(r)
		c := g.find(r)
		if c == nil || c.user.Name != tc.name || c.user.Operator != tc.operator || len(c.user.Prefixes) != tc.prefixes {
			t.Errorf("%s: %+v", r.Header.Get("Authorization"), c)
			continue
		}
		keys[c.keys] = true
	}
	if len(keys) != 4 {
		t.Error("two credentials share their Idempotency-Keys")
	}
	for name, want := range map[string]bool{"ann": true, "shop": true, "plain": false} {
		if exists, err := g.exists(t.Context(), name); exists != want || err != nil {
			t.Errorf("%s exists: %v, %v", name, exists, err)
		}
	}
	// Another token of the same name keeps its keys.
	other, err := NewGuard("shop=another")
	if err != nil {
		t.Fatal(err)
	}
	if got := (*other.current.Load())[0].keys; got != "shop" {
		t.Errorf("the keys of shop are those of %q", got)
	}
	for _, spec := range []string{"=token", "a=b prefix=", "operator"} {
		if g, err := NewGuard(spec); err == nil && spec != "operator" {
			t.Errorf("%q is taken for credentials: %+v", spec, *g.current.Load())
		}
	}
}
