package auth_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/watermarkchurch/toot-go/auth"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

// Whatever stands in the header, only the right credentials pass.
func FuzzAuthorizationHeader(f *testing.F) {
	eng := memengine.NewStore().Open(engine.Retention{})
	f.Cleanup(func() { _ = eng.Close() })
	c, err := auth.NewCredentials(eng, &auth.Options{Original: true})
	if err != nil {
		f.Fatal(err)
	}
	if err := c.Add(context.Background(), "user", "password"); err != nil {
		f.Fatal(err)
	}
	service := c.BasicAuth(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	for _, seed := range []string{"Basic dXNlcjpwYXNzd29yZA==", "basic dXNlcjpwYXNzd29yZA==", "Basic Og==", "Basic", "Bearer x", "Basic dXNlcjo=", ""} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, header string) {
		r := httptest.NewRequest(http.MethodPost, "/", nil)
		r.Header["Authorization"] = []string{header}
		w := httptest.NewRecorder()
		service.ServeHTTP(w, r)
		username, password, _ := r.BasicAuth()
		if right := username == "user" && password == "password"; right != (w.Code == 200) {
			t.Errorf("%q: %d", header, w.Code)
		}
	})
}
