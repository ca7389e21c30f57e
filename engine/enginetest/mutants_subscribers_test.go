package enginetest

import (
	"context"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var subscriberMutants = []mutant{
	{
		bug:      "AddSubscriber always reports a new one",
		with:     func(b *broken) { b.twistAdded(true) },
		caughtBy: []string{"Subscribers/added_by_many_at_once_are_new_to_one"},
	},
	{
		bug:      "AddSubscriber never reports a new one",
		with:     func(b *broken) { b.twistAdded(false) },
		caughtBy: []string{"Subscribers/are_added_once"},
	},
	{
		bug: "channels without subscribers are listed",
		with: func(b *broken) {
			remove, channels := b.removeSubscriber, b.channels
			b.removeSubscriber = func(ctx context.Context, channel, url string, olderThan time.Duration) (bool, error) {
				b.s.flag[channel] = true
				return remove(ctx, channel, url, olderThan)
			}
			b.channels = func(ctx context.Context, prefix string) (map[string][]string, error) {
				all, err := channels(ctx, prefix)
				for c := range b.s.flag {
					if all[c.(string)] == nil && err == nil {
						all[c.(string)] = []string{}
					}
				}
				return all, err
			}
		},
		caughtBy: []string{"Subscribers/are_removed_once"},
	},
	{
		bug: "Subscribers answers from memory for ever",
		with: func(b *broken) {
			subscribers := b.subscribers
			known := map[string][]string{}
			b.subscribers = func(ctx context.Context, channel string) (urls []string, err error) {
				urls, ok := known[channel]
				if !ok {
					urls, err = subscribers(ctx, channel)
					known[channel] = urls
				}
				return urls, err
			}
		},
		caughtBy: []string{"Subscribers/changed_by_another_engine_are_seen"},
	},
	{
		bug: "the prefix of Channels is a pattern",
		with: func(b *broken) {
			b.twistPrefix(func(channel, prefix string) bool {
				// As with LIKE, where _ stands for any character.
				if len(channel) < len(prefix) {
					return false
				}
				for i := range len(prefix) {
					if prefix[i] != '_' && prefix[i] != channel[i] {
						return false
					}
				}
				return true
			})
		},
		caughtBy: []string{"Subscribers/are_listed_by_a_prefix_that_is_no_pattern"},
	},
	{
		bug:      "Channels looks for the prefix anywhere",
		with:     func(b *broken) { b.twistPrefix(strings.Contains) },
		caughtBy: []string{"Subscribers/are_listed_by_the_prefix_of_their_channels"},
	},
	{
		bug:      "all channels have the same subscribers",
		with:     func(b *broken) { b.twistChannels(func(string) string { return "the only one" }) },
		caughtBy: []string{"Subscribers/belong_to_one_channel"},
	},
	{
		bug:      "channels are kept in lower case",
		with:     func(b *broken) { b.twistChannels(strings.ToLower) },
		caughtBy: []string{"Subscribers/keep_every_character"},
	},
	{
		bug: "a channel has up to 100 subscribers",
		with: func(b *broken) {
			subscribers := b.subscribers
			b.subscribers = func(ctx context.Context, channel string) ([]string, error) {
				urls, err := subscribers(ctx, channel)
				return urls[:min(len(urls), 100)], err
			}
		},
		caughtBy: []string{"Subscribers/may_be_many"},
	},
}

func (b *broken) twistAdded(always bool) {
	add := b.addSubscriber
	b.addSubscriber = func(ctx context.Context, channel, url string, lease time.Duration) (bool, error) {
		_, err := add(ctx, channel, url, lease)
		return always, err
	}
}

func (b *broken) twistPrefix(match func(channel, prefix string) bool) {
	channels := b.channels
	b.channels = func(ctx context.Context, prefix string) (map[string][]string, error) {
		all, err := channels(ctx, "")
		for c := range all {
			if !match(c, prefix) {
				delete(all, c)
			}
		}
		return all, err
	}
}

func (b *broken) twistChannels(twist func(string) string) {
	add, remove, subscribers := b.addSubscriber, b.removeSubscriber, b.subscribers
	b.addSubscriber = func(ctx context.Context, channel, url string, lease time.Duration) (bool, error) {
		return add(ctx, twist(channel), url, lease)
	}
	b.removeSubscriber = func(ctx context.Context, channel, url string, olderThan time.Duration) (bool, error) {
		return remove(ctx, twist(channel), url, olderThan)
	}
	b.subscribers = func(ctx context.Context, channel string) ([]string, error) { return subscribers(ctx, twist(channel)) }
}

var watchMutants = []mutant{
	{
		bug:      "Watch never calls",
		with:     func(b *broken) { b.ownHints(nil) },
		caughtBy: []string{"Watch/calls_for_a_push"},
	},
	{
		bug: "Watch does not hear of other engines",
		with: func(b *broken) {
			b.hintPushes(b.ownHints(func(all []*hearer) []*hearer {
				return slices.DeleteFunc(slices.Clone(all), func(h *hearer) bool { return h.by != b })
			}))
		},
		caughtBy: []string{"Watch/calls_for_a_push_of_another_engine"},
	},
	{
		bug:      "follow-ups give no hint",
		with:     func(b *broken) { b.hintPushes(b.ownHints(func(all []*hearer) []*hearer { return all })) },
		caughtBy: []string{"Watch/calls_for_follow_ups", "Watch/calls_for_follow_ups_of_another_engine"},
	},
	{
		bug: "only one watcher is called",
		with: func(b *broken) {
			b.hintPushes(b.ownHints(func(all []*hearer) []*hearer { return all[max(0, len(all)-1):] }))
		},
		caughtBy: []string{"Watch/calls_every_watcher"},
	},
	{
		bug: "Watch calls after stop",
		with: func(b *broken) {
			watch := b.watch
			b.watch = func(wake func(engine.Kind)) func() {
				watch(wake)
				return func() {}
			}
		},
		caughtBy: []string{"Watch/stops"},
	},
	{
		bug: "stop waits for ever after Close",
		with: func(b *broken) {
			watch, shut := b.watch, b.close
			var closed atomic.Bool
			b.close = func() error {
				closed.Store(true)
				return shut()
			}
			b.watch = func(wake func(engine.Kind)) func() {
				stop := watch(wake)
				return func() {
					if closed.Load() {
						time.Sleep(4 * time.Second)
					}
					stop()
				}
			}
		},
		caughtBy: []string{"Watch/stops_after_Close"},
	},
}
