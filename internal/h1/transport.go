package h1

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// maxBody is the largest body that is sent from here: one that a connection
// takes without the other side reading, so that an early answer is seen.
const maxBody = 16 << 10

// Transport is an http.RoundTripper. It may be used concurrently.
type Transport struct {
	next  *http.Transport
	dial  func(ctx context.Context, network, addr string) (net.Conn, error)
	conns pool
}

// New returns a Transport that connects as next would, keeps idle connections
// by its limits, and leaves to it what is not for this package.
func New(next *http.Transport) *Transport {
	t := &Transport{next: next, dial: next.DialContext}
	if t.dial == nil {
		t.dial = (&net.Dialer{}).DialContext
	}
	t.conns = pool{perHost: next.MaxIdleConnsPerHost, total: next.MaxIdleConns, age: next.IdleConnTimeout}
	return t
}

// CloseIdleConnections closes the connections that are not in use.
func (t *Transport) CloseIdleConnections() {
	t.conns.closeAll()
	t.next.CloseIdleConnections()
}

// RoundTrip implements http.RoundTripper. A request that meets a connection
// which the other side has closed meanwhile is made again on another.
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if !t.takes(req) {
		return t.next.RoundTrip(req)
	}
	ctx := req.Context()
	deadline, _ := ctx.Deadline()
	addr := address(req.URL)
	for {
		c := t.idle(addr, deadline)
		reused := c != nil
		if !reused {
			netConn, err := t.dial(ctx, "tcp", addr)
			if err == nil {
				err = netConn.SetDeadline(deadline)
			}
			if err != nil {
				_ = req.Body.Close()
				return nil, err
			}
			c = newConn(netConn, addr, &t.conns)
		}
		res, err := c.roundTrip(req)
		if err == nil {
			return res, nil
		}
		c.close()
		if !reused || c.answered() || !isClosed(err) || ctx.Err() != nil {
			return nil, err
		}
		if req, err = again(req); err != nil {
			return nil, err
		}
	}
}

// idle returns a connection that was used before, or nil.
func (t *Transport) idle(addr string, deadline time.Time) *conn {
	for {
		c := t.conns.get(addr)
		if c == nil || c.net.SetDeadline(deadline) == nil && c.silence.holds() {
			return c
		}
		c.close()
	}
}

// takes reports a request that is made here.
func (t *Transport) takes(req *http.Request) bool {
	u := req.URL
	if !supported || u == nil || u.Scheme != "http" || u.Host == "" || req.Close ||
		req.Body == nil || req.GetBody == nil || req.ContentLength <= 0 || req.ContentLength > maxBody ||
		req.Method != http.MethodPost || len(req.Header["Expect"]) > 0 || len(req.Header["Upgrade"]) > 0 {
		return false
	}
	for i := range len(u.Host) {
		if u.Host[i] >= 0x80 { // for IDNA
			return false
		}
	}
	if httptrace.ContextClientTrace(req.Context()) != nil {
		return false
	}
	if t.next.Proxy != nil {
		if proxy, err := t.next.Proxy(req); proxy != nil || err != nil {
			return false
		}
	}
	return true
}

// address is where to connect to.
func address(u *url.URL) string {
	if i := strings.LastIndexByte(u.Host, ':'); i >= 0 && i < len(u.Host)-1 && !strings.HasSuffix(u.Host, "]") {
		return u.Host
	}
	return net.JoinHostPort(u.Hostname(), "80")
}

type renewalKey struct{}

// WithRenewal returns a context for requests whose header says something that
// holds for one sending only: before a request is made again, renew is given a
// copy of the header to change.
func WithRenewal(ctx context.Context, renew func(http.Header)) context.Context {
	return context.WithValue(ctx, renewalKey{}, renew)
}

// again returns a request with its body as it was in the beginning.
func again(req *http.Request) (*http.Request, error) {
	body, err := req.GetBody()
	if err != nil {
		return nil, err
	}
	fresh := *req
	fresh.Body = body
	if renew, ok := req.Context().Value(renewalKey{}).(func(http.Header)); ok {
		fresh.Header = req.Header.Clone()
		renew(fresh.Header)
	}
	return &fresh, nil
}

// isClosed reports what comes of using a connection that the other side has
// closed.
func isClosed(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) ||
		errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE) || errors.Is(err, syscall.ECONNABORTED)
}
