package toot

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/registry"
)

// announceRetry is how soon an announcement that failed is tried again.
const announceRetry = time.Second

// announcements say when this process is to tell the others, through the
// store, what it subscribes to: before it registers, with its first request,
// and from time to time for as long as it runs.
type announcements struct {
	last  atomic.Pointer[announcement]
	turn  chan struct{} // holds a value while one is under way
	added chan struct{} // holds a value if there is something new to announce
}

// announcement is what came of the last one.
type announcement struct {
	made  bool      // the subscriptions that there are now have been announced
	err   error     // of the last try to announce or renew them
	again time.Time // when to renew them, or to try again
	known time.Time // when all processes know of them
}

func (a *announcements) init() {
	a.turn, a.added = make(chan struct{}, 1), make(chan struct{}, 1)
	a.last.Store(&announcement{})
}

// changed makes the subscriptions be announced that have been added.
func (a *announcements) changed() {
	a.last.Store(&announcement{})
	select {
	case a.added <- struct{}{}:
	default:
	}
}

// announce announces this process's subscriptions, if that is due. It returns
// an error only as long as they have never been.
func (s *subscriber) announce(ctx context.Context) error {
	a := &s.announcements
	last := a.last.Load()
	if time.Now().Before(last.again) {
		return last.failure()
	}
	if last.made {
		select {
		case a.turn <- struct{}{}:
		default:
			return nil // somebody else renews it
		}
	} else {
		select {
		case a.turn <- struct{}{}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	defer func() { <-a.turn }()
	if last = a.last.Load(); time.Now().Before(last.again) {
		return last.failure() // somebody else has tried it meanwhile
	}
	next := announcement{made: true, again: time.Now().Add(registry.RenewEvery(s.opts.RetireSubscriptionsAfter))}
	known, err := s.announceNow(ctx)
	next.known = known
	if err != nil {
		next = announcement{made: last.made, err: err, again: time.Now().Add(announceRetry)}
		if ctx.Err() == nil && last.err == nil {
			s.log.Warn("toot: can't tell the app's other processes about this process's subscriptions; will try again", "error", err)
		}
	}
	a.last.CompareAndSwap(last, &next) // unless some have been added
	return next.failure()
}

// failure is why the subscriptions have never been announced, if so.
func (a *announcement) failure() error {
	if a.made || a.err == nil {
		return nil
	}
	return wrapf(a.err, "tell the app's other processes about the subscriptions")
}

// awaitKnown waits until all processes know of what was announced.
func (s *subscriber) awaitKnown(ctx context.Context) error {
	timer := time.NewTimer(time.Until(s.announcements.last.Load().known))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *subscriber) announceNow(ctx context.Context) (known time.Time, err error) {
	own := s.announced()
	if len(own) == 0 || !s.roster.IsShared() {
		return known, nil
	}
	ctx, cancel := context.WithTimeout(ctx, rosterTimeout)
	defer cancel()
	retired, known, err := s.roster.Announce(ctx, own, s.opts.RetireSubscriptionsAfter)
	if len(retired) > 0 {
		s.warnOfRetired(ctx, retired)
	}
	return known, err
}

// announced returns this process's subscriptions as others are told of them.
func (s *subscriber) announced() []registry.Subscription {
	s.mu.RLock()
	defer s.mu.RUnlock()
	own := make([]registry.Subscription, 0, len(s.byName))
	for _, sub := range s.byName {
		own = append(own, registry.Subscription{Name: sub.Name, Channel: sub.channel, Source: sub.Source, Signed: sub.verifier != nil})
	}
	return own
}

// keepAnnounced announces this process's subscriptions, and those that are
// added, until ctx ends.
func (s *subscriber) keepAnnounced(ctx context.Context) {
	for {
		_ = s.announce(ctx) // the log tells
		timer := time.NewTimer(time.Until(s.announcements.last.Load().again))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-s.announcements.added:
		case <-timer.C:
		}
		timer.Stop()
	}
}

// warnOfRetired says what waits for subscriptions that are retired.
func (s *subscriber) warnOfRetired(ctx context.Context, retired []registry.Subscription) {
	waiting, err := s.waiting(ctx)
	for _, sub := range retired {
		attributes := []any{"subscription", sub.Name, "channel", sub.Channel, "after", s.opts.RetireSubscriptionsAfter}
		if err == nil {
			attributes = append(attributes, "waiting", waiting[sub.Name])
		}
		s.log.Warn("toot: a subscription was retired, as no process has had it for RetireSubscriptionsAfter: no more events are taken in for it; those that wait stay until they are moved or discarded", attributes...)
	}
}

// waiting returns how many events wait for each subscription.
func (s *subscriber) waiting(ctx context.Context) (map[string]int, error) {
	inspector, ok := s.engine.(engine.Inspector)
	if !ok {
		return nil, ErrUnsupported
	}
	lanes, err := inspector.Lanes(ctx)
	if err != nil {
		return nil, err
	}
	waiting := map[string]int{}
	for _, l := range lanes {
		if l.Lane.Kind == engine.Handle {
			waiting[l.Lane.Name] = l.Waiting + l.Leased
		}
	}
	return waiting, nil
}
