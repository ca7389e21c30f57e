package outbound

import (
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

func TestPublicAddresses(t *testing.T) {
	for _, public := range []string{
		"1.1.1.1", "8.8.8.8", "93.184.216.34", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0", "126.255.255.255",
		"128.0.0.0", "169.253.255.255", "169.255.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.0.3.0", "192.167.255.255",
		"192.169.0.0", "198.17.255.255", "198.20.0.0", "203.0.112.255", "203.0.114.0", "223.255.255.255", "168.63.129.15",
		"2606:4700:4700::1111", "2001:4860:4860::8888", "2001:200::", "2a00::", "2003::", "3ffe::1", "3fff:1000::",
		"::ffff:8.8.8.8",
	} {
		if !isPublic(netip.MustParseAddr(public)) {
			t.Errorf("%s is taken for one that is not public", public)
		}
	}
	for what, addrs := range map[string]string{
		"this network":             "0.0.0.0 0.0.0.1 0.255.255.255",
		"private":                  "10.0.0.0 10.255.255.255 172.16.0.0 172.31.255.255 192.168.0.0 192.168.255.255",
		"carrier-grade NAT":        "100.64.0.0 100.127.255.255 100.100.100.200",
		"loopback":                 "127.0.0.1 127.0.0.0 127.255.255.255 ::1",
		"unspecified":              "::",
		"link-local":               "169.254.0.0 169.254.255.255 fe80:: fe80::1 fe80::1%eth0 febf:ffff::1",
		"metadata":                 "169.254.169.254 169.254.170.2 fd00:ec2::254 192.0.0.192 168.63.129.16 fd20:ce::254",
		"unique local":             "fc00:: fdff:ffff::1",
		"site-local":               "fec0::1",
		"documentation":            "192.0.2.0 192.0.2.255 198.51.100.7 203.0.113.255 2001:db8:: 2001:db8:ffff::1 3fff:: 3fff:fff::1",
		"benchmarks":               "198.18.0.0 198.19.255.255 2001:2::1",
		"protocol assignments":     "192.0.0.0 192.0.0.255 2001:1::1 2001:1ff:ffff::",
		"Teredo":                   "2001:: 2001:0:7f00:1::",
		"ORCHID":                   "2001:10:: 2001:20::1",
		"6to4":                     "2002:: 2002:7f00:1:: 2002:a00:1::1 192.88.99.1",
		"NAT64":                    "64:ff9b:: 64:ff9b::7f00:1 64:ff9b::808:808 64:ff9b:1::1 64:ff9b:1:fffe::a00:1",
		"IPv4-mapped":              "::ffff:127.0.0.1 ::ffff:10.0.0.1 ::ffff:169.254.169.254 ::ffff:0.0.0.0 ::ffff:100.64.0.1",
		"IPv4-compatible":          "::127.0.0.1 ::10.0.0.1 ::8.8.8.8 ::2",
		"IPv4-translated":          "::ffff:0:7f00:1",
		"multicast":                "224.0.0.1 239.255.255.255 ff02::1 ff0e::1 ff00::",
		"reserved":                 "240.0.0.1 254.255.255.255 4000::1 8000::1",
		"broadcast":                "255.255.255.255",
		"discard-only":             "100::1",
		"segment routing":          "5f00::1",
		"AS112 and anycast relays": "192.31.196.1 192.52.193.1 192.175.48.1 2620:4f:8000::1",
	} {
		for _, addr := range strings.Fields(addrs) {
			if isPublic(netip.MustParseAddr(addr)) {
				t.Errorf("%s (%s) is taken for public", addr, what)
			}
		}
	}
	if isPublic(netip.Addr{}) {
		t.Error("no address is taken for public")
	}
}

func TestCallbackPolicies(t *testing.T) {
	public := &Policy{Public: true}
	listed := &Policy{
		Hosts:    []string{"shop.internal", "*.Trusted.Example.", "127.0.0.9"},
		Networks: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16"), netip.MustParsePrefix("fd00:1::/32")},
	}
	names := &Policy{Hosts: []string{"shop.internal"}}
	wildcard := &Policy{Hosts: []string{"*.internal", "*.1", "7.0.0.2", "::7"}}
	zoned := &Policy{Hosts: []string{"::1%lo", "*"}, Networks: prefixes("10.1.0.0/16")}
	for _, tc := range []struct {
		policy *Policy
		url    string
		ok     bool
	}{
		{public, "http://8.8.8.8/", true},
		{public, "http://[2606:4700:4700::1111]:8080/", true},
		{public, "http://127.0.0.1/", false},
		{public, "http://[::1]/", false},
		{public, "http://[::ffff:127.0.0.1]/", false},
		{public, "http://[fe80::1%25eth0]/", false},
		{public, "http://169.254.169.254/latest/meta-data/", false},
		{public, "http://localhost/", false},
		{public, "http://localhost./", false},
		{public, "http://LOCALHOST:80/", false},
		{public, "http://user@127.0.0.1/", false},
		{public, "http://8.8.8.8@127.0.0.1/", false},
		{public, "http://2130706433/", false},
		{public, "http://0x7f.1/", false},
		{public, "http://0177.0.0.1/", false},
		{public, "http://127.1/", false},
		{public, "http://no.such.host.invalid/", false},
		{listed, "http://10.1.2.3/", true},
		{listed, "http://[::ffff:10.1.2.3]/", true},
		{listed, "http://[fd00:1::7]/", true},
		{listed, "http://10.2.0.1/", false},
		{listed, "http://8.8.8.8/", false},
		{listed, "http://shop.internal/", true},
		{listed, "http://SHOP.internal.:8080/", true},
		{listed, "http://127.0.0.9/", true},
		{listed, "http://a.trusted.example/", true},
		{listed, "http://a.b.trusted.example/", true},
		{listed, "http://trusted.example/", false},
		{listed, "http://nottrusted.example/", false},
		{listed, "http://shop.internal.evil.invalid/", false},
		{names, "http://shop.internal/", true},
		{names, "http://8.8.8.8/", false},
		{names, "http://other.internal/", false},
		{&Policy{}, "http://8.8.8.8/", false},
		{wildcard, "http://a.internal/", true},
		{wildcard, "http://A.b-c_d.INTERNAL.:8080/", true},
		{wildcard, "http://bücher.internal/", true},
		{wildcard, "http://.internal/", false},
		{wildcard, "http://[::1%25.internal]:8080/", false},
		{wildcard, "http://[::1%25a.internal.]:8080/", false},
		{wildcard, "http://[::ffff:127.0.0.1%25.internal]/", false},
		{wildcard, "http://[fe80::1%25eth0.internal]/", false},
		{wildcard, "http://[10.1.2.3%25.internal]/", false},
		{wildcard, "http://a,b.internal/", false},
		{wildcard, "http://7.0.0.1/", false},
		{wildcard, "http://7.0.0.2/", true},
		{wildcard, "http://[::7]/", true},
		{wildcard, "http://[::7%25x]/", false},
		{zoned, "http://[::1%25lo]/", false},
		{zoned, "http://[::ffff:10.1.2.3%25x]/", true},
		{zoned, "http://[::ffff:10.2.0.1%25x]/", false},
	} {
		if err := tc.policy.Check(t.Context(), tc.url); (err == nil) != tc.ok {
			t.Errorf("%s with %+v: %v", tc.url, *tc.policy, err)
		}
	}
}

// Neither a proxy of the environment nor one of the caller's is left.
func TestGuardedTransports(t *testing.T) {
	proxy := http.ProxyURL(&url.URL{Scheme: "http", Host: "127.0.0.1:1"})
	for name, base := range map[string]*http.Transport{
		"the default": http.DefaultTransport.(*http.Transport),
		"a proxy":     {Proxy: proxy},
		"empty":       {},
	} {
		guarded, err := (&Policy{Public: true}).guard(base)
		if err != nil {
			t.Fatal(err)
		}
		if guarded.Proxy != nil || guarded.DialContext == nil || !guarded.ForceAttemptHTTP2 {
			t.Errorf("%s: proxy, dialer or HTTP/2 are not as they should be", name)
		}
	}
}

func FuzzPolicy(f *testing.F) {
	for _, seed := range []string{
		"https://user:s3cret@example.org/?token=x", "http://[::1%25lo]:80/", "http://a\x00b/", "https://a@b@c/", "http://\u2028/", "//x", "http://127.1/%0a",
		"http://[::1%25.internal]:80/", "http://[::ffff:127.0.0.1%25.internal]/", "http://127.0.0.1/", "http://a.internal./",
	} {
		f.Add(seed)
	}
	policy := &Policy{Networks: prefixes("10.0.0.0/8"), Hosts: []string{"*.internal", "*.1"}}
	f.Fuzz(func(t *testing.T, raw string) {
		if wire.CheckCallbackURL(raw) != nil {
			return
		}
		u, err := url.Parse(raw)
		if err != nil {
			t.Fatalf("%q was taken for a callback URL", raw)
		}
		host := u.Hostname()
		a, err := netip.ParseAddr(host)
		switch {
		case err == nil:
			if policy.Check(t.Context(), raw) == nil && !policy.Networks[0].Contains(a.Unmap()) {
				t.Errorf("%q is allowed", raw)
			}
		case policy.allowsHost(host) && strings.ContainsAny(host, ":%[]"):
			t.Errorf("%q is taken for a name below .internal", host)
		}
	})
}
