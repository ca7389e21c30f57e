package exactlyonce

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"

	"github.com/watermarkchurch/toot-go/internal/testing/netfault"
)

// Road is the way of one bank's requests to the other: a network that fails
// when it is told to, and behind it a proxy that sends some requests twice, and
// any of them again later. Its methods may be called concurrently.
type Road struct {
	target  string // host and port
	network *netfault.Proxy
	server  *http.Server
	client  *http.Client
	twice   sync.WaitGroup

	mu   sync.Mutex
	kept []request
	sent int // duplicates that were answered with success
}

// request is one that went along the road.
type request struct {
	path   string
	header http.Header
	body   []byte
}

const (
	// keptMost is how many requests a road keeps.
	keptMost = 1000
	// twiceOf: one of so many requests is sent twice.
	twiceOf = 10
)

func newRoad(target string) (*Road, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	r := &Road{target: target, client: &http.Client{Timeout: 2 * requestTimeout}}
	r.server = &http.Server{Handler: r, ReadHeaderTimeout: requestTimeout}
	go func() { _ = r.server.Serve(l) }()
	if r.network, err = netfault.New(l.Addr().String()); err != nil {
		return nil, errors.Join(err, r.server.Close())
	}
	return r, nil
}

// url is where the other bank's callbacks are found along the road.
func (r *Road) url() string { return "http://" + r.network.Addr() + "/callbacks" }

// ServeHTTP passes on a request, and its answer. Where there is none, the
// connection ends.
func (r *Road) ServeHTTP(w http.ResponseWriter, from *http.Request) {
	body, err := io.ReadAll(from.Body)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	q := request{from.URL.Path, from.Header.Clone(), body}
	if r.keep(q) {
		r.twice.Go(func() { r.duplicate(q) })
	}
	answer, err := r.send(from.Context(), q)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = answer.Body.Close() }()
	for name, values := range answer.Header {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.StatusCode)
	_, _ = io.Copy(w, answer.Body)
}

// keep keeps a request, in the place of another one if there are many, and says
// whether to send it twice.
func (r *Road) keep(q request) (twice bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.kept) < keptMost {
		r.kept = append(r.kept, q)
	} else {
		r.kept[rand.IntN(keptMost)] = q
	}
	return rand.IntN(twiceOf) == 0
}

func (r *Road) send(ctx context.Context, q request) (*http.Response, error) {
	to, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+r.target+q.path, bytes.NewReader(q.body))
	if err != nil {
		return nil, err
	}
	to.Header = q.header
	return r.client.Do(to)
}

// duplicate sends a request that was sent before.
func (r *Road) duplicate(q request) {
	answer, err := r.send(context.Background(), q)
	if err != nil {
		return
	}
	_, _ = io.Copy(io.Discard, answer.Body)
	_ = answer.Body.Close()
	if answer.StatusCode == http.StatusOK {
		r.mu.Lock()
		r.sent++
		r.mu.Unlock()
	}
}

// again sends up to so many of the requests that it has kept once more.
func (r *Road) again(most int) {
	r.mu.Lock()
	kept := append([]request{}, r.kept...)
	r.mu.Unlock()
	rand.Shuffle(len(kept), func(i, j int) { kept[i], kept[j] = kept[j], kept[i] })
	for _, q := range kept[:min(most, len(kept))] {
		r.duplicate(q)
	}
}

// duplicates is how many requests were sent once more, and answered.
func (r *Road) duplicates() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.sent
}

func (r *Road) close() {
	r.network.Close()
	_ = r.server.Close()
	r.twice.Wait()
	r.client.CloseIdleConnections()
}
