package toottest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing/synctest"

	"github.com/watermarkchurch/toot-go/internal/testing/memnet"
)

// inMemory is the network of all bubbles. No two of its hosts share a name.
var (
	inMemory memnet.Network
	hosts    atomic.Int64
)

// inBubble reports whether it is called in a bubble of testing/synctest. There
// it waits until nothing else is going on, which nothing is kept waiting by.
func inBubble() (yes bool) {
	defer func() { yes = recover() == nil }()
	synctest.Wait() // panics elsewhere
	return true
}

// serve serves a handler: on the loopback interface or, in a bubble, in memory.
// It returns the URL without a slash at its end, and what ends it, which waits
// for the requests under way.
func serve(bubble bool, what string, h http.Handler) (url string, end func()) {
	if !bubble {
		s := httptest.NewServer(h)
		return s.URL, s.Close
	}
	host := fmt.Sprintf("%s-%d.test", what, hosts.Add(1))
	inMemory.Serve(host, h)
	return "http://" + host, func() { inMemory.Serve(host, nil) }
}

// memory is the transport of an app in a bubble: what is served there is
// reached in memory, anything else by the next transport.
type memory struct{ next http.RoundTripper }

func (m memory) RoundTrip(req *http.Request) (*http.Response, error) {
	if inMemory.At(req.URL.Host) == nil && m.next != nil {
		return m.next.RoundTrip(req)
	}
	return inMemory.RoundTrip(req)
}
