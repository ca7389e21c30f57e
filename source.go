package toot

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/internal/outbound"
	"github.com/watermarkchurch/toot-go/internal/wire"
	"github.com/watermarkchurch/toot-go/signing"
)

// Source is an app whose events this app subscribes to.
type Source struct {
	// SubscriptionURL is the full URL at which the publisher serves its
	// SubscriptionsService.
	SubscriptionURL string
	// ChannelPrefix is the publisher's ChannelPrefix, with the dot at its end.
	ChannelPrefix string
	// Client makes the requests that register with this source, for one that
	// wants credentials of its own. Default: a client as Options.Client and
	// Options.WrapTransport say. A user name and password in SubscriptionURL are
	// sent in either case.
	Client *http.Client
	// SigningSecrets, as signing.NewSecret returns them, make the publisher sign
	// what it sends, and HandlerService refuse events on this source's
	// channels that are not signed. RegisterSubscriptions hands over the first;
	// signatures made with any of them are accepted. To change the secret, put a
	// new one first, register, and remove the old one a day later. Default: none,
	// and nothing is checked.
	SigningSecrets []string

	verifier *signing.Verifier
	keys     []signing.Key // of SigningSecrets
}

// Subscription binds a handler to a channel of a source.
type Subscription struct {
	// Source is the name of a source defined with App.AddSource.
	Source string
	// Channel is the channel's name without the source's prefix.
	Channel string
	// Handler is run for each event.
	Handler Handler

	// Name is the name under which waiting events are kept. It must be unique in
	// the app and stay the same over deploys. Default: the channel's full name,
	// with "#2", "#3" … for further subscriptions to the same channel, in the order
	// in which they are added; set it where that order may change.
	Name string
	// Concurrency bounds how many events each process handles at once for
	// this subscription. With 1 and one process, events are begun in the
	// order of their arrival while none fails. Default 16.
	Concurrency int
	// Timeout bounds one run of the handler by its context. Default
	// Options.HandlerTimeout; negative means no bound.
	Timeout time.Duration

	channel    string // full name
	trouble    *trouble
	overstayed error // the cause with which a run's context ends after Timeout
	verifier   *signing.Verifier
}

// AddSource defines a source. Defining a name again replaces the source for
// subscriptions that are added from then on.
func (a *App) AddSource(name string, src Source) error {
	if name == "" {
		return fmt.Errorf("toot: a source needs a name")
	}
	if err := wire.CheckHTTPURL(src.SubscriptionURL); err != nil {
		return wrapf(err, "source %q: SubscriptionURL", name)
	}
	if len(src.SigningSecrets) > 0 {
		var err error
		if src.verifier, err = signing.NewVerifier(src.SigningSecrets...); err != nil {
			return wrapf(err, "source %q: SigningSecrets", name)
		}
		if src.keys, err = signing.ParseSecrets(src.SigningSecrets); err != nil {
			return wrapf(err, "source %q: SigningSecrets", name)
		}
		src.SigningSecrets = slices.Clone(src.SigningSecrets)
	}
	if src.Client != nil {
		src.Client = outbound.Ruled(*src.Client, a.opts.RequestTimeout)
	} else {
		src.Client = a.subscriber.client.HTTP()
	}
	return a.subscriber.addSource(name, src)
}

func (s *subscriber) addSource(name string, src Source) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls.isClosed() {
		return ErrClosed
	}
	s.sources[name] = src
	return nil
}

// Subscribe runs handler for each event on a channel of a source. The channel
// is named without the source's prefix. Several subscriptions to one channel
// are independent of each other.
//
// This declares what the app handles; RegisterSubscriptions tells the
// publishers.
func (a *App) Subscribe(source, channel string, handler Handler) error {
	return a.AddSubscription(Subscription{Source: source, Channel: channel, Handler: handler})
}

// AddSubscription is like Subscribe, with control over the subscription's name and
// limits. The Subscription is copied.
func (a *App) AddSubscription(s Subscription) error { return a.subscriber.add(s) }

func (s *subscriber) add(sub Subscription) error {
	name, err := s.enter(sub)
	if err != nil {
		return err
	}
	s.announcements.changed()
	s.handlers.SetTerms(name, s.handlerTerms(name)) // should events have been taken in for others
	s.handlers.Wake()
	return nil
}

// enter adds a subscription to those of this process, and returns its name.
func (s *subscriber) enter(sub Subscription) (name string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.calls.isClosed() {
		return "", ErrClosed
	}
	src, ok := s.sources[sub.Source]
	if !ok {
		return "", fmt.Errorf("%w %q: define it with AddSource before subscribing to %q", ErrUnknownSource, sub.Source, sub.Channel)
	}
	if sub.Handler == nil {
		return "", fmt.Errorf("toot: subscription to %q of source %q has no handler", sub.Channel, sub.Source)
	}
	sub.channel = src.ChannelPrefix + sub.Channel
	sub.verifier, sub.trouble = src.verifier, &trouble{}
	if err := checkChannel(sub.channel); err != nil {
		return "", wrapf(err, "subscription to source %q", sub.Source)
	}
	if sub.Name == "" {
		sub.Name = sub.channel
		if n := len(s.handling[sub.channel]); n > 0 {
			sub.Name = fmt.Sprintf("%s#%d", sub.channel, n+1)
		}
	}
	if s.byName[sub.Name] != nil {
		return "", fmt.Errorf("toot: two subscriptions are named %q; give each its own Name", sub.Name)
	}
	setDefault(&sub.Concurrency, 16)
	if sub.Timeout == 0 {
		sub.Timeout = s.opts.HandlerTimeout
	}
	sub.overstayed = fmt.Errorf("toot: handler ran longer than its timeout of %v: %w", sub.Timeout, context.DeadlineExceeded)
	// Readers hold what they got without the lock, so slices are never
	// changed in place.
	s.handling[sub.channel] = append(slices.Clone(s.handling[sub.channel]), &sub)
	s.byName[sub.Name] = &sub
	return sub.Name, nil
}

// subscriptionsTo returns the subscriptions to a channel's full name.
func (s *subscriber) subscriptionsTo(channel string) []*Subscription {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.handling[channel]
}

func (s *subscriber) subscription(name string) *Subscription {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.byName[name]
}

func (s *subscriber) subscriptionNames() []string {
	s.mu.RLock()
	defer s.mu.RUnlock()
	names := make([]string, 0, len(s.byName))
	for name := range s.byName {
		names = append(names, name)
	}
	return names
}
