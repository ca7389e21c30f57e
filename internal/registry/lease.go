package registry

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

// leaseGroup and a channel are the group of attributes that say when the
// registrations of its callback URLs end, in seconds since 1970 by the
// publisher's clock. One that is not there has no end.
const leaseGroup = "lease:"

// grantLease makes a registration last from now on.
func (r *Registry) grantLease(ctx context.Context, channel, callbackURL string) error {
	return r.change(ctx, leaseGroup+channel, callbackURL, func([]byte) ([]byte, error) {
		return strconv.AppendInt(nil, time.Now().Add(r.Lease).Unix(), 10), nil
	})
}

// live returns those of a channel's subscribers whose registration has not
// ended, and takes the others off.
func (r *Registry) live(ctx context.Context, channel string, urls []string) ([]string, error) {
	if r.Lease <= 0 || len(urls) == 0 {
		return urls, nil
	}
	leases, err := r.attributes.Attributes(ctx, leaseGroup+channel)
	if err != nil {
		return nil, fmt.Errorf("toot: leases of registrations: %w", err)
	}
	now := time.Now().Unix()
	var expired []string
	for _, u := range urls {
		if until, err := strconv.ParseInt(string(leases[u]), 10, 64); err == nil && until <= now {
			expired = append(expired, u)
		}
	}
	if len(expired) == 0 {
		return urls, nil
	}
	urls = slices.DeleteFunc(slices.Clone(urls), func(u string) bool {
		return slices.Contains(expired, u) && r.expire(ctx, channel, u, leases[u])
	})
	return urls, nil
}

// expire takes a subscriber off whose registration has ended, unless it is
// renewed at this very moment, and reports whether it is gone.
func (r *Registry) expire(ctx context.Context, channel, callbackURL string, lease []byte) bool {
	swapped, err := r.attributes.SwapAttribute(ctx, leaseGroup+channel, callbackURL, lease, nil)
	if err == nil && !swapped {
		return false
	}
	if err == nil {
		_, err = r.Engine.RemoveSubscriber(ctx, channel, callbackURL)
	}
	if err == nil {
		var leases map[string][]byte
		if leases, err = r.attributes.Attributes(ctx, leaseGroup+channel); err == nil && leases[callbackURL] != nil {
			// It was renewed between the two.
			_, err = r.Engine.AddSubscriber(ctx, channel, callbackURL)
			return err != nil
		}
		r.withdrawConsent(ctx, channel, callbackURL)
	}
	if err != nil {
		r.Log.Warn("toot: can't remove a subscriber whose registration has ended; will try again", "channel", channel, "callback_url", wire.RedactURL(callbackURL), "error", err)
		return true
	}
	r.Log.Info("toot: subscriber removed: its registration has ended", "channel", channel, "callback_url", wire.RedactURL(callbackURL))
	return true
}
