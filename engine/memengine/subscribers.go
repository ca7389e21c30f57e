package memengine

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// registration is that of a callback URL on a channel.
type registration struct {
	at    time.Time // of the last AddSubscriber
	until time.Time // zero if it has no end
}

func (r registration) ended(now time.Time) bool { return !r.until.IsZero() && !now.Before(r.until) }

// subscribers returns the registrations of a channel that have not ended, by
// callback URL. The store is locked.
func (s *Store) subscribers(channel string, now time.Time) map[string]registration {
	maps.DeleteFunc(s.channels[channel], func(_ string, r registration) bool { return r.ended(now) })
	if len(s.channels[channel]) == 0 {
		delete(s.channels, channel)
	}
	return s.channels[channel]
}

// AddSubscriber implements engine.Engine.
func (e *Engine) AddSubscriber(ctx context.Context, channel, callbackURL string, lease time.Duration) (bool, error) {
	end, err := e.begin(ctx, engine.ValidateSubscriber(channel, callbackURL))
	if err != nil {
		return false, err
	}
	defer end()
	now := time.Now()
	urls := e.s.channels[channel]
	if urls == nil {
		urls = map[string]registration{}
		e.s.channels[channel] = urls
	}
	before, there := urls[callbackURL]
	there = there && !before.ended(now)
	r := registration{at: now}
	if lease > 0 {
		r.until = now.Add(lease)
	}
	urls[callbackURL] = r
	return !there, nil
}

// RemoveSubscriber implements engine.Engine.
func (e *Engine) RemoveSubscriber(ctx context.Context, channel, callbackURL string, olderThan time.Duration) (bool, error) {
	end, err := e.begin(ctx, engine.ValidateChannel(channel))
	if err != nil {
		return false, err
	}
	defer end()
	now := time.Now()
	r, there := e.s.subscribers(channel, now)[callbackURL]
	if !there || olderThan > 0 && now.Sub(r.at) < olderThan {
		return false, nil
	}
	delete(e.s.channels[channel], callbackURL)
	return true, nil
}

// Subscribers implements engine.Engine.
func (e *Engine) Subscribers(ctx context.Context, channel string) ([]string, error) {
	end, err := e.begin(ctx, engine.ValidateChannel(channel))
	if err != nil {
		return nil, err
	}
	defer end()
	return slices.Sorted(maps.Keys(e.s.subscribers(channel, time.Now()))), nil
}

// Channels implements engine.Engine.
func (e *Engine) Channels(ctx context.Context, prefix string) (map[string][]string, error) {
	end, err := e.begin(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer end()
	now := time.Now()
	all := map[string][]string{}
	for channel := range e.s.channels {
		if urls := e.s.subscribers(channel, now); len(urls) > 0 && strings.HasPrefix(channel, prefix) {
			all[channel] = slices.Sorted(maps.Keys(urls))
		}
	}
	return all, nil
}
