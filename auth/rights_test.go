// auth_test.go, whose helpers are used here, says why.

//go:build !fuzz

package auth_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/auth"
	"github.com/watermarkchurch/toot-go/engine"
)

// Who comes in is known to the services, with what he may do.
func TestServicesKnowTheUser(t *testing.T) {
	engines(t, func(t *testing.T, open func(*testing.T) engine.Engine) {
		ctx, eng := t.Context(), open(t)
		defer func() { must(t, eng.Close()) }()
		c, err := auth.NewCredentials(eng, &auth.Options{ChannelPrefix: prefix})
		must(t, err)
		must(t, c.Add(ctx, "ann", "s3cret"))
		must(t, c.Add(ctx, "op", "s3cret"))
		must(t, c.Grant(ctx, "op", auth.Rights{Operator: true, Prefixes: []string{prefix}}))
		if err := c.Grant(ctx, "op", auth.Rights{Prefixes: []string{""}}); !errors.Is(err, auth.ErrInvalid) {
			t.Errorf("an empty prefix: %v", err)
		}
		var got *toot.User
		service := c.BasicAuth(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = toot.UserOf(r.Context()) }))
		come := func(username string) int {
			got = nil
			r := httptest.NewRequest("GET", "/", strings.NewReader(""))
			r.SetBasicAuth(username, "s3cret")
			w := httptest.NewRecorder()
			service.ServeHTTP(w, r)
			return w.Code
		}
		if come("ann"); got == nil || got.Name != "ann" || got.Operator || len(got.Prefixes) != 0 {
			t.Errorf("ann is %+v", got)
		}
		if come("op"); got == nil || got.Name != "op" || !got.Operator || len(got.Prefixes) != 1 {
			t.Errorf("op is %+v", got)
		}
		for name, want := range map[string]bool{"ann": true, "nobody": false} {
			if exists, err := got.Exists(ctx, name); exists != want || err != nil {
				t.Errorf("%s exists: %v, %v", name, exists, err)
			}
		}
		// Another password leaves the rights, removing takes them.
		must(t, c.Add(ctx, "op", "s3cret"))
		if come("op"); got == nil || !got.Operator {
			t.Errorf("op with another password is %+v", got)
		}
		if removed, err := c.Remove(ctx, "op"); !removed || err != nil {
			t.Fatal(removed, err)
		}
		if status := come("op"); status != 401 || got != nil {
			t.Errorf("op who was removed: %d %+v", status, got)
		}
		must(t, c.Add(ctx, "op", "s3cret"))
		if come("op"); got == nil || got.Operator {
			t.Errorf("another of the name is %+v", got)
		}
	})
}
