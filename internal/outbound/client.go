// Package outbound makes the requests that go out: to which addresses, over
// which connections, within which time. What an answer means is for others to
// say.
package outbound

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"time"

	"github.com/watermarkchurch/toot-go/internal/h1"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// maxAnswerBytes is how much of an answer's body is read, so that its
// connection can be used again. A longer one costs the connection.
const maxAnswerBytes = 64 << 10

// maxAnswerHeader bounds the header of an answer, in bytes, as package h1 does.
const maxAnswerHeader = 64 << 10

// Config says how to make a Client.
type Config struct {
	// Base is the caller's client, over which the rules are laid. nil, or one
	// without a Transport, means a pool of MaxConns connections.
	Base     *http.Client
	MaxConns int
	// Wrap, unless nil, wraps the transport that makes the connections.
	Wrap func(http.RoundTripper) http.RoundTripper
	// Policy, unless nil, says which addresses may be connected to.
	Policy *Policy
	// Timeout bounds a request, from dialling to the end of the answer.
	Timeout time.Duration
}

// Client makes requests and never follows a redirect. Its methods may be
// called concurrently.
type Client struct {
	http *http.Client
	own  []*h1.Transport // that nobody else uses
}

// New returns a Client, or an error if the policy can't be held with the
// caller's client.
func New(c Config) (*Client, error) {
	var client http.Client
	if c.Base != nil {
		client = *c.Base
	}
	base := client.Transport
	isOurs := base == nil
	if isOurs {
		base = http.DefaultTransport
	}
	plain, isPlain := base.(*http.Transport)
	made := &Client{}
	switch {
	case c.Policy != nil:
		if !isPlain {
			return nil, errors.New("toot: Options.AllowCallback needs a Client whose Transport is an *http.Transport, or none, since it dials by itself: put what wraps it into Options.WrapTransport")
		}
		if isOurs {
			plain = c.pool(plain)
		}
		guarded, err := c.Policy.guard(plain)
		if err != nil {
			return nil, err
		}
		base = made.quick(guarded)
	case isOurs && isPlain:
		base = made.quick(c.pool(plain))
	}
	if c.Wrap != nil {
		base = c.Wrap(base)
	}
	client.Transport = base
	made.http = Ruled(client, c.Timeout)
	return made, nil
}

// pool returns a transport like another, with a pool of its own that is fit
// for many requests to few hosts.
func (c *Config) pool(t *http.Transport) *http.Transport {
	t = t.Clone()
	t.MaxIdleConns = c.MaxConns
	t.MaxIdleConnsPerHost = c.MaxConns // many callback URLs may share a host
	t.DisableCompression = true        // answers are a few bytes
	t.MaxResponseHeaderBytes = maxAnswerHeader
	return t
}

// quick takes charge of a transport, and makes it quick.
func (c *Client) quick(t *http.Transport) http.RoundTripper {
	quick := h1.New(t)
	c.own = append(c.own, quick)
	return quick
}

// Ruled lays the rules over a client: no redirects, and the timeout unless it
// has a shorter one.
func Ruled(client http.Client, timeout time.Duration) *http.Client {
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if client.Timeout <= 0 || client.Timeout > timeout {
		client.Timeout = timeout
	}
	return &client
}

// HTTP returns the client for requests that are not POSTs to an Endpoint.
func (c *Client) HTTP() *http.Client { return c.http }

// CloseIdle closes the idle connections that are nobody else's.
func (c *Client) CloseIdle() {
	for _, t := range c.own {
		t.CloseIdleConnections()
	}
}

// Answer is the answer to a request.
type Answer struct {
	Status int
	Header http.Header
	Body   []byte // the first 64 KiB
	// CutOff says that the body did not come whole.
	CutOff bool
}

// Post sends a body to an endpoint and reads the answer. setHeader adds to the
// request's headers. The error is ErrNotURL, or what kept the request from
// being answered; it does not name the URL.
func (c *Client) Post(ctx context.Context, to *Endpoint, body []byte, setHeader func(http.Header)) (Answer, error) {
	ctx, cancel := context.WithTimeout(ctx, c.http.Timeout)
	defer cancel()
	req, err := to.newRequest(ctx, body)
	if err != nil {
		return Answer{}, ErrNotURL
	}
	setHeader(req.Header)
	res, err := c.send(req)
	if err != nil {
		return Answer{}, wire.WithoutURL(err)
	}
	defer func() { _ = res.Body.Close() }()
	a := Answer{Status: res.StatusCode, Header: res.Header}
	if res.ContentLength != 0 {
		a.Body, err = io.ReadAll(io.LimitReader(res.Body, maxAnswerBytes))
		a.CutOff = err != nil
	}
	return a, nil
}

// WithRenewal returns a context for a Post whose header says something that holds
// for one sending only. Should the request have to be made again at once, as its
// connection turned out to be closed, renew is given a copy of the header to
// change before.
func WithRenewal(ctx context.Context, renew func(http.Header)) context.Context {
	return h1.WithRenewal(ctx, renew)
}

// send does what the http.Client's Do would. As no redirect is ever followed,
// its transport can do it at much less cost, unless there are cookies to keep.
func (c *Client) send(req *http.Request) (*http.Response, error) {
	if c.http.Jar != nil {
		return c.http.Do(req)
	}
	res, err := c.http.Transport.RoundTrip(req)
	switch {
	case err != nil:
		return nil, err
	case res == nil || res.Body == nil:
		return nil, errors.New("the client's transport returned neither an answer nor an error")
	}
	return res, nil
}

// IsTimeout reports an error of Post that means that there was no answer in
// time.
func IsTimeout(err error) bool {
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.Is(err, context.DeadlineExceeded)
}
