package outbound

import (
	"fmt"
	"net/netip"
	"strings"
	"unicode/utf8"
)

// Hosts are names of hosts: "shop.internal" or, for everything below a name,
// "*.internal".
type Hosts []string

// Has reports a host that is named, wherever it resolves to. "*.internal" stands
// for names only: neither for an address nor for anything that has one or a
// zone in it, such as "::1%.internal", which would be connected to as ::1.
func (hs Hosts) Has(host string) bool {
	host = plainHost(host)
	if host == "" || strings.Contains(host, "%") {
		return false
	}
	for _, h := range hs {
		h = plainHost(h)
		suffix, isWildcard := strings.CutPrefix(h, "*")
		switch {
		case !isWildcard:
			if host == h {
				return true
			}
		case strings.HasPrefix(suffix, ".") && strings.HasSuffix(host, suffix) && len(host) > len(suffix) && isName(host):
			return true
		}
	}
	return false
}

// Check says which of the hosts can't be one, if any.
func (hs Hosts) Check() error {
	for _, h := range hs {
		name := strings.TrimPrefix(plainHost(h), "*.")
		if _, err := netip.ParseAddr(name); err != nil && !isName(name) || name == "" || strings.Contains(name, "%") {
			return fmt.Errorf("%q is no host such as shop.internal or *.internal, without a scheme and a port", h)
		}
	}
	return nil
}

// plainHost is a host in the form in which hosts are compared.
func plainHost(host string) string { return strings.ToLower(strings.TrimSuffix(host, ".")) }

// isName reports what can only be the name of a host.
func isName(host string) bool {
	if _, err := netip.ParseAddr(host); err == nil {
		return false
	}
	return !strings.ContainsFunc(host, func(r rune) bool {
		letter := r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r >= utf8.RuneSelf
		return !letter && r != '-' && r != '_' && r != '.'
	})
}
