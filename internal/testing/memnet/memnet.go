// Package memnet carries HTTP requests to handlers in memory. Nothing in it
// waits for a socket, so that it works under the fake clock of
// testing/synctest.
package memnet

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"syscall"
)

// Network is an http.RoundTripper that carries requests to handlers by the
// names of their hosts. A host that has none refuses connections. The zero
// value has no hosts. Its methods may be called concurrently.
type Network struct {
	mu    sync.Mutex
	hosts map[string]http.Handler
}

// Serve puts a handler on a host, nil takes the host away.
func (n *Network) Serve(host string, h http.Handler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.hosts == nil {
		n.hosts = map[string]http.Handler{}
	}
	if n.hosts[host] = h; h == nil {
		delete(n.hosts, host)
	}
}

// At returns the handler of a host, nil if there is none.
func (n *Network) At(host string) http.Handler {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hosts[host]
}

// RoundTrip implements http.RoundTripper. A handler that panics with
// http.ErrAbortHandler closes the connection without an answer.
func (n *Network) RoundTrip(req *http.Request) (*http.Response, error) {
	h := n.At(req.URL.Host)
	if h == nil {
		return nil, &net.OpError{Op: "dial", Net: "memory", Err: syscall.ECONNREFUSED}
	}
	var body []byte
	if req.Body != nil {
		var err error
		if body, err = io.ReadAll(req.Body); err != nil {
			return nil, err
		}
	}
	in := httptest.NewRequestWithContext(req.Context(), req.Method, req.URL.String(), bytes.NewReader(body))
	in.Header = req.Header.Clone()
	answered := make(chan *http.Response, 1)
	go func() {
		defer close(answered)
		defer func() {
			if v := recover(); v != nil && v != http.ErrAbortHandler { //nolint:errorlint // that very value is what net/http looks for
				panic(v)
			}
		}()
		w := httptest.NewRecorder()
		h.ServeHTTP(w, in)
		answered <- w.Result()
	}()
	select {
	case res := <-answered:
		if res == nil {
			return nil, io.EOF
		}
		return res, nil
	case <-req.Context().Done():
		return nil, context.Cause(req.Context())
	}
}
