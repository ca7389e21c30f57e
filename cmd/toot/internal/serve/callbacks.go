package serve

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"

	toot "github.com/watermarkchurch/toot-go"
)

// Callbacks reads to which callback URLs events may be sent: "public", host
// names, addresses and networks, separated by commas, each of which allows
// some; or "any", or nothing, for which the policy is nil.
func Callbacks(spec string) (*toot.CallbackPolicy, error) {
	words := Words(spec)
	if len(words) == 0 {
		return nil, nil
	}
	policy := &toot.CallbackPolicy{}
	for _, word := range words {
		if word == "any" {
			if len(words) > 1 {
				return nil, errors.New("any allows every callback URL: leave out the rest, or any")
			}
			return nil, nil
		}
		network, isNetwork := parseNetwork(word)
		switch {
		case word == "public":
			policy.Public = true
		case isNetwork:
			policy.Networks = append(policy.Networks, network)
		case isHostName(strings.TrimPrefix(word, "*.")):
			policy.Hosts = append(policy.Hosts, word)
		default:
			return nil, fmt.Errorf("%q is none of public, any, a host name such as shop.internal or *.internal, an address, or a network such as 10.0.0.0/8", word)
		}
	}
	return policy, nil
}

// Hosts reads host names, separated by commas.
func Hosts(spec string) ([]string, error) {
	hosts := Words(spec)
	for _, host := range hosts {
		if !isHostName(host) {
			return nil, fmt.Errorf("%q is no host name such as toot.example.org, without a port", host)
		}
	}
	return hosts, nil
}

// Words are the parts of a text between commas, without the empty ones.
func Words(spec string) []string {
	var words []string
	for word := range strings.SplitSeq(spec, ",") {
		if word = strings.TrimSpace(word); word != "" {
			words = append(words, word)
		}
	}
	return words
}

// parseNetwork reads a network, or an address, which is a network of one.
func parseNetwork(word string) (netip.Prefix, bool) {
	if network, err := netip.ParsePrefix(word); err == nil {
		return network, true
	}
	address, err := netip.ParseAddr(strings.Trim(word, "[]"))
	if err != nil || address.Zone() != "" {
		return netip.Prefix{}, false
	}
	return netip.PrefixFrom(address, address.BitLen()), true
}

// isHostName reports what can be the name of a host, and is not another form of
// an address, as "127.1" is: the last part has a letter in it.
func isHostName(name string) bool {
	parts := strings.Split(strings.TrimSuffix(name, "."), ".")
	for _, part := range parts {
		if part == "" || len(part) > 63 || strings.ContainsFunc(part, func(r rune) bool { return !isLetter(r) && (r < '0' || r > '9') && r != '-' && r != '_' }) {
			return false
		}
	}
	last := parts[len(parts)-1]
	return len(name) <= 253 && strings.ContainsFunc(last, isLetter) && !strings.HasPrefix(strings.ToLower(last), "0x")
}

func isLetter(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }
