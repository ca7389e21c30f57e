package registry

import (
	"context"
	"slices"
)

// Add registers a callback URL on a channel, for Config.Lease, and reports
// whether it was new there.
func (r *Registry) Add(ctx context.Context, channel, callbackURL string) (added bool, err error) {
	if r.Lease > 0 {
		if err := r.grantLease(ctx, channel, callbackURL); err != nil {
			return false, err
		}
	}
	return r.Engine.AddSubscriber(ctx, channel, callbackURL)
}

// Remove takes a callback URL off a channel, with what is kept beside it, and
// reports whether it was there.
func (r *Registry) Remove(ctx context.Context, channel, callbackURL string) (removed bool, err error) {
	removed, err = r.Engine.RemoveSubscriber(ctx, channel, callbackURL)
	if err != nil {
		return false, err
	}
	if r.Lease > 0 {
		r.forget(ctx, leaseGroup+channel, callbackURL)
	}
	r.withdrawConsent(ctx, channel, callbackURL)
	return removed, nil
}

// Audience returns the callback URLs that get a channel's events now. The
// caller must not change the slice.
func (r *Registry) Audience(ctx context.Context, channel string) ([]string, error) {
	urls, err := r.Engine.Subscribers(ctx, channel)
	if err != nil {
		return nil, err
	}
	return r.live(ctx, channel, urls)
}

// List returns the channels with a prefix that have subscribers, each with its
// callback URLs in ascending order.
func (r *Registry) List(ctx context.Context, prefix string) (map[string][]string, error) {
	channels, err := r.Engine.Channels(ctx, prefix)
	if err != nil {
		return nil, err
	}
	for channel, urls := range channels {
		if urls, err = r.live(ctx, channel, urls); err != nil {
			return nil, err
		}
		if channels[channel] = urls; len(urls) == 0 {
			delete(channels, channel)
		}
	}
	return channels, nil
}

// IsFull reports that a channel has as many subscribers as it may have, and
// that a callback URL is none of them.
func (r *Registry) IsFull(ctx context.Context, channel, callbackURL string, limit int) (bool, error) {
	urls, err := r.Engine.Subscribers(ctx, channel)
	return len(urls) >= limit && !slices.Contains(urls, callbackURL), err
}
