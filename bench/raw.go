package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// rawClients is how many clients the raw row has.
const rawClients = 64

// measureRaw measures the limit: what net/http does with the same body, a
// client and a server in one process, and nothing else.
func (b *bench) measureRaw(ctx context.Context) (sample, error) {
	server, err := serve(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { _, _ = io.Copy(io.Discard, r.Body) }))
	if err != nil {
		return sample{}, err
	}
	defer server.close()
	transport := &http.Transport{MaxIdleConns: rawClients, MaxIdleConnsPerHost: rawClients}
	defer transport.CloseIdleConnections()
	client := &http.Client{Transport: transport}
	body := wireEvent(0, 0)
	posts := func(ctx context.Context, d time.Duration) (int, error) {
		var n atomic.Int64
		var failed atomic.Pointer[error]
		end := time.Now().Add(d)
		var clients sync.WaitGroup
		for range rawClients {
			clients.Go(func() {
				for time.Now().Before(end) && ctx.Err() == nil {
					if err := post(ctx, client, server.url, body); err != nil {
						failed.Store(&err)
						return
					}
					n.Add(1)
				}
			})
		}
		clients.Wait()
		if err := failed.Load(); err != nil {
			return 0, *err
		}
		return int(n.Load()), ctx.Err()
	}
	if _, err := posts(ctx, b.length/20); err != nil { // opens the connections
		return sample{}, err
	}
	var s stage
	return s.measure(ctx, func(ctx context.Context) (int, error) { return posts(ctx, b.length/3) })
}

func post(ctx context.Context, client *http.Client, url string, body []byte) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	_, _ = io.Copy(io.Discard, res.Body)
	return res.Body.Close()
}

// server is an HTTP server on a free port.
type server struct {
	url  string
	http *http.Server
}

func serve(h http.Handler) (*server, error) {
	l, err := listen()
	if err != nil {
		return nil, err
	}
	s := &server{url: "http://" + l.Addr().String(), http: &http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second}}
	go func() { _ = s.http.Serve(l) }()
	return s, nil
}

// listen takes a free port of the loopback interface.
func listen() (net.Listener, error) { return net.Listen("tcp", "127.0.0.1:0") } //nolint:noctx // it never waits

func (s *server) close() { _ = s.http.Close() }
