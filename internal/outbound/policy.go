package outbound

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// Policy says to which URLs requests are made. It is held against
// a URL when it is registered, and against the address itself whenever a
// connection is made: a name that later resolves to another address does not
// get around it, nor does a proxy, for none is used then.
//
// A callback is allowed if any of the fields allows it.
type Policy struct {
	// Public allows addresses on the public internet: none that is private,
	// loopback, link-local, of a cloud's metadata service, translated,
	// reserved or for documentation, in IPv4 or IPv6.
	Public bool
	// Hosts are host names that are allowed wherever they resolve to, for the
	// names of one's own network: "shop.internal" or, for everything below a
	// name, "*.internal". The latter stands for names only: an address, or what
	// has one or a zone in it ("[::1%25.internal]"), is judged as an address.
	Hosts []string
	// Networks are addresses that are allowed.
	Networks []netip.Prefix
}

// ErrNotAllowed is the error of a URL that a Policy does not allow.
var ErrNotAllowed = errors.New("toot: callback URL not allowed")

// errUnresolved is an ErrNotAllowed of a URL of which nobody can tell.
var errUnresolved = fmt.Errorf("%w: its host name could not be resolved", ErrNotAllowed)

// lookupTimeout bounds how long a name is resolved for at registration.
const lookupTimeout = 5 * time.Second

// allowsHost reports names that are allowed whatever their addresses.
func (p *Policy) allowsHost(host string) bool { return Hosts(p.Hosts).Has(host) }

func (p *Policy) allowsAddr(a netip.Addr) bool {
	for _, n := range p.Networks {
		if n.Contains(a) || n.Contains(a.Unmap()) {
			return true
		}
	}
	return p.Public && isPublic(a)
}

// Check holds a callback URL, which is known to be one, against the policy.
func (p *Policy) Check(ctx context.Context, raw string) error {
	u, err := url.Parse(raw)
	if err != nil {
		return ErrNotAllowed
	}
	host := u.Hostname()
	if p.allowsHost(host) {
		return nil
	}
	if a, err := netip.ParseAddr(host); err == nil {
		if !p.allowsAddr(a) {
			return ErrNotAllowed
		}
		return nil
	}
	if strings.ContainsAny(host, ":%") || !p.Public && len(p.Networks) == 0 {
		return ErrNotAllowed
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	addrs, err := net.DefaultResolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(addrs) == 0 {
		return errUnresolved
	}
	for _, a := range addrs {
		if !p.allowsAddr(a) {
			return ErrNotAllowed // no word about our network
		}
	}
	return nil
}

// Excludes reports a callback URL that the policy is known not to allow.
func (p *Policy) Excludes(ctx context.Context, raw string) bool {
	err := p.Check(ctx, raw)
	return err != nil && !errors.Is(err, errUnresolved)
}

// guard returns a transport like base that connects only where the policy
// allows.
func (p *Policy) guard(base *http.Transport) (*http.Transport, error) {
	if base.DialTLSContext != nil || base.DialTLS != nil || base.Dial != nil { //nolint:staticcheck // deprecated, but they dial all the same
		return nil, errors.New("toot: Options.AllowCallback can't be held against a Client whose Transport has a DialTLSContext, DialTLS or Dial of its own: leave them out")
	}
	http2 := base.ForceAttemptHTTP2 || base.DialContext == nil && base.TLSClientConfig == nil
	t := base.Clone()
	t.ForceAttemptHTTP2 = http2 // a DialContext alone would end it
	t.Proxy = nil               // it would connect where we can't see
	if t.MaxResponseHeaderBytes == 0 {
		t.MaxResponseHeaderBytes = maxAnswerHeader
	}
	plain := &net.Dialer{Timeout: 30 * time.Second, KeepAlive: 30 * time.Second}
	checked := *plain
	checked.Control = func(_, address string, _ syscall.RawConn) error {
		// address is what the name was resolved to, and is about to be used.
		a, err := netip.ParseAddrPort(address)
		if err != nil || !p.allowsAddr(a.Addr()) {
			return ErrNotAllowed
		}
		return nil
	}
	t.DialContext = func(ctx context.Context, network, address string) (net.Conn, error) {
		if host, _, err := net.SplitHostPort(address); err == nil && p.allowsHost(host) {
			return plain.DialContext(ctx, network, address)
		}
		return checked.DialContext(ctx, network, address)
	}
	return t, nil
}
