package toot

import (
	"context"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// Lane is the state of a lane: a callback URL's, a subscription's, or a
// channel's whose large fan-outs wait, or whose events wait to be sent later
// (with " (scheduled)" behind the channel's name).
type Lane struct {
	Kind engine.Kind
	// Name is as it may be shown, without credentials.
	Name      string
	Waiting   int // due now, or to be tried again later
	Scheduled int // events that are to be sent later, see Message.After
	InFlight  int // claimed by a worker of any process
	Retrying  int // of Waiting: tried before
	Dead      int // in the dead letters
	// Oldest is the age of the oldest that is not dead. Of events that are to be
	// sent later it is for how long one has been due and not been taken up.
	Oldest   time.Duration
	Deferred time.Duration // how much longer the lane rests
	// Circuit is what this process thinks of the endpoint: "closed" (it
	// works), "open" (it keeps failing and is being probed), "new" (nothing
	// known, or nothing good yet). Empty for lanes other than callback URLs.
	Circuit string
	// Limit is how many requests this process may have in flight to the
	// endpoint just now. 0 for lanes other than callback URLs.
	Limit int
	// Unhandled says that, as far as is known, no process has a subscription of
	// that name: neither this process nor one that has announced it lately. What
	// waits there waits until one has, see [App.MoveUnhandled].
	Unhandled bool
}

// Stats is the state of an app's store.
type Stats struct {
	Lanes []Lane
	// The sums over all lanes.
	Waiting, Scheduled, InFlight, Retrying, Dead int
	Oldest                                       time.Duration
}

// Stats looks into the store. It may take time in proportion to the number of
// jobs there.
func (a *App) Stats(ctx context.Context) (Stats, error) {
	inspector, ok := a.engine.(engine.Inspector)
	if !ok {
		return Stats{}, wrapf(ErrUnsupported, "stats")
	}
	lanes, err := inspector.Lanes(ctx)
	if err != nil {
		return Stats{}, wrapf(err, "stats")
	}
	roll, err := a.subscriber.roster.Look(ctx)
	if err != nil {
		return Stats{}, wrapf(err, "stats")
	}
	s := Stats{Lanes: make([]Lane, len(lanes))}
	for i, l := range lanes {
		lane := Lane{
			Kind: l.Lane.Kind, Name: shownLane(l.Lane), Waiting: l.Waiting, InFlight: l.Leased,
			Retrying: l.Retrying, Dead: l.Dead, Oldest: l.Oldest, Deferred: l.Deferred,
		}
		switch l.Lane.Kind {
		case engine.FanOut:
			if isLaterLane(l.Lane.Name) {
				lane.Waiting, lane.Scheduled, lane.Oldest = l.Waiting-l.Later, l.Later, l.Overdue
			}
		case engine.Deliver:
			lane.Circuit, lane.Limit = a.publisher.deliveries.Circuit(l.Lane.Name)
		case engine.Handle:
			lane.Unhandled = !a.subscriber.isHandled(roll, l.Lane.Name)
		}
		s.Lanes[i] = lane
		s.Waiting += lane.Waiting
		s.Scheduled += lane.Scheduled
		s.InFlight += lane.InFlight
		s.Retrying += lane.Retrying
		s.Dead += lane.Dead
		s.Oldest = max(s.Oldest, lane.Oldest)
	}
	return s, nil
}

// shownLane is the name of a lane as it may be shown.
func shownLane(l engine.Lane) string {
	if l.Kind != engine.Deliver {
		return l.Name
	}
	return wire.RedactURL(l.Name)
}

// Health says whether an app does what it should.
type Health struct {
	// OK means that the app runs, its store answers, and its workers make
	// progress.
	OK bool
	// Running says whether Run is under way.
	Running bool
	// Store is why the store does not answer, nil if it does.
	Store error
	// Stalled names the kinds of work that this process has not been able to
	// look for in the store for 15 seconds.
	Stalled []string
	// Hung names the subscriptions with a handler that has not returned ten
	// seconds after its timeout. It occupies one of MaxHandlers, and of the
	// subscription's Concurrency, until it returns.
	Hung []string
}

// String is one line that says what is wrong, or "ok".
func (h Health) String() string {
	var wrong []string
	if !h.Running {
		wrong = append(wrong, "not running")
	}
	if h.Store != nil {
		wrong = append(wrong, "the store does not answer: "+h.Store.Error())
	}
	if len(h.Stalled) > 0 {
		wrong = append(wrong, "stalled: "+strings.Join(h.Stalled, ", "))
	}
	if len(h.Hung) > 0 {
		wrong = append(wrong, "handlers that don't return: "+strings.Join(h.Hung, ", "))
	}
	if len(wrong) == 0 {
		return "ok"
	}
	return strings.Join(wrong, "; ")
}

// Health pings the store and checks the workers. It is quick, so that a readiness
// probe can use it.
func (a *App) Health(ctx context.Context) Health {
	if err := a.calls.enter(); err != nil {
		return Health{Store: err}
	}
	defer a.calls.leave()
	var h Health
	h.Running = a.isRunning()
	h.Store = a.engine.Ping(ctx)
	if h.Running {
		for _, kind := range a.lanes.Stalled() {
			h.Stalled = append(h.Stalled, kind.String())
		}
		h.Hung = a.subscriber.handlers.Overdue()
	}
	h.OK = h.Running && h.Store == nil && len(h.Stalled)+len(h.Hung) == 0
	return h
}
