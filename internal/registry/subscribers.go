package registry

import (
	"context"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// Add registers a callback URL on a channel, for Config.Lease, and reports
// whether it was new there. If it was, it belongs to owner, or to nobody.
func (r *Registry) Add(ctx context.Context, channel, callbackURL, owner string) (added bool, err error) {
	defer r.audiences.forget(channel)
	added, err = r.Engine.AddSubscriber(ctx, channel, callbackURL, r.Lease)
	if err == nil {
		r.own(ctx, channel, callbackURL, owner, added)
		if added {
			r.keepWaiting(ctx, channel, callbackURL)
		}
	}
	return added, err
}

// Remove takes a callback URL off a channel, with what is kept beside it, and
// reports whether it was there. If olderThan is more than zero, a registration
// that is younger than that stays, by the store's clock.
func (r *Registry) Remove(ctx context.Context, channel, callbackURL string, olderThan time.Duration) (removed bool, err error) {
	defer r.audiences.forget(channel)
	removed, err = r.Engine.RemoveSubscriber(ctx, channel, callbackURL, olderThan)
	if removed && err == nil {
		r.withdrawConsent(ctx, channel, callbackURL)
		r.disown(ctx, channel, callbackURL)
		r.dropSecret(ctx, channel, callbackURL)
	}
	return removed, err
}

// Audience returns who gets a channel's events, as Subscribers does, if there are
// at most most of them.
func (r *Registry) Audience(ctx context.Context, channel string, most int) engine.Audience {
	urls, err := r.Subscribers(ctx, channel)
	a := engine.Audience{CallbackURLs: urls, Count: len(urls), Err: err}
	if len(urls) > most {
		a = engine.Audience{More: true, Count: len(urls)}
	}
	r.audiences.note(channel, a)
	return a
}

// Known returns who got a channel's events a few seconds ago at the most, and
// whether that is known. It may have changed since.
func (r *Registry) Known(channel string) (a engine.Audience, ok bool) {
	return r.audiences.get(channel)
}

// Note remembers what the store has just said of a channel. It returns the
// callback URLs that were missing in what was known before, and how many there
// are now. Members that are no URLs are left out.
func (r *Registry) Note(channel string, known, now engine.Audience) (missing []string, count int) {
	var none []string
	for _, u := range now.CallbackURLs {
		switch {
		case slices.Contains(known.CallbackURLs, u):
		case wire.CheckHTTPURL(wire.RequestURL(u)) != nil:
			none = append(none, u)
		default:
			missing = append(missing, u)
		}
	}
	if !now.More {
		now.CallbackURLs = r.leaveOut(channel, now.CallbackURLs, none)
		now.Count = len(now.CallbackURLs)
	}
	r.audiences.note(channel, now)
	return missing, now.Count
}

// List returns the channels with a prefix that have subscribers, each with its
// callback URLs in ascending order, members that are no URLs included.
func (r *Registry) List(ctx context.Context, prefix string) (map[string][]string, error) {
	return r.Engine.Channels(ctx, prefix)
}

// Subscribers returns all callback URLs of a channel, as of a moment after the
// call began, without members that are no URLs. The caller must not change the
// slice.
func (r *Registry) Subscribers(ctx context.Context, channel string) ([]string, error) {
	urls, err := r.Engine.Subscribers(ctx, channel)
	return r.leaveOut(channel, urls, thatAreNone(urls)), err
}

// IsFull reports that a channel has as many subscribers as it may have, and
// that a callback URL is none of them.
func (r *Registry) IsFull(ctx context.Context, channel, callbackURL string, limit int) (bool, error) {
	urls, err := r.Engine.Subscribers(ctx, channel)
	return len(urls) >= limit && !slices.Contains(urls, callbackURL), err
}
