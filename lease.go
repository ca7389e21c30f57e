package toot

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Registrations that end unless they are renewed, where a publisher wants it.
const (
	// leaseGroup and a channel are the group of attributes that say when the
	// registrations of its callback URLs end, in seconds since 1970 by the
	// publisher's clock. One that is not there has no end.
	leaseGroup = "lease:"
	// leaseHeader tells a subscriber for how many seconds it is registered.
	leaseHeader = "X-Toot-Lease"
	// renewRetry is how soon a renewal that failed is tried again.
	renewRetry = time.Minute
)

// grantLease makes a registration last from now on.
func (a *App) grantLease(ctx context.Context, channel, callbackURL string) error {
	store := a.signers.store
	for range maxSwaps {
		all, err := store.Attributes(ctx, leaseGroup+channel)
		if err != nil {
			return err
		}
		until := strconv.AppendInt(nil, time.Now().Add(a.opts.RegistrationLease).Unix(), 10)
		swapped, err := store.SwapAttribute(ctx, leaseGroup+channel, callbackURL, all[callbackURL].Value, until, 0)
		if swapped || err != nil {
			return err
		}
	}
	return errors.New("others keep changing it")
}

// live returns those of a channel's subscribers whose registration has not
// ended, and takes the others off.
func (a *App) live(ctx context.Context, channel string, urls []string) ([]string, error) {
	if a.opts.RegistrationLease <= 0 || len(urls) == 0 {
		return urls, nil
	}
	leases, err := a.signers.store.Attributes(ctx, leaseGroup+channel)
	if err != nil {
		return nil, fmt.Errorf("toot: leases of registrations: %w", err)
	}
	now := time.Now().Unix()
	var expired []string
	for _, u := range urls {
		if until, err := strconv.ParseInt(string(leases[u].Value), 10, 64); err == nil && until <= now {
			expired = append(expired, u)
		}
	}
	if len(expired) == 0 {
		return urls, nil
	}
	urls = slices.DeleteFunc(slices.Clone(urls), func(u string) bool {
		return slices.Contains(expired, u) && a.expire(ctx, channel, u, leases[u].Value)
	})
	return urls, nil
}

// expire takes a subscriber off whose registration has ended, unless it is
// renewed at this very moment, and reports whether it is gone.
func (a *App) expire(ctx context.Context, channel, callbackURL string, lease []byte) bool {
	store := a.signers.store
	swapped, err := store.SwapAttribute(ctx, leaseGroup+channel, callbackURL, lease, nil, 0)
	if err == nil && !swapped {
		return false
	}
	if err == nil {
		_, err = a.engine.RemoveSubscriber(ctx, channel, callbackURL, 0)
	}
	if err == nil {
		var leases map[string]engine.Attribute
		if leases, err = store.Attributes(ctx, leaseGroup+channel); err == nil && leases[callbackURL].Value != nil {
			// It was renewed between the two.
			_, err = a.engine.AddSubscriber(ctx, channel, callbackURL, 0)
			return err != nil
		}
		a.withdrawConsent(ctx, channel, callbackURL)
	}
	if err != nil {
		a.log.Warn("toot: can't remove a subscriber whose registration has ended; will try again", "channel", channel, "callback_url", redactURL(callbackURL), "error", err)
		return true
	}
	a.log.Info("toot: subscriber removed: its registration has ended", "channel", channel, "callback_url", redactURL(callbackURL))
	return true
}

// dropLease forgets when the registration of a callback URL ends that is no
// subscriber any more.
func (a *App) dropLease(ctx context.Context, channel, callbackURL string) {
	if a.opts.RegistrationLease > 0 {
		a.dropAttribute(ctx, leaseGroup+channel, callbackURL)
	}
}

// leaseOf reads for how long an answer says that we are registered; 0 for ever.
func leaseOf(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get(leaseHeader), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second //nolint:gosec // 31 bits
}

// renewals says when to register again.
type renewals struct {
	mu    sync.Mutex
	due   time.Time     // zero: not at all
	noted chan struct{} // holds a value if due was changed
}

// note sets when to register again: after a third of the shortest lease.
func (r *renewals) note(shortest time.Duration) {
	due := time.Time{}
	if shortest > 0 {
		due = time.Now().Add(max(shortest/3, time.Second))
	}
	r.set(due)
}

func (r *renewals) set(due time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.due = due
	select {
	case r.noted <- struct{}{}:
	default:
	}
}

func (r *renewals) next() time.Time {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.due
}

// renew registers again whenever it is time, until ctx ends.
func (a *App) renew(ctx context.Context) {
	if a.opts.RegisterOnRun {
		a.renewals.set(time.Now())
	}
	for {
		var due <-chan time.Time
		var timer *time.Timer
		if next := a.renewals.next(); !next.IsZero() {
			timer = time.NewTimer(time.Until(next))
			due = timer.C
		}
		select {
		case <-ctx.Done():
		case <-a.renewals.noted:
		case <-due:
			if err := a.RegisterSubscriptions(ctx); err != nil && ctx.Err() == nil {
				a.log.Warn("toot: can't register all subscriptions; will try again", "error", err)
				now := time.Now()
				if next := a.renewals.next(); !next.After(now) || next.After(now.Add(renewRetry)) {
					a.renewals.set(now.Add(renewRetry))
				}
			}
		}
		if timer != nil {
			timer.Stop()
		}
		if ctx.Err() != nil {
			return
		}
	}
}
