package enginetest

import (
	"context"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var identityMutants = []mutant{
	{
		bug:      "the channel is no part of the identity",
		with:     merging(func(k key) any { k.channel = ""; return k }),
		caughtBy: []string{"Identity/of_another_channel_is_another", "Identity/counts_as_a_whole_when_the_job_is_done", "Identity/counts_as_a_whole_when_the_job_is_dead", "Identity/of_follow_ups_counts_as_a_whole"},
	},
	{
		bug:      "the replay mark is no part of the identity",
		with:     merging(func(k key) any { k.replay = ""; return k }),
		caughtBy: []string{"Identity/of_another_replay_mark_is_another", "Identity/counts_as_a_whole_when_the_job_is_done", "Identity/is_inherited_by_follow_ups"},
	},
	{
		bug:      "channel, event ID and replay mark are joined by a colon",
		with:     merging(func(k key) any { return k.channel + ":" + k.id + ":" + k.replay + k.lane.Name }),
		caughtBy: []string{"Identity/is_kept_apart_by_every_part"},
	},
	{
		bug: "a replay mark makes a job another each time",
		with: func(b *broken) {
			forget, mark := b.forgetting()
			b.twistJobs(func(j *engine.Job) {
				if j.Event != nil && j.Event.Replay != "" {
					forget(j.Event, j.Lane)
					j.Event = mark(j.Event, j.Lane)
				}
			})
		},
		caughtBy: []string{"Identity/of_another_replay_mark_is_another", "Identity/counts_as_a_whole_when_the_job_is_done"},
	},
	{
		bug: "a claimed event has no replay mark",
		with: func(b *broken) {
			b.twistClaimed(func(j *engine.Claimed) {
				ev := *j.Event
				ev.Replay = ""
				j.Event = &ev
			})
		},
		caughtBy: []string{"Identity/comes_back_with_the_event"},
	},
	{
		bug: "a dead letter has no replay mark",
		with: func(b *broken) {
			b.twistDead(func(dead []engine.Dead) []engine.Dead {
				for i := range dead {
					ev := *dead[i].Event
					ev.Replay = ""
					dead[i].Event = &ev
				}
				return dead
			})
		},
		caughtBy: []string{"Identity/is_kept_in_the_dead_letters"},
	},
	{
		bug: "follow-ups lose the replay mark of their job's event",
		with: func(b *broken) {
			b.twistFollow(func(f *engine.Job, note *claimNote) {
				if f.Event == nil {
					ev := *note.event
					ev.Replay = ""
					f.Event = &ev
				}
			})
		},
		caughtBy: []string{"Identity/is_inherited_by_follow_ups"},
	},
}

var audienceMutants = []mutant{
	{
		bug: "an audience is that of the channel before",
		with: func(b *broken) {
			b.twistAudiences(func(_ engine.PushRequest, all []engine.Audience) {
				slices.Reverse(all)
			})
		},
		caughtBy: []string{"Audience/has_the_subscribers_of_each_channel"},
	},
	{
		bug: "a channel that is asked for twice is answered once",
		with: func(b *broken) {
			b.twistAudiences(func(req engine.PushRequest, all []engine.Audience) {
				for i := range all {
					if slices.Contains(req.Channels[:i], req.Channels[i]) {
						all[i] = engine.Audience{}
					}
				}
			})
		},
		caughtBy: []string{"Audience/has_the_subscribers_of_each_channel"},
	},
	{
		bug: "Push without jobs does nothing",
		with: func(b *broken) {
			push := b.push
			b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
				if len(req.Jobs) == 0 {
					return engine.PushResult{Audiences: make([]engine.Audience, len(req.Channels))}, nil
				}
				return push(ctx, req)
			}
		},
		caughtBy: []string{"Audience/is_told_without_jobs"},
	},
	{
		bug: "Push of jobs that are there tells no audience",
		with: func(b *broken) {
			push := b.push
			b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
				before := len(b.s.jobs)
				res, err := push(ctx, req)
				if len(b.s.jobs) == before {
					clear(res.Audiences)
				}
				return res, err
			}
		},
		caughtBy: []string{"Audience/is_told_beside_jobs"},
	},
	{
		bug: "channels are asked for instead of jobs being stored",
		with: func(b *broken) {
			push := b.push
			b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
				n := len(req.Jobs)
				if len(req.Channels) > 0 {
					req.Jobs = nil
				}
				res, err := push(ctx, req)
				res.Tickets = append(res.Tickets, make([]engine.Ticket, n-len(req.Jobs))...)
				return res, err
			}
		},
		caughtBy: []string{"Audience/is_told_beside_jobs"},
	},
	{
		bug: "MaxSubscribers cuts the list",
		with: func(b *broken) {
			b.twistAudiences(func(req engine.PushRequest, all []engine.Audience) {
				for i := range all {
					if urls, _ := b.subscribers(context.Background(), req.Channels[i]); all[i].More {
						all[i] = engine.Audience{CallbackURLs: urls[:req.MaxSubscribers], Count: all[i].Count}
					}
				}
			})
		},
		caughtBy: []string{"Audience/says_More_beyond_MaxSubscribers"},
	},
	{
		bug: "as many subscribers as MaxSubscribers are too many",
		with: func(b *broken) {
			b.twistAudiences(func(req engine.PushRequest, all []engine.Audience) {
				for i := range all {
					if len(all[i].CallbackURLs) == req.MaxSubscribers {
						all[i] = engine.Audience{More: true, Count: all[i].Count}
					}
				}
			})
		},
		caughtBy: []string{"Audience/says_More_beyond_MaxSubscribers"},
	},
	{
		bug: "an audience counts those that it lists",
		with: func(b *broken) {
			b.twistAudiences(func(_ engine.PushRequest, all []engine.Audience) {
				for i := range all {
					all[i].Count = len(all[i].CallbackURLs)
				}
			})
		},
		caughtBy: []string{"Audience/says_More_beyond_MaxSubscribers"},
	},
	{
		bug: "an audience lists nobody and does not say More",
		with: func(b *broken) {
			b.twistAudiences(func(_ engine.PushRequest, all []engine.Audience) {
				for i := range all {
					all[i].More = false
				}
			})
		},
		caughtBy: []string{"Audience/says_More_beyond_MaxSubscribers"},
	},
	{
		bug: "a callback URL is taken for a pattern",
		with: func(b *broken) {
			b.twistAudiences(func(_ engine.PushRequest, all []engine.Audience) {
				for i := range all {
					all[i].CallbackURLs = slices.DeleteFunc(all[i].CallbackURLs, func(url string) bool { return slices.Contains([]byte(url), '%') })
				}
			})
		},
		caughtBy: []string{"Audience/keeps_every_character"},
	},
	{
		bug: "subscribers are remembered for some milliseconds",
		with: func(b *broken) {
			b.remembers(func(_ string, since time.Time) bool { return time.Since(since) < 2*time.Millisecond })
		},
		caughtBy: []string{"Audience/has_who_was_added_right_before", "Audience/has_who_was_added_elsewhere_right_before"},
	},
	{
		bug: "subscribers are remembered until an invalidation arrives",
		with: func(b *broken) {
			add, remove := b.addSubscriber, b.removeSubscriber
			invalidate := func() {
				for _, other := range b.s.engines {
					if !other.stalled {
						other.changed = time.Now()
					}
				}
			}
			b.addSubscriber = func(ctx context.Context, channel, url string, lease time.Duration) (bool, error) {
				defer invalidate()
				return add(ctx, channel, url, lease)
			}
			b.removeSubscriber = func(ctx context.Context, channel, url string, olderThan time.Duration) (bool, error) {
				defer invalidate()
				return remove(ctx, channel, url, olderThan)
			}
			b.remembers(func(_ string, since time.Time) bool { return since.After(b.changed) })
		},
		caughtBy: []string{"Audience/has_who_was_added_while_invalidations_are_held_up"},
	},
	{
		bug: "subscribers of another engine are seen with the next call only",
		with: func(b *broken) {
			last := map[string][]string{}
			b.twistAudiences(func(req engine.PushRequest, all []engine.Audience) {
				for i, c := range req.Channels {
					now := all[i].CallbackURLs
					if known, ok := last[c]; ok {
						all[i].CallbackURLs = known
					}
					last[c] = now
				}
			})
		},
		caughtBy: []string{"Audience/has_who_was_added_elsewhere_right_before", "Audience/has_the_subscribers_of_each_channel"},
	},
	{
		bug: "a channel that cannot be read makes Push fail",
		with: func(b *broken) {
			push := b.push
			b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
				for _, c := range req.Channels {
					if b.s.channel[c] {
						return engine.PushResult{}, errBroken
					}
				}
				return push(ctx, req)
			}
		},
		caughtBy: []string{"Audience/of_a_channel_that_cannot_be_read_has_an_error_of_its_own"},
	},
	{
		bug: "a channel that cannot be read has no subscribers",
		with: func(b *broken) {
			b.twistAudiences(func(_ engine.PushRequest, all []engine.Audience) {
				for i := range all {
					all[i].Err = nil
				}
			})
		},
		caughtBy: []string{"Audience/of_a_channel_that_cannot_be_read_has_an_error_of_its_own"},
	},
	{
		bug: "a channel that cannot be read hides those behind it",
		with: func(b *broken) {
			b.twistAudiences(func(_ engine.PushRequest, all []engine.Audience) {
				for i := range all {
					if i > 0 && all[i-1].Err != nil {
						all[i] = all[i-1]
					}
				}
			})
		},
		caughtBy: []string{"Audience/of_a_channel_that_cannot_be_read_has_an_error_of_its_own"},
	},
}

// twistAudiences changes what Push tells about channels.
func (b *broken) twistAudiences(twist func(engine.PushRequest, []engine.Audience)) {
	push := b.push
	b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
		res, err := push(ctx, req)
		if err == nil {
			twist(req, res.Audiences)
		}
		return res, err
	}
}

// remembers makes Push tell what it told before, as long as that is good.
func (b *broken) remembers(good func(channel string, since time.Time) bool) {
	type memory struct {
		audience engine.Audience
		since    time.Time
	}
	known := map[string]memory{}
	b.twistAudiences(func(req engine.PushRequest, all []engine.Audience) {
		for i, c := range req.Channels {
			if m, ok := known[c]; ok && good(c, m.since) {
				all[i] = m.audience
				continue
			}
			known[c] = memory{all[i], time.Now()}
		}
	})
}
