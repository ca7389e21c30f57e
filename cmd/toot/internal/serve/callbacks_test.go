package serve

import (
	"fmt"
	"slices"
	"testing"
)

func TestCallbacks(t *testing.T) {
	for spec, want := range map[string]string{
		"":       "<nil>",
		"any":    "<nil>",
		" any ,": "<nil>",
		"public": "&{true [] []}",
		"public, *.internal,shop.internal,10.1.2.3/8,192.168.1.7": "&{true [*.internal shop.internal] [10.1.2.3/8 192.168.1.7/32]}",
		"fd00::/8,[::1],::1,redis_1,localhost":                    "&{false [redis_1 localhost] [fd00::/8 ::1/128 ::1/128]}",
	} {
		policy, err := Callbacks(spec)
		if got := fmt.Sprint(policy); err != nil || got != want {
			t.Errorf("%q allows %s, want %s (%v)", spec, got, want, err)
		}
	}
	for _, spec := range []string{
		"any,public", "public,any", "*", "*.", "*.*.internal", "a*.internal", "http://shop.internal", "shop.internal:8080", "shop.internal/x",
		"10.0.0.0/33", "127.1", "0x7f.1", "1.2.3", "fe80::1%eth0", "a..b", "-,", "näher.example", "a b",
	} {
		if policy, err := Callbacks(spec); err == nil {
			t.Errorf("%q is taken for %v", spec, policy)
		}
	}
}

func TestHosts(t *testing.T) {
	hosts, err := Hosts("toot.example.org, Toot.internal.,")
	if err != nil || !slices.Equal(hosts, []string{"toot.example.org", "Toot.internal."}) {
		t.Errorf("%q, %v", hosts, err)
	}
	for _, spec := range []string{"toot.example.org:80", "https://toot.example.org", "*", "10.0.0.1", "*.example.org"} {
		if _, err := Hosts(spec); err == nil {
			t.Errorf("%q is taken for host names", spec)
		}
	}
}
