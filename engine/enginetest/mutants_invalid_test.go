package enginetest

import (
	"context"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var invalidMutants = []mutant{
	{
		bug: "Push does not look at what it is asked for",
		with: func(b *broken) {
			push := b.push
			b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
				n := len(req.Channels)
				if (&engine.PushRequest{Channels: req.Channels, MaxSubscribers: req.MaxSubscribers}).Validate() != nil {
					req.Channels = nil
				}
				res, err := push(ctx, req)
				if err == nil && len(req.Channels) == 0 {
					res.Audiences = make([]engine.Audience, n)
				}
				return res, err
			}
		},
		caughtBy: []string{"Invalid/push_stores_nothing"},
	},
	{
		bug: "Push stores the jobs before it looks at what it is asked for",
		with: func(b *broken) {
			push := b.push
			b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
				res, err := push(ctx, engine.PushRequest{Jobs: req.Jobs})
				if err != nil {
					return res, err
				}
				asked, err := push(ctx, engine.PushRequest{Channels: req.Channels, MaxSubscribers: req.MaxSubscribers})
				res.Audiences = asked.Audiences
				return res, err
			}
		},
		caughtBy: []string{"Invalid/push_stores_nothing"},
	},
	{
		bug: "MaxSubscribers is looked at where no channels are asked for",
		with: func(b *broken) {
			push := b.push
			b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
				if req.MaxSubscribers < 0 {
					return engine.PushResult{}, engine.ErrInvalid
				}
				return push(ctx, req)
			}
		},
		caughtBy: []string{"Invalid/push_stores_nothing"},
	},
	{
		bug: "subscribers without channel or callback URL are taken",
		with: func(b *broken) {
			add, remove, subscribers := b.addSubscriber, b.removeSubscriber, b.subscribers
			named := func(s string) string {
				if s == "" {
					return " "
				}
				return s
			}
			b.addSubscriber = func(ctx context.Context, channel, url string, lease time.Duration) (bool, error) {
				return add(ctx, named(channel), named(url), lease)
			}
			b.removeSubscriber = func(ctx context.Context, channel, url string, olderThan time.Duration) (bool, error) {
				return remove(ctx, named(channel), named(url), olderThan)
			}
			b.subscribers = func(ctx context.Context, channel string) ([]string, error) { return subscribers(ctx, named(channel)) }
		},
		caughtBy: []string{"Invalid/registration_changes_nothing"},
	},
	{
		bug: "a removal without callback URL takes off all",
		with: func(b *broken) {
			remove := b.removeSubscriber
			b.removeSubscriber = func(ctx context.Context, channel, url string, olderThan time.Duration) (bool, error) {
				if url == "" && channel != "" {
					urls, _ := b.subscribers(ctx, channel)
					for _, url := range urls {
						_, _ = remove(ctx, channel, url, 0)
					}
				}
				return remove(ctx, channel, url, olderThan)
			}
		},
		caughtBy: []string{"Invalid/registration_changes_nothing"},
	},
	{
		bug: "a removal without callback URL is refused",
		with: func(b *broken) {
			remove := b.removeSubscriber
			b.removeSubscriber = func(ctx context.Context, channel, url string, olderThan time.Duration) (bool, error) {
				if url == "" {
					return false, engine.ErrInvalid
				}
				return remove(ctx, channel, url, olderThan)
			}
		},
		caughtBy: []string{"Invalid/registration_changes_nothing"},
	},
	{
		bug: "a negative limit is none",
		with: func(b *broken) {
			b.twistRequests(func(r *engine.ClaimRequest) {
				limits := map[string]int{}
				for name, n := range r.Limits {
					limits[name] = max(n, 0)
				}
				r.Limits = limits
			})
		},
		caughtBy: []string{"Invalid/claim_claims_nothing"},
	},
	{
		bug:      "a negative attempt is taken",
		with:     func(b *broken) { b.twistOutcomes(func(o *engine.Outcome) { o.Attempt = max(o.Attempt, 0) }) },
		caughtBy: []string{"Invalid/outcome_stops_the_others"},
	},
	{
		bug: "outcomes before an invalid one take effect",
		with: func(b *broken) {
			settle := b.settle
			b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
				settled, err := settle(ctx, outcomes)
				for i := range outcomes {
					if err != nil && engine.ValidateOutcomes(outcomes[i:i+1]) != nil {
						_, _ = settle(ctx, outcomes[:i])
						break
					}
				}
				return settled, err
			}
		},
		caughtBy: []string{"Invalid/outcome_stops_the_others", "Invalid/follow_up_stops_the_others", "Settle/of_an_unknown_result_changes_nothing"},
	},
	{
		bug: "an invalid follow-up is found when Extend has noted",
		with: func(b *broken) {
			settle := b.settle
			b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
				settled, err := settle(ctx, outcomes)
				if err != nil {
					without := slices.Clone(outcomes)
					for i := range without {
						without[i].Follow = nil
					}
					_, _ = settle(ctx, without)
				}
				return settled, err
			}
		},
		caughtBy: []string{"Invalid/follow_up_stops_the_others", "Extend/with_follow_ups_notes_both_in_one_step"},
	},
	{
		bug: "queries with a negative Max are taken",
		with: func(b *broken) {
			b.twistQueries(func(q *engine.DeadQuery) { q.Max = max(q.Max, 0) })
			b.twistPages(func(q *engine.LaneQuery) { q.Max = max(q.Max, 0) }, nil)
		},
		caughtBy: []string{"Invalid/query_for_dead_letters_is_refused", "Invalid/query_for_lanes_is_refused"},
	},
	{
		bug: "half a lane is taken for After",
		with: func(b *broken) {
			b.twistPages(func(q *engine.LaneQuery) {
				if q.After.Validate() != nil {
					q.After = engine.Lane{}
				}
			}, nil)
		},
		caughtBy: []string{"Invalid/query_for_lanes_is_refused"},
	},
	{
		bug: "attributes without group or name are taken",
		with: func(b *broken) {
			swap := b.swapAttribute
			b.swapAttribute = func(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
				swapped, err := swap(ctx, group, name, old, value, keep)
				return swapped, swallow(err)
			}
		},
		caughtBy: []string{"Invalid/attribute_is_not_set", "Attributes/without_a_name_are_refused"},
	},
}
