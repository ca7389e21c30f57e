package h1

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"time"
)

const (
	// maxHeader bounds the header of an answer, in bytes.
	maxHeader = 64 << 10
	// maxInterim is how many 1xx answers may come before the one that counts.
	maxInterim = 5
)

var (
	errHeaderTooLarge = fmt.Errorf("the answer's header is larger than %d bytes", maxHeader)
	errInterim        = errors.New("too many 1xx answers")
)

// conn is a connection. One request at a time uses it.
type conn struct {
	net      net.Conn
	addr     string
	home     *pool
	in       *bufio.Reader
	out      *bufio.Writer
	read     int  // bytes of the answer to the last request
	inHeader bool // whose length is bounded

	abort   func()   // fails what is under way
	silence *silence // nil: the connection can't be used again

	// Of the pool.
	since        time.Time // when it became idle
	older, newer *conn
}

func newConn(netConn net.Conn, addr string, home *pool) *conn {
	c := &conn{net: netConn, addr: addr, home: home, silence: listenTo(netConn)}
	c.in, c.out = bufio.NewReader(reader{c}), bufio.NewWriter(netConn)
	c.abort = func() { _ = c.net.SetDeadline(time.Unix(1, 0)) }
	return c
}

// reader is the connection as its buffer reads it.
type reader struct{ c *conn }

func (r reader) Read(p []byte) (int, error) {
	c := r.c
	if c.inHeader {
		if c.read >= maxHeader {
			return 0, errHeaderTooLarge
		}
		p = p[:min(len(p), maxHeader-c.read)]
	}
	n, err := c.net.Read(p)
	c.read += n
	return n, err
}

// answered reports that something came back to the last request.
func (c *conn) answered() bool { return c.read > 0 }

// roundTrip makes a request, by the deadline that is set. If it returns an
// error, the connection is of no more use; else it finds its own way back to
// the pool.
func (c *conn) roundTrip(req *http.Request) (*http.Response, error) {
	ctx := req.Context()
	stop := context.AfterFunc(ctx, c.abort)
	res, err := c.exchange(req)
	if err != nil {
		stop()
		return nil, c.cause(ctx, err)
	}
	reusable := !res.Close && res.StatusCode != http.StatusSwitchingProtocols
	if res.Body == http.NoBody {
		c.done(stop, reusable)
		return res, nil
	}
	res.Body = &body{ReadCloser: res.Body, conn: c, stop: stop, reusable: reusable, ctx: ctx}
	return res, nil
}

// exchange sends a request and reads the answer up to its body.
func (c *conn) exchange(req *http.Request) (*http.Response, error) {
	c.read, c.inHeader = 0, true
	err := req.Write(c.out)
	if err == nil {
		err = c.out.Flush()
	}
	if err != nil {
		return nil, err
	}
	for range maxInterim {
		res, err := http.ReadResponse(c.in, req)
		if err != nil {
			return nil, err
		}
		if res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			c.inHeader = false
			return res, nil
		}
	}
	return nil, errInterim
}

// cause is why something went wrong, should the context be the reason.
func (c *conn) cause(ctx context.Context, err error) error {
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return context.DeadlineExceeded // whose timer is a moment late
}

// done ends a request. The connection goes back to the pool, if nothing is
// wrong with it.
func (c *conn) done(stop func() bool, reusable bool) {
	if !stop() || !reusable || c.silence == nil || c.in.Buffered() > 0 {
		c.close()
		return
	}
	c.home.put(c)
}

func (c *conn) close() { _ = c.net.Close() }

// body is the body of an answer. Once read to its end, it gives the connection
// back.
type body struct {
	io.ReadCloser
	conn     *conn
	stop     func() bool
	reusable bool
	ended    bool
	ctx      context.Context //nolint:containedctx // of the request, which the body is a part of
}

func (b *body) Read(p []byte) (int, error) {
	if b.ended {
		return 0, io.EOF
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == io.EOF: //nolint:errorlint // it is never wrapped
		b.end(b.reusable)
	case err != nil:
		b.end(false)
		err = b.conn.cause(b.ctx, err)
	}
	return n, err
}

// Close gives up the connection if the body was not read to its end.
func (b *body) Close() error {
	b.end(false)
	return nil
}

func (b *body) end(reusable bool) {
	if !b.ended {
		b.ended = true
		b.conn.done(b.stop, reusable)
	}
}
