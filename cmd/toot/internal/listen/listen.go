// Package listen is a subscriber for a while: what arrives is printed, passed
// on to another URL or to a command, and only then answered for. Who published
// it keeps it, and tries again, until that has worked.
//
//	listen.go  the endpoint
//	action.go  passing on
//	seen.go    duplicates
package listen

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"log/slog"
	"net/http"
	"net/url"
	"path"
	"slices"
	"sync"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// Options say what to do with events.
type Options struct {
	// Channels are what was subscribed to. Events on others are refused for
	// good.
	Channels []string
	// Secret is what the path of a request must end in. What stands before it
	// does not matter, as a proxy may take it away.
	Secret string
	// Actions are done one after the other for each event. One that fails
	// makes the publisher send the event again.
	Actions []Action
	// MaxEventBytes bounds an event.
	MaxEventBytes int64
	Logger        *slog.Logger
}

// Action does something with an event.
type Action func(ctx context.Context, e *Arrival) error

// Arrival is an event as it arrived.
type Arrival struct {
	toot.Event
	// Hops is how many hops deep its delivery was: see docs/wire.md.
	Hops int
}

// Endpoint is the http.Handler at the callback URL.
type Endpoint struct {
	opts   Options
	seen   seen
	intake *wire.Intake
}

// NewEndpoint returns an endpoint.
func NewEndpoint(o Options) *Endpoint {
	return &Endpoint{opts: o, seen: seen{byID: map[string]*record{}}, intake: wire.NewIntake(4 * o.MaxEventBytes)}
}

// ServeHTTP takes an event.
func (l *Endpoint) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if subtle.ConstantTimeCompare([]byte(path.Base(r.URL.Path)), []byte(l.opts.Secret)) != 1 {
		http.NotFound(w, r)
		return
	}
	if r.Method == http.MethodOptions && l.consents(w.Header(), r) {
		return
	}
	if r.Method != http.MethodPost {
		w.Header().Set("Allow", http.MethodPost)
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	body, ok := wire.ReadBody(w, r, wire.BodyLimits{Bytes: l.opts.MaxEventBytes, Depth: -1, Within: -1, Intake: l.intake})
	if !ok {
		return
	}
	defer body.Done()
	var event Arrival
	event.Hops, _ = wire.DeliveryHops(r.Header)
	if err := json.Unmarshal(body.Bytes, &event.Event); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	if !slices.Contains(l.opts.Channels, event.Channel) {
		w.Header()[wire.UnsubscribeHeader] = []string{"True"}
		return
	}
	// Two requests with the same event wait for each other, so that the
	// second one is answered by what became of the first.
	again, end := l.seen.begin(event.ID)
	if again {
		l.opts.Logger.Debug("received again; nothing was done", "event", event.ID)
		end(true)
		return
	}
	err := l.act(r.Context(), &event)
	end(err == nil)
	if err != nil {
		l.opts.Logger.Warn("failed; its publisher will send it again", "event", event.ID, "channel", event.Channel, "error", err)
		http.Error(w, "The event could not be passed on.", http.StatusBadGateway)
	}
}

// consents answers a publisher that asks whether events on a channel are wanted
// here: see docs/wire.md.
func (l *Endpoint) consents(answer http.Header, r *http.Request) bool {
	origin := r.Header.Get(wire.RequestOriginHeader)
	channel, err := url.QueryUnescape(r.Header.Get(wire.ChannelHeader))
	if origin == "" || len(origin) > wire.MaxOrigin || err != nil || !slices.Contains(l.opts.Channels, channel) {
		return false
	}
	answer[wire.AllowedOriginHeader] = []string{origin}
	answer[wire.AllowedRateHeader] = []string{"*"}
	return true
}

func (l *Endpoint) act(ctx context.Context, e *Arrival) error {
	for _, act := range l.opts.Actions {
		if err := act(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// Print returns an action that calls write for one event at a time.
func Print(write func(*toot.Event) error) Action {
	var mu sync.Mutex
	return func(_ context.Context, e *Arrival) error {
		mu.Lock()
		defer mu.Unlock()
		return write(&e.Event)
	}
}
