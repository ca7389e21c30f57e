package toot

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"time"
)

// Source is an app whose events this app subscribes to.
type Source struct {
	// SubscriptionURL is where the publisher has mounted its
	// SubscriptionsService.
	SubscriptionURL string
	// ChannelPrefix is the publisher's ChannelPrefix.
	ChannelPrefix string
	// Client registers at this source, for one that wants credentials of its
	// own. Default: as Options.Client and Options.WrapTransport say. A user
	// name and password in SubscriptionURL are sent by any.
	Client *http.Client
	// SigningSecrets, as NewSigningSecret returns them, make the publisher sign
	// what it sends, and HandlerService refuse events on this source's
	// channels that are not signed. RegisterSubscriptions hands over the first;
	// all are taken. To change it, put a new one before it, register, and
	// remove the old one a day later. Default: none, and nothing is checked.
	SigningSecrets []string

	signatures *Signatures
}

// Subscription binds a handler to a channel of a source.
type Subscription struct {
	// Source is the name of a source defined with App.Source.
	Source string
	// Channel is the channel's name without the source's prefix.
	Channel string
	// Handler is run for each event.
	Handler Handler

	// Name is what waiting jobs are kept under. It must be unique in the app
	// and stay the same over deploys. Default: the channel's full name, with
	// "#2", "#3" … for further subscriptions to the same channel in the order
	// in which they were made; give names where that order may change.
	Name string
	// Concurrency bounds how many events each process handles at once for
	// this subscription. With 1 and one process, events are begun in the
	// order of their arrival while none fails. Default 16.
	Concurrency int
	// Timeout bounds one run of the handler by its context. Default
	// Options.HandlerTimeout; negative means no bound.
	Timeout time.Duration

	channel    string // full name
	overstayed error  // the cause with which a run's context ends after Timeout
	signatures *Signatures
}

// Source defines a source. Defining a name again replaces it for
// subscriptions made from then on.
func (a *App) Source(name string, src Source) error {
	if name == "" {
		return fmt.Errorf("toot: a source needs a name")
	}
	if err := checkHTTPURL(src.SubscriptionURL); err != nil {
		return fmt.Errorf("toot: source %q: SubscriptionURL: %w", name, err)
	}
	if len(src.SigningSecrets) > 0 {
		var err error
		if src.signatures, err = NewSignatures(src.SigningSecrets...); err != nil {
			return fmt.Errorf("toot: source %q: SigningSecrets: %w", name, err)
		}
		src.SigningSecrets = slices.Clone(src.SigningSecrets)
	}
	if src.Client != nil {
		src.Client = a.ruled(*src.Client)
	} else {
		src.Client = a.sourceClient
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return ErrClosed
	}
	a.sources[name] = src
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

// AddSubscription is Subscribe with a say in the subscription's name and
// limits. The Subscription is copied.
func (a *App) AddSubscription(s Subscription) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.closed {
		return ErrClosed
	}
	src, ok := a.sources[s.Source]
	if !ok {
		return fmt.Errorf("%w %q: define it with Source before subscribing to %q", ErrUnknownSource, s.Source, s.Channel)
	}
	if s.Handler == nil {
		return fmt.Errorf("toot: subscription to %q of source %q has no handler", s.Channel, s.Source)
	}
	s.channel = src.ChannelPrefix + s.Channel
	s.signatures = src.signatures
	if err := checkChannel(s.channel); err != nil {
		return fmt.Errorf("toot: subscription to source %q: %w", s.Source, err)
	}
	if s.Name == "" {
		s.Name = s.channel
		if n := len(a.handling[s.channel]); n > 0 {
			s.Name = fmt.Sprintf("%s#%d", s.channel, n+1)
		}
	}
	if a.byName[s.Name] != nil {
		return fmt.Errorf("toot: two subscriptions are named %q; give each its own Name", s.Name)
	}
	setDefault(&s.Concurrency, 16)
	if s.Timeout == 0 {
		s.Timeout = a.opts.HandlerTimeout
	}
	s.overstayed = fmt.Errorf("toot: handler ran longer than its timeout of %v: %w", s.Timeout, context.DeadlineExceeded)
	// Readers hold what they got without the lock, so slices are never
	// changed in place.
	a.handling[s.channel] = append(slices.Clone(a.handling[s.channel]), &s)
	a.byName[s.Name] = &s
	a.handlers.wake()
	return nil
}

// subscriptionsTo returns the subscriptions to a channel's full name.
func (a *App) subscriptionsTo(channel string) []*Subscription {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.handling[channel]
}

func (a *App) subscription(name string) *Subscription {
	a.mu.RLock()
	defer a.mu.RUnlock()
	return a.byName[name]
}

func (a *App) subscriptionNames() []string {
	a.mu.RLock()
	defer a.mu.RUnlock()
	names := make([]string, 0, len(a.byName))
	for name := range a.byName {
		names = append(names, name)
	}
	return names
}
