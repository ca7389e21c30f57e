package toottest

import (
	"io"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// Answer is how an Endpoint answers one request. The zero value is 200, at once.
type Answer struct {
	Status int           // default 200
	Header http.Header   // such as Retry-After
	Body   string        // default: none
	Delay  time.Duration // how long the request is kept waiting
	// Abort closes the connection, after Delay, instead of answering.
	Abort bool
}

// Request is one that an Endpoint got.
type Request struct {
	Event  *toot.Event // nil if the body is none
	Header http.Header
	Body   []byte
	At     time.Time // when it had been read
}

// Endpoint is a callback URL that answers by a script and keeps what it gets.
// It takes one event at a time, and consents to whoever asks
// (Options.RequireConsent). Its methods may be called concurrently.
type Endpoint struct {
	URL string

	patience time.Duration // of Await
	mu       sync.Mutex
	script   []Answer
	requests []Request
	more     chan struct{} // closed with the next request
	ended    chan struct{} // closed with the test
}

// NewEndpoint serves an Endpoint until the test has ended. The first request
// gets the first answer, the second the second, and so on; the last answer is
// repeated. Without any, each request is answered with 200.
func NewEndpoint(t testing.TB, script ...Answer) *Endpoint {
	t.Helper()
	e := &Endpoint{script: slices.Clone(script), more: make(chan struct{}), ended: make(chan struct{}), patience: awaitReal}
	if len(script) == 0 {
		e.script = []Answer{{}}
	}
	bubble := inBubble()
	if bubble {
		e.patience = awaitFake
	}
	url, endServer := serve(bubble, "endpoint", http.HandlerFunc(e.serve))
	e.URL = url
	t.Cleanup(func() {
		close(e.ended)
		endServer()
	})
	return e
}

func (e *Endpoint) serve(w http.ResponseWriter, r *http.Request) {
	if origin := r.Header.Get(wire.RequestOriginHeader); r.Method == http.MethodOptions && origin != "" {
		w.Header().Set(wire.AllowedOriginHeader, origin)
		return
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return // whoever sent it is gone
	}
	a := e.keep(Request{Header: r.Header.Clone(), Body: body, At: time.Now()})
	if a.Delay > 0 {
		timer := time.NewTimer(a.Delay)
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-r.Context().Done():
		case <-e.ended:
			panic(http.ErrAbortHandler)
		}
	}
	if a.Abort {
		panic(http.ErrAbortHandler)
	}
	for name, values := range a.Header {
		w.Header()[http.CanonicalHeaderKey(name)] = values
	}
	if a.Status != 0 {
		w.WriteHeader(a.Status)
	}
	_, _ = io.WriteString(w, a.Body)
}

// keep keeps a request and returns its answer.
func (e *Endpoint) keep(r Request) Answer {
	event := new(toot.Event)
	if event.UnmarshalJSON(r.Body) == nil {
		r.Event = event
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	a := e.script[min(len(e.requests), len(e.script)-1)]
	e.requests = append(e.requests, r)
	close(e.more)
	e.more = make(chan struct{})
	return a
}

// Requests returns what the Endpoint has got so far, oldest first.
func (e *Endpoint) Requests() []Request {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.requests)
}

// How long Await waits. On the machine's clock, that is more than enough for what
// is on its way; in a bubble, it is the time of some ten retries by toot's
// schedule.
const (
	awaitReal = 10 * time.Second
	awaitFake = 24 * time.Hour
)

// Await waits until the Endpoint has got n requests, and returns all that it
// has got, oldest first. A request counts once it has been read, before it is
// answered. Await ends the test after 10 seconds or, in a bubble of
// testing/synctest, after 24 hours of its clock.
func (e *Endpoint) Await(t testing.TB, n int) []Request {
	t.Helper()
	timer := time.NewTimer(e.patience)
	defer timer.Stop()
	for {
		e.mu.Lock()
		requests, more := slices.Clone(e.requests), e.more
		e.mu.Unlock()
		if len(requests) >= n {
			return requests
		}
		select {
		case <-more:
		case <-timer.C:
			t.Fatalf("toottest: the endpoint got %d requests within %v, want %d", len(requests), e.patience, n)
		}
	}
}
