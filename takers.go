package toot

import (
	"context"

	"github.com/watermarkchurch/toot-go/internal/registry"
	"github.com/watermarkchurch/toot-go/signing"
)

// takers are the subscriptions that an event is taken in for: this process's
// own, and those that other processes of the app have, which handle it then.
type takers struct {
	own    []*Subscription
	others []string // names
	// verifiers are those of the sources of the others whose events must be
	// signed. unverifiable says that one of these sources, or its secrets, is
	// not known here.
	verifiers    []*signing.Verifier
	unverifiable bool
}

func (t *takers) none() bool { return len(t.own)+len(t.others) == 0 }

// lookup finds the takers of the events of one request, which share what is
// read for it.
type lookup struct {
	s     *subscriber
	roll  *registry.Roll
	fresh bool  // it was read after the request came
	err   error // why it can't be

	channel string // of which the takers were asked for last
	found   takers // of its events
}

// takers returns those of a channel's events. What this process knows of the
// others' subscriptions may be a few seconds old; that there are none is only
// said after a look into the store, and is not known if that fails.
func (l *lookup) takers(ctx context.Context, channel string) (takers, error) {
	if l.roll == nil {
		l.roll = l.s.roster.Lately(ctx)
	}
	if channel == l.channel && !l.found.none() {
		return l.found, nil
	}
	t := l.s.takersBy(l.roll, channel)
	if !t.none() || l.fresh {
		l.channel, l.found = channel, t
		return t, nil
	}
	if err := l.refresh(ctx); err != nil {
		return t, err
	}
	return l.s.takersBy(l.roll, channel), nil
}

// any says whether there are subscriptions at all.
func (l *lookup) any(ctx context.Context) (bool, error) {
	if len(l.s.subscriptionNames()) > 0 {
		return true, nil
	}
	err := l.refresh(ctx)
	return err == nil && !l.roll.IsEmpty(), err
}

func (l *lookup) refresh(ctx context.Context) error {
	if l.fresh || l.err != nil {
		return l.err
	}
	roll, err := l.s.roster.Now(ctx)
	if err != nil {
		l.err = err
		return err
	}
	l.roll, l.fresh = roll, true
	return nil
}

func (s *subscriber) takersBy(roll *registry.Roll, channel string) takers {
	t := takers{own: s.subscriptionsTo(channel)}
	for _, listed := range roll.On(channel) {
		mine := named(t.own, listed.Name)
		if mine == nil {
			t.others = append(t.others, listed.Name)
		}
		// A subscription of this process is checked as this process says. If it
		// says nothing, the word of a newer release counts, for as long as a
		// process that has it runs.
		if listed.Signed && (mine == nil || mine.verifier == nil && listed.Running) {
			if v := s.verifierOf(listed.Source); v != nil {
				t.verifiers = append(t.verifiers, v)
			} else {
				t.unverifiable = true
			}
		}
	}
	return t
}

func named(subscriptions []*Subscription, name string) *Subscription {
	for _, sub := range subscriptions {
		if sub.Name == name {
			return sub
		}
	}
	return nil
}

// verifierOf returns what checks the signatures of a source, nil if there is
// no such source here, or it has no secrets.
func (s *subscriber) verifierOf(source string) *signing.Verifier {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.sources[source].verifier
}
