package auth

import (
	"net/http"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

// BasicAuth lets only requests pass that carry the credentials of a user.
// Others are answered with 401, and with 503 if the store can't be asked.
func (c *Credentials) BasicAuth(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		username, password, ok := r.BasicAuth()
		if ok {
			var err error
			if ok, err = c.Verify(r.Context(), username, password); err != nil {
				w.Header().Set("Retry-After", "5")
				wire.Problem(w, http.StatusServiceUnavailable, "The credentials can't be checked at the moment. Nothing was done; please send it again.")
				return
			}
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
