package outbound

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"sync"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

// ErrNotURL is the error of a request to an Endpoint that is no URL.
var ErrNotURL = errors.New("the callback URL is not a URL")

// Endpoint is what the requests to one URL have in common. It may be used
// concurrently.
type Endpoint struct {
	url string
	own Hosts

	once     sync.Once
	request  *http.Request // without a body
	basic    []string      // of the credentials in the URL, if any
	isOwn    bool
	notAnURL error
}

// NewEndpoint returns the endpoint of a URL, to somebody who has hosts of his
// own. A user name and password in the URL are sent with each request.
func NewEndpoint(url string, own Hosts) *Endpoint { return &Endpoint{url: url, own: own} }

// IsOwn reports that the host is one of one's own.
func (e *Endpoint) IsOwn() bool {
	e.once.Do(e.prepare)
	return e.isOwn
}

// newRequest returns a request with a body.
func (e *Endpoint) newRequest(ctx context.Context, body []byte) (*http.Request, error) {
	e.once.Do(e.prepare)
	if e.notAnURL != nil {
		return nil, e.notAnURL
	}
	req := e.request.WithContext(ctx)
	req.URL = new(url.URL)
	*req.URL = *e.request.URL
	req.Header = make(http.Header, 4)
	if e.basic != nil {
		req.Header["Authorization"] = e.basic
	}
	req.ContentLength = int64(len(body))
	req.Body = io.NopCloser(bytes.NewReader(body))
	req.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	return req, nil
}

func (e *Endpoint) prepare() {
	e.request, e.notAnURL = http.NewRequest(http.MethodPost, wire.RequestURL(e.url), nil) //nolint:noctx // each use has its own
	if e.notAnURL != nil {
		return
	}
	e.isOwn = e.own.Has(e.request.URL.Hostname())
	if u := e.request.URL.User; u != nil {
		password, _ := u.Password()
		e.request.SetBasicAuth(u.Username(), password)
		e.basic = e.request.Header["Authorization"]
	}
}
