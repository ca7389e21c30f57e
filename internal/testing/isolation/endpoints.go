// Package isolation measures what endpoints that hang or fail cost those that
// work, and what a large backlog costs in memory. Its tests do it small and
// without a clock; make isolation does it in full.
package isolation

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Endpoints are a process of their own: callback URLs of three kinds, by the
// first part of their path.
const (
	healthy = "/healthy/" // answer 200
	failing = "/failing/" // answer 500
	hanging = "/hanging/" // don't answer

	envRole   = "TOOT_ISOLATION_ROLE"
	envFile   = "TOOT_ISOLATION_FILE"
	envEvents = "TOOT_ISOLATION_EVENTS"
)

// Main plays a role, if this process was started to do so, and ends it.
func Main() {
	var err error
	switch os.Getenv(envRole) {
	case "":
		return
	case "endpoints":
		err = serveEndpoints()
	case "backlog":
		var events int
		if events, err = strconv.Atoi(os.Getenv(envEvents)); err == nil {
			err = fillBacklog(os.Getenv(envFile), events)
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// payload of every event: when it was to be published, in nanoseconds.
type payload struct {
	At int64 `json:"at"`
}

// seen is what came in since the last reset, events of the healthy ones.
type seen struct {
	Healthy int           `json:"healthy"` // distinct events
	Sick    int           `json:"sick"`    // distinct events that were answered 200
	P50     time.Duration `json:"p50"`
	P99     time.Duration `json:"p99"`
	Max     time.Duration `json:"max"`
}

type endpoints struct {
	mu      sync.Mutex
	well    chan struct{} // closed once the sick have recovered
	ids     [2]map[string]bool
	latency []time.Duration
}

func serveEndpoints() error {
	l, err := (&net.ListenConfig{}).Listen(context.Background(), "tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	e := &endpoints{well: make(chan struct{}), ids: [2]map[string]bool{{}, {}}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /reset", e.reset)
	mux.HandleFunc("POST /recover", func(http.ResponseWriter, *http.Request) { close(e.well) })
	mux.HandleFunc("GET /seen", e.report)
	mux.HandleFunc("POST /", e.callback)
	fmt.Println(l.Addr())
	return http.Serve(l, mux) //nolint:gosec // G114: no time-outs, as it is to hang
}

func (e *endpoints) callback(w http.ResponseWriter, r *http.Request) {
	var event struct {
		ID      string
		Payload payload
	}
	if json.NewDecoder(r.Body).Decode(&event) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	now := time.Now()
	sick := 1
	if strings.HasPrefix(r.URL.Path, healthy) {
		sick = 0
	} else {
		select {
		case <-e.well:
		default:
			if strings.HasPrefix(r.URL.Path, failing) {
				w.WriteHeader(http.StatusInternalServerError)
				return
			}
			<-r.Context().Done()
			return
		}
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	key := r.URL.Path + event.ID
	if !e.ids[sick][key] && sick == 0 {
		e.latency = append(e.latency, now.Sub(time.Unix(0, event.Payload.At)))
	}
	e.ids[sick][key] = true
}

func (e *endpoints) reset(http.ResponseWriter, *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	clear(e.ids[0])
	e.latency = nil
}

func (e *endpoints) report(w http.ResponseWriter, _ *http.Request) {
	e.mu.Lock()
	defer e.mu.Unlock()
	s := seen{Healthy: len(e.ids[0]), Sick: len(e.ids[1])}
	if n := len(e.latency); n > 0 {
		slices.Sort(e.latency)
		s.P50, s.P99, s.Max = e.latency[n/2], e.latency[n*99/100], e.latency[n-1]
	}
	_ = json.NewEncoder(w).Encode(s)
}
