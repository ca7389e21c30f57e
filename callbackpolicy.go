package toot

import (
	"net/netip"

	"github.com/watermarkchurch/toot-go/internal/outbound"
)

// CallbackPolicy says to which callback URLs an App sends. It is held against
// a URL when it is registered, and against the address itself whenever a
// connection is made: a name that later resolves to another address does not
// get around it, nor does a proxy, for none is used then.
//
// A callback is allowed if any of the fields allows it.
type CallbackPolicy struct {
	// Public allows addresses on the public internet: none that is private,
	// loopback, link-local, of a cloud's metadata service, translated,
	// reserved or for documentation, in IPv4 or IPv6.
	Public bool
	// Hosts are host names that are allowed wherever they resolve to, for the
	// names of one's own network: "shop.internal" or, for everything below a
	// name, "*.internal".
	Hosts []string
	// Networks are addresses that are allowed.
	Networks []netip.Prefix
}

// PublicCallbacks allows addresses on the public internet only.
func PublicCallbacks() *CallbackPolicy { return &CallbackPolicy{Public: true} }

// ErrCallbackNotAllowed is the error of a callback URL that
// Options.AllowCallback does not allow.
var ErrCallbackNotAllowed = outbound.ErrNotAllowed
