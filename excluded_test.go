package toot_test

import (
	"log/slog"
	"net/netip"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go"
)

// TestExcludedCallbackURLsAreCounted: what was registered before a policy was
// set, and is not allowed by it, is counted in one line when the app begins to
// run: each URL once, and not those of which nobody can tell.
func TestExcludedCallbackURLsAreCounted(t *testing.T) {
	names := resolveHere(t)
	names.say("inside.test.", "127.0.0.1")
	names.say("outside.test.", "192.0.2.1")
	var log lockedBuffer
	n := newNode(t, toot.Options{
		AllowCallback: &toot.CallbackPolicy{Hosts: []string{"*.internal"}, Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		Logger:        slog.New(slog.NewTextHandler(&log, nil)),
	}, false)
	for channel, urls := range map[string][]string{
		"a": {"http://127.0.0.1:1/a", "http://127.0.0.1:1/b", "http://inside.test/", "http://192.0.2.7/", "http://shop.internal/", "http://[::1]/"},
		"b": {"http://127.0.0.1:1/a", "http://outside.test/", "http://nowhere.test/", "not a URL"},
	} {
		for _, u := range urls {
			n.add(t, channel, u)
		}
	}
	stop := start(t, n.App)
	eventually(t, "they are counted", func() bool { return strings.Contains(log.String(), "callback_urls=4\n") })
	stop()
	if lines := strings.Count(log.String(), "level=WARN"); lines != 1 {
		t.Errorf("%d lines:\n%s", lines, log.String())
	}
	if asked := names.times("inside.test."); asked > 2 { // for IPv4 and IPv6
		t.Errorf("a name was looked up %d times", asked)
	}
}
