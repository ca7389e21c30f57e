package enginetest

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var claimMutants = []mutant{
	{
		bug:      "Claims is always 1",
		with:     func(b *broken) { b.twistClaimed(func(j *engine.Claimed) { j.Claims = 1 }) },
		caughtBy: []string{"Claim/tells_attempt_history_and_claims"},
	},
	{
		bug: "Claim empties one lane after another",
		with: func(b *broken) {
			b.choose(func(req engine.ClaimRequest, js []engine.Claimed) []engine.Claimed {
				age := map[engine.Lane]int{}
				for i, j := range slices.Backward(js) {
					age[j.Lane] = i
				}
				slices.SortStableFunc(js, func(a, b engine.Claimed) int { return cmp.Compare(age[a.Lane], age[b.Lane]) })
				return first(req, js)
			})
		},
		caughtBy: []string{"Claim/lets_no_huge_lane_starve_small_ones", "Claim/gives_lanes_equal_shares", "Claim/gives_no_lane_a_second_share_before_all_had_one"},
	},
	{
		bug: "a lane is served in reverse",
		with: func(b *broken) {
			b.choose(func(req engine.ClaimRequest, js []engine.Claimed) []engine.Claimed {
				slices.Reverse(js)
				return first(req, js)
			})
		},
		caughtBy: []string{"Claim/keeps_the_order_of_a_lane"},
	},
	{
		bug: "the youngest lanes are served first",
		with: func(b *broken) {
			b.choose(func(req engine.ClaimRequest, js []engine.Claimed) []engine.Claimed {
				var firsts []engine.Claimed
				for _, j := range js {
					if !slices.ContainsFunc(firsts, func(f engine.Claimed) bool { return f.Lane == j.Lane }) {
						firsts = append(firsts, j)
					}
				}
				slices.Reverse(firsts)
				return first(req, firsts)
			})
		},
		caughtBy: []string{"Claim/serves_the_oldest_lanes_first"},
	},
	{
		bug: "a lane is served in the order of pushes",
		with: func(b *broken) {
			b.choose(func(req engine.ClaimRequest, js []engine.Claimed) []engine.Claimed {
				slices.SortStableFunc(js, func(a, b engine.Claimed) int { return cmp.Compare(b.Age, a.Age) })
				return first(req, js)
			})
		},
		caughtBy: []string{"Claim/keeps_the_order_in_which_jobs_become_due"},
	},
	{
		bug:      "Limits are ignored",
		with:     func(b *broken) { b.twistRequests(func(r *engine.ClaimRequest) { r.Limits = nil }) },
		caughtBy: []string{"Claim/keeps_to_Limits"},
	},
	{
		bug: "MaxPerLane is ignored",
		with: func(b *broken) {
			b.twistRequests(func(r *engine.ClaimRequest) { r.MaxPerLane = max(r.MaxPerLane, r.Max) })
		},
		caughtBy: []string{"Claim/keeps_to_MaxPerLane", "Next/is_zero_when_a_lane_limit_left_jobs_behind"},
	},
	{
		bug: "an empty Only is taken for nil",
		with: func(b *broken) {
			b.twistRequests(func(r *engine.ClaimRequest) {
				if len(r.Only) == 0 {
					r.Only = nil
				}
			})
		},
		caughtBy: []string{"Claim/keeps_to_Only"},
	},
	{
		bug: "Claim does not look at the kind",
		with: func(b *broken) {
			claim := b.claim
			b.claim = func(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
				res, err := claim(ctx, req)
				for _, k := range kinds {
					if of := req; err == nil && k != req.Kind && len(res.Jobs) < req.Max {
						of.Kind, of.Max = k, req.Max-len(res.Jobs)
						more, _ := claim(ctx, of)
						res.Jobs = append(res.Jobs, more.Jobs...)
					}
				}
				return res, err
			}
		},
		caughtBy: []string{"Claim/keeps_kinds_apart"},
	},
	{
		bug:      "Age is counted from the claim",
		with:     func(b *broken) { b.twistClaimed(func(j *engine.Claimed) { j.Age = 0 }) },
		caughtBy: []string{"Claim/tells_the_age"},
	},
	{
		bug: "invalid requests are not refused",
		with: func(b *broken) {
			claim, settle, defers := b.claim, b.settle, b.defers
			b.claim = func(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
				res, err := claim(ctx, req)
				return res, swallow(err)
			}
			b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
				settled, err := settle(ctx, outcomes)
				if swallow(err) == nil && err != nil {
					settled = make([]engine.Settled, len(outcomes))
				}
				return settled, swallow(err)
			}
			b.defers = func(ctx context.Context, l engine.Lane, d time.Duration) error { return swallow(defers(ctx, l, d)) }
		},
		caughtBy: []string{"Claim/with_an_invalid_request_is_refused", "Settle/of_an_unknown_result_changes_nothing", "Defer/of_an_invalid_lane_is_refused"},
	},
	{
		bug: "Next ignores leases",
		with: func(b *broken) {
			b.twistResults(func(_ engine.ClaimRequest, res *engine.ClaimResult) {
				waiting := 0
				all, _ := b.lanes(context.Background())
				for _, l := range all {
					waiting += l.Waiting
				}
				if waiting == 0 {
					res.Next = -1
				}
			})
		},
		caughtBy: []string{"Next/is_never_later_than_the_end_of_a_lease"},
	},
	{
		bug: "Next knows only what is due",
		with: func(b *broken) {
			b.twistResults(func(_ engine.ClaimRequest, res *engine.ClaimResult) {
				if res.Next > 0 {
					res.Next = -1
				}
			})
		},
		caughtBy: []string{"Next/leads_to_every_job", "Next/is_never_later_than_a_delayed_job"},
	},
	{
		bug:      "Next is always 0",
		with:     func(b *broken) { b.twistResults(func(_ engine.ClaimRequest, res *engine.ClaimResult) { res.Next = 0 }) },
		caughtBy: []string{"Next/is_never_later_than_a_delayed_job"},
	},
	{
		bug: "Next ignores what a call left behind",
		with: func(b *broken) {
			b.twistResults(func(_ engine.ClaimRequest, res *engine.ClaimResult) {
				if res.Next == 0 {
					res.Next = -1
				}
			})
		},
		caughtBy: []string{"Next/is_zero_when_Max_left_jobs_behind", "Next/is_zero_when_a_lane_limit_left_jobs_behind"},
	},
	{
		bug: "Next ignores deferrals",
		with: func(b *broken) {
			b.twistResults(func(_ engine.ClaimRequest, res *engine.ClaimResult) {
				all, _ := b.lanes(context.Background())
				for _, l := range all {
					if l.Deferred > 0 && l.Waiting > 0 {
						res.Next = 0
					}
				}
			})
		},
		caughtBy: []string{"Next/is_never_later_than_the_end_of_a_deferral"},
	},
	{
		bug: "Next counts lanes that were left out",
		with: func(b *broken) {
			b.twistResults(func(_ engine.ClaimRequest, res *engine.ClaimResult) {
				if all, _ := b.lanes(context.Background()); len(all) > 0 && len(res.Jobs) == 0 {
					res.Next = 0
				}
			})
		},
		caughtBy: []string{"Next/does_not_make_callers_spin_for_a_lane_left_out"},
	},
	{
		bug: "Next is never negative",
		with: func(b *broken) {
			b.twistResults(func(_ engine.ClaimRequest, res *engine.ClaimResult) { res.Next = max(res.Next, 1) })
		},
		caughtBy: []string{"Claim/of_an_empty_store_finds_nothing", "Next/is_negative_again_when_all_is_done"},
	},
}
