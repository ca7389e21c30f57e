package auth

import (
	"net/http"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// BasicAuth lets only requests pass that carry the credentials of a user, with
// who that is and may do in their context (toot.WithUser). Others are answered
// with 401, and with 503 if the store can't be asked, or if more passwords wait
// to be checked, in all or from the request's address, than the process spends
// its time on; that does not concern passwords that were right before.
func (c *Credentials) BasicAuth(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		username, password, ok := r.BasicAuth()
		if ok {
			var rights Rights
			var err error
			if rights, ok, err = c.lookup(r.Context(), addressOf(r.RemoteAddr), username, password); err != nil {
				w.Header().Set("Retry-After", "5")
				wire.Problem(w, http.StatusServiceUnavailable, "The credentials can't be checked at the moment. Nothing was done; please send it again.")
				return
			}
			r = r.WithContext(toot.WithUser(r.Context(), toot.User{Name: username, Operator: rights.Operator, Prefixes: rights.Prefixes, Exists: c.exists}))
		}
		if !ok {
			w.Header().Set("WWW-Authenticate", `Basic realm="Toot Auth"`)
			wire.Problem(w, http.StatusUnauthorized, "Expected the user name and password of a user of this app (HTTP Basic authentication).")
			return
		}
		next.ServeHTTP(w, r)
	})
}

// BasicTransport returns a transport that sends a user name and password with
// every request that has no Authorization header yet; credentials in a URL
// make net/http set that, so they come first. A nil next means
// http.DefaultTransport.
func BasicTransport(username, password string, next http.RoundTripper) http.RoundTripper {
	if next == nil {
		next = http.DefaultTransport
	}
	var r http.Request
	r.Header = http.Header{}
	r.SetBasicAuth(username, password)
	return &basicTransport{r.Header["Authorization"], next}
}

type basicTransport struct {
	value []string
	next  http.RoundTripper
}

func (t *basicTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Header.Get("Authorization") == "" {
		r = r.WithContext(r.Context()) // a copy: a transport must not change its request
		if r.Header = r.Header.Clone(); r.Header == nil {
			r.Header = http.Header{}
		}
		r.Header["Authorization"] = t.value
	}
	return t.next.RoundTrip(r)
}

// CloseIdleConnections is called by http.Client.CloseIdleConnections.
func (t *basicTransport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
