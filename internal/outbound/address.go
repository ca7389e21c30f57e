package outbound

import "net/netip"

// special are the ranges of addresses that are not public though they may look
// it, after the registries of special-purpose addresses (RFC 6890). In IPv6
// nothing outside of 2000::/3 is public, which leaves out loopback, link-local
// (fe80::/10), unique local (fc00::/7, and so the metadata service at
// fd00:ec2::254), multicast, IPv4-compatible (::/96) and translated (NAT64,
// 64:ff9b::/96 and 64:ff9b:1::/48) addresses. IPv4-mapped ones are taken for
// what they map.
var special = prefixes(
	"0.0.0.0/8",         // this network
	"10.0.0.0/8",        // private
	"100.64.0.0/10",     // carrier-grade NAT; some clouds' metadata
	"127.0.0.0/8",       // loopback
	"169.254.0.0/16",    // link-local; most clouds' metadata
	"172.16.0.0/12",     // private
	"192.0.0.0/24",      // protocol assignments; a cloud's metadata
	"192.0.2.0/24",      // documentation
	"192.31.196.0/24",   // AS112
	"192.52.193.0/24",   // AMT
	"192.88.99.0/24",    // 6to4 relays
	"192.168.0.0/16",    // private
	"192.175.48.0/24",   // AS112
	"198.18.0.0/15",     // benchmarks
	"198.51.100.0/24",   // documentation
	"203.0.113.0/24",    // documentation
	"224.0.0.0/4",       // multicast
	"240.0.0.0/4",       // reserved; broadcast
	"168.63.129.16/32",  // a cloud's own service, on an address that is otherwise public
	"2001::/23",         // protocol assignments: Teredo, benchmarks, ORCHID and others
	"2001:db8::/32",     // documentation
	"2002::/16",         // 6to4
	"2620:4f:8000::/48", // AS112
	"3fff::/20",         // documentation
)

var globalUnicast = netip.MustParsePrefix("2000::/3")

func prefixes(texts ...string) []netip.Prefix {
	all := make([]netip.Prefix, len(texts))
	for i, text := range texts {
		all[i] = netip.MustParsePrefix(text)
	}
	return all
}

// isPublic reports addresses of hosts that anybody on the internet may reach.
func isPublic(a netip.Addr) bool {
	a = a.Unmap()
	if !a.IsValid() || a.Zone() != "" || a.Is6() && !globalUnicast.Contains(a) {
		return false
	}
	for _, p := range special {
		if p.Contains(a) {
			return false
		}
	}
	return true
}
