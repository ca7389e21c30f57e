package toot

import (
	"sync"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/coalesce"
	"github.com/watermarkchurch/toot-go/internal/lanes"
	"github.com/watermarkchurch/toot-go/internal/outbound"
	"github.com/watermarkchurch/toot-go/internal/registry"
)

// subscriber is the half of an App that registers with its sources, takes
// their events in and has them handled.
type subscriber struct {
	*core
	client    *outbound.Client // for sources without one of their own
	callbacks *coalesce.Batcher[*arrival]
	handlers  *lanes.Pool
	roster    *registry.Roster
	renewals  renewals
	backlog   backlog

	announcements announcements
	uncheckable   rarely // what is logged of events that can't be checked here

	mu       sync.RWMutex // guards what follows
	sources  map[string]Source
	handling map[string][]*Subscription // by channel
	byName   map[string]*Subscription
	use      []Middleware
}

func newSubscriber(c *core, group *lanes.Group) (*subscriber, error) {
	s := &subscriber{core: c, sources: map[string]Source{}, handling: map[string][]*Subscription{}, byName: map[string]*Subscription{}}
	var err error
	s.client, err = outbound.New(outbound.Config{
		Base: c.opts.Client, MaxConns: c.opts.MaxDeliveries, Wrap: c.opts.WrapTransport, Timeout: c.opts.RequestTimeout,
	})
	if err != nil {
		return nil, err
	}
	s.roster = registry.NewRoster(c.engine, rosterTimeout)
	s.announcements.init()
	s.renewals.noted = make(chan struct{}, 1)
	s.callbacks = coalesce.New(lanes.FlushJobs, (*arrival).size, s.flushArrivals)
	s.callbacks.Limit(storeLimits((*arrival).bytes))
	s.handlers = group.Add(lanes.Config{
		Kind: engine.Handle, Lease: c.opts.lease(), Workers: c.opts.MaxHandlers, Terms: s.handlerTerms, Only: s.subscriptionNames,
		EventBytes: c.opts.MaxEventBytes, Try: s.handle, Retry: c.retry.outcome, Ended: s.ended(),
	})
	return s, nil
}

// rosterTimeout bounds how long a request may wait for what other processes
// subscribe to.
const rosterTimeout = storePatience * 2 / 5

// handlerTerms are those of a subscription. One that only other processes have
// is not worked on here: what is taken in for it is left to them, in the store.
func (s *subscriber) handlerTerms(name string) lanes.Terms {
	sub := s.subscription(name)
	if sub == nil {
		return lanes.Terms{AtOnce: 1, Shown: name, Paused: true}
	}
	return lanes.Terms{AtOnce: sub.Concurrency, Limit: max(sub.Timeout, 0), Peer: sub.trouble, Shown: name}
}

func (s *subscriber) close() {
	s.callbacks.Wait()
	s.client.CloseIdle()
}
