package enginetest

import (
	"context"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var registrationMutants = []mutant{
	{
		bug:      "the lease of a registration is ignored",
		with:     func(b *broken) { b.twistRegistered(func(time.Duration) time.Duration { return 0 }) },
		caughtBy: []string{"Registration/with_a_lease_lasts_until_that_ends", "Registration/with_a_lease_that_ended_is_as_if_removed", "Registration/of_one_channel_ends_on_its_own", "Registration/is_known_to_every_engine_and_survives"},
	},
	{
		bug:      "a registration ends before its lease",
		with:     func(b *broken) { b.twistRegistered(func(d time.Duration) time.Duration { return d / 2 }) },
		caughtBy: []string{"Registration/with_a_lease_lasts_until_that_ends"},
	},
	{
		bug: "a registration without a lease ends",
		with: func(b *broken) {
			b.twistRegistered(func(d time.Duration) time.Duration {
				if d == 0 {
					d = brief / 2
				}
				return d
			})
		},
		caughtBy: []string{"Registration/without_a_lease_does_not_end"},
	},
	{
		bug: "a lease of less than zero has ended",
		with: func(b *broken) {
			b.twistRegistered(func(d time.Duration) time.Duration {
				if d < 0 {
					d = 1
				}
				return d
			})
		},
		caughtBy: []string{"Registration/without_a_lease_does_not_end"},
	},
	{
		bug: "adding a subscriber again leaves the lease as it is",
		with: func(b *broken) {
			add := b.addSubscriber
			b.addSubscriber = func(ctx context.Context, channel, url string, lease time.Duration) (bool, error) {
				if urls, _ := b.subscribers(ctx, channel); slices.Contains(urls, url) {
					return false, nil
				}
				return add(ctx, channel, url, lease)
			}
		},
		caughtBy: []string{"Registration/is_renewed_by_adding_again", "Registration/with_a_lease_may_become_one_without_end", "Registration/without_end_may_become_one_with_a_lease", "Registration/is_young_again_when_added_again"},
	},
	{
		bug: "a registration with a lease keeps one",
		with: func(b *broken) {
			leases := map[string]time.Duration{}
			b.twistAdd(func(channel, url string, d time.Duration) time.Duration {
				if d == 0 {
					d = leases[channel+url]
				}
				leases[channel+url] = d
				return d
			})
		},
		caughtBy: []string{"Registration/with_a_lease_may_become_one_without_end"},
	},
	{
		bug: "a registration without end stays one",
		with: func(b *broken) {
			endless := map[string]bool{}
			b.twistAdd(func(channel, url string, d time.Duration) time.Duration {
				if d == 0 {
					endless[channel+url] = true
				}
				if endless[channel+url] {
					return 0
				}
				return d
			})
		},
		caughtBy: []string{"Registration/without_end_may_become_one_with_a_lease"},
	},
	{
		bug: "a channel has one end for all of its registrations",
		with: func(b *broken) {
			add := b.addSubscriber
			b.addSubscriber = func(ctx context.Context, channel, url string, lease time.Duration) (bool, error) {
				if lease > 0 {
					all, _ := b.channels(ctx, "")
					for c, urls := range all {
						for _, other := range urls {
							if other == url {
								_, _ = add(ctx, c, other, lease)
							}
						}
					}
				}
				return add(ctx, channel, url, lease)
			}
		},
		caughtBy: []string{"Registration/of_one_channel_ends_on_its_own"},
	},
	{
		bug:      "Subscribers lists those whose registration has ended",
		with:     func(b *broken) { b.keepsEnded(true, false, false) },
		caughtBy: []string{"Registration/with_a_lease_lasts_until_that_ends", "Registration/with_a_lease_that_ended_is_as_if_removed"},
	},
	{
		bug:      "Push tells of those whose registration has ended",
		with:     func(b *broken) { b.keepsEnded(false, true, false) },
		caughtBy: []string{"Registration/with_a_lease_lasts_until_that_ends"},
	},
	{
		bug:      "Channels lists those whose registration has ended",
		with:     func(b *broken) { b.keepsEnded(false, false, true) },
		caughtBy: []string{"Registration/with_a_lease_lasts_until_that_ends"},
	},
	{
		bug: "a registration that has ended can be removed",
		with: func(b *broken) {
			remove := b.removeSubscriber
			b.removeSubscriber = func(ctx context.Context, channel, url string, olderThan time.Duration) (bool, error) {
				removed, err := remove(ctx, channel, url, olderThan)
				return removed || b.s.flag[channel+url], err
			}
			b.noteRegistered()
		},
		caughtBy: []string{"Registration/with_a_lease_that_ended_is_as_if_removed"},
	},
	{
		bug: "a registration that has ended is there when it is added again",
		with: func(b *broken) {
			b.noteRegistered()
			add := b.addSubscriber
			b.addSubscriber = func(ctx context.Context, channel, url string, lease time.Duration) (bool, error) {
				known := b.s.flag[channel+url]
				added, err := add(ctx, channel, url, lease)
				return added && !known, err
			}
		},
		caughtBy: []string{"Registration/with_a_lease_that_ended_is_as_if_removed"},
	},
	{
		bug: "olderThan is ignored",
		with: func(b *broken) {
			b.twistRemove(func(string, string, time.Duration) time.Duration { return 0 })
		},
		caughtBy: []string{"Registration/is_removed_only_if_it_is_old_enough", "Registration/is_young_again_when_added_again", "Registration/is_known_to_every_engine_and_survives"},
	},
	{
		bug: "with an olderThan no registration is removed",
		with: func(b *broken) {
			b.twistRemove(func(_, _ string, d time.Duration) time.Duration {
				if d != 0 {
					d = 100 * long
				}
				return d
			})
		},
		caughtBy: []string{"Registration/is_removed_only_if_it_is_old_enough"},
	},
	{
		bug: "the age of a registration counts from the first AddSubscriber",
		with: func(b *broken) {
			first := map[string]time.Time{}
			add := b.addSubscriber
			b.addSubscriber = func(ctx context.Context, channel, url string, lease time.Duration) (bool, error) {
				added, err := add(ctx, channel, url, lease)
				if added {
					first[channel+url] = time.Now()
				}
				return added, err
			}
			b.twistRemove(func(channel, url string, d time.Duration) time.Duration {
				if time.Since(first[channel+url]) >= d {
					return 0
				}
				return d
			})
		},
		caughtBy: []string{"Registration/is_young_again_when_added_again"},
	},
	{
		bug: "a registration that is too young is removed, but reported as being there",
		with: func(b *broken) {
			remove := b.removeSubscriber
			b.removeSubscriber = func(ctx context.Context, channel, url string, olderThan time.Duration) (bool, error) {
				removed, err := remove(ctx, channel, url, olderThan)
				if err == nil && !removed {
					_, err = remove(ctx, channel, url, 0)
				}
				return removed, err
			}
		},
		caughtBy: []string{"Registration/is_removed_only_if_it_is_old_enough"},
	},
}

func (b *broken) twistAdd(twist func(channel, url string, d time.Duration) time.Duration) {
	add := b.addSubscriber
	b.addSubscriber = func(ctx context.Context, channel, url string, lease time.Duration) (bool, error) {
		return add(ctx, channel, url, twist(channel, url, lease))
	}
}

func (b *broken) twistRegistered(twist func(d time.Duration) time.Duration) {
	b.twistAdd(func(_, _ string, d time.Duration) time.Duration { return twist(d) })
}

func (b *broken) twistRemove(twist func(channel, url string, olderThan time.Duration) time.Duration) {
	remove := b.removeSubscriber
	b.removeSubscriber = func(ctx context.Context, channel, url string, olderThan time.Duration) (bool, error) {
		return remove(ctx, channel, url, twist(channel, url, olderThan))
	}
}

// noteRegistered flags what has been registered.
func (b *broken) noteRegistered() {
	add := b.addSubscriber
	b.addSubscriber = func(ctx context.Context, channel, url string, lease time.Duration) (bool, error) {
		added, err := add(ctx, channel, url, lease)
		b.s.flag[channel+url] = true
		return added, err
	}
}

// keepsEnded makes some methods tell of registrations without regard to leases.
func (b *broken) keepsEnded(inSubscribers, inPush, inChannels bool) {
	all := map[string][]string{}
	add := b.addSubscriber
	b.addSubscriber = func(ctx context.Context, channel, url string, lease time.Duration) (bool, error) {
		added, err := add(ctx, channel, url, lease)
		if !slices.Contains(all[channel], url) {
			all[channel] = append(all[channel], url)
		}
		return added, err
	}
	if inSubscribers {
		b.subscribers = func(_ context.Context, channel string) ([]string, error) { return all[channel], nil }
	}
	if inPush {
		b.twistAudiences(func(req engine.PushRequest, answers []engine.Audience) {
			for i, c := range req.Channels {
				answers[i].CallbackURLs = all[c]
			}
		})
	}
	if inChannels {
		b.channels = func(context.Context, string) (map[string][]string, error) { return all, nil }
	}
}
