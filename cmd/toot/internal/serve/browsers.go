package serve

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

// A web page can have the browser of whoever looks at it send requests to any
// server that this person's machine reaches. Two things stand against that: what
// changes something is refused to pages of other origins, and, where
// Options.CheckHost says so, nothing is answered under a name that is not this
// server's, which a stranger's name server may have given our address.

// keepPagesOut puts both in front of a handler.
func (s *Server) keepPagesOut(next http.Handler) http.Handler {
	pages := http.NewCrossOriginProtection()
	if origin := s.publicOrigin(); origin != "" {
		if err := pages.AddTrustedOrigin(origin); err != nil { // its own pages have to do without
			s.log.Warn("public-url is no origin of web pages", "error", err)
		}
	}
	pages.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		wire.Problem(w, http.StatusForbidden, "Web pages of other origins can't change anything here. Nothing was done.")
	}))
	guarded := pages.Handler(next)
	if !s.opts.CheckHost {
		return guarded
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := hostOf(r.Host)
		if !s.answersTo(host) {
			wire.Problem(w, http.StatusMisdirectedRequest, fmt.Sprintf("%.255q is none of this server's names. If it is meant to be, start the server with --allow-host (TOOT_ALLOW_HOST) and that name, or with credentials. Nothing was done.", host))
			return
		}
		guarded.ServeHTTP(w, r)
	})
}

// answersTo reports a host that requests may be for: an address, which no name
// server has given, a name that means the same machine, or one of the server's.
func (s *Server) answersTo(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return true
	}
	if host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	if u := s.opts.PublicURL; u != nil && host == hostOf(u.Host) {
		return true
	}
	return host != "" && slices.ContainsFunc(s.opts.AllowHosts, func(name string) bool { return host == hostOf(name) })
}

// hostOf is the host of a "host:port", or of a host alone, in the form in which
// hosts are compared.
func hostOf(hostPort string) string {
	host := (&url.URL{Host: hostPort}).Hostname()
	return strings.ToLower(strings.TrimSuffix(host, "."))
}

// publicOrigin is the origin of the pages at the public URL, as browsers name
// it; empty if there is none.
func (s *Server) publicOrigin() string {
	u := s.opts.PublicURL
	if u == nil {
		return ""
	}
	host := strings.ToLower(u.Host)
	if u.Scheme == "http" {
		host = strings.TrimSuffix(host, ":80")
	} else {
		host = strings.TrimSuffix(host, ":443")
	}
	return u.Scheme + "://" + host
}
