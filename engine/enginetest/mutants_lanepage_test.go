package enginetest

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/watermarkchurch/toot-go/engine"
)

var lanePageMutants = []mutant{
	{
		bug: "LanePage always has a lane",
		with: func(b *broken) {
			b.twistPages(nil, func(page []engine.LaneSummary) []engine.LaneSummary {
				return append(page, engine.LaneSummary{Lane: engine.Lane{Kind: engine.Handle, Name: "\U0010FFFF\U0010FFFF"}, Jobs: 1})
			})
		},
		caughtBy: []string{"LanePage/of_an_empty_store_has_no_lanes"},
	},
	{
		bug: "LanePage is in order of names",
		with: func(b *broken) {
			b.twistPages(nil, func(page []engine.LaneSummary) []engine.LaneSummary {
				slices.SortStableFunc(page, func(a, b engine.LaneSummary) int { return cmp.Compare(a.Lane.Name, b.Lane.Name) })
				return page
			})
		},
		caughtBy: []string{"LanePage/is_in_order_of_kind_and_name"},
	},
	{
		bug: "LanePage does not tell upper and lower case apart",
		with: func(b *broken) {
			b.twistPages(nil, func(page []engine.LaneSummary) []engine.LaneSummary {
				slices.SortStableFunc(page, func(a, b engine.LaneSummary) int {
					return cmp.Or(cmp.Compare(a.Lane.Kind, b.Lane.Kind), cmp.Compare(strings.ToLower(a.Lane.Name), strings.ToLower(b.Lane.Name)))
				})
				return slices.CompactFunc(page, func(a, b engine.LaneSummary) bool { return strings.EqualFold(a.Lane.Name, b.Lane.Name) })
			})
		},
		caughtBy: []string{"LanePage/is_in_order_of_kind_and_name"},
	},
	{
		bug:      "LaneQuery.After is ignored",
		with:     func(b *broken) { b.twistPages(func(q *engine.LaneQuery) { q.After = engine.Lane{} }, nil) },
		caughtBy: []string{"LanePage/continues_behind_After", "LanePage/keeps_to_Kind"},
	},
	{
		bug: "LanePage begins with the lane of After",
		with: func(b *broken) {
			pages := b.lanePage
			b.lanePage = func(ctx context.Context, q engine.LaneQuery) ([]engine.LaneSummary, error) {
				page, err := pages(ctx, q)
				all, _ := pages(ctx, engine.LaneQuery{Max: everything})
				for _, l := range all {
					if l.Lane == q.After {
						page = append([]engine.LaneSummary{l}, page[:max(0, min(len(page), q.Max-1))]...)
					}
				}
				return page, err
			}
		},
		caughtBy: []string{"LanePage/continues_behind_After"},
	},
	{
		bug: "LaneQuery.After goes by names only",
		with: func(b *broken) {
			b.twistPages(func(q *engine.LaneQuery) {
				if q.After.Name != "" {
					q.After.Kind = engine.FanOut
				}
			}, nil)
		},
		caughtBy: []string{"LanePage/continues_behind_After", "LanePage/keeps_to_Kind"},
	},
	{
		bug: "LaneQuery.After that is not there begins anew",
		with: func(b *broken) {
			b.twistPages(func(q *engine.LaneQuery) {
				if b.lane(q.After) == (engine.LaneStats{}) {
					q.After = engine.Lane{}
				}
			}, nil)
		},
		caughtBy: []string{"LanePage/continues_behind_After"},
	},
	{
		bug:      "LaneQuery.Kind is ignored",
		with:     func(b *broken) { b.twistPages(func(q *engine.LaneQuery) { q.Kind = 0 }, nil) },
		caughtBy: []string{"LanePage/keeps_to_Kind"},
	},
	{
		bug:      "LaneQuery.Max 0 means all",
		with:     func(b *broken) { b.twistPages(func(q *engine.LaneQuery) { q.Max = cmp.Or(q.Max, everything) }, nil) },
		caughtBy: []string{"LanePage/has_a_hundred_lanes_unless_told_otherwise"},
	},
	{
		bug:      "LaneQuery.Max is at most 100",
		with:     func(b *broken) { b.twistPages(func(q *engine.LaneQuery) { q.Max = min(q.Max, 100) }, nil) },
		caughtBy: []string{"LanePage/has_a_hundred_lanes_unless_told_otherwise"},
	},
	{
		bug: "LanePage counts jobs that wait only",
		with: func(b *broken) {
			b.twistEachPaged(func(l *engine.LaneSummary) { l.Jobs = b.lane(l.Lane).Waiting })
		},
		caughtBy: []string{"LanePage/counts_the_jobs_of_a_lane"},
	},
	{
		bug: "LanePage counts dead letters, too",
		with: func(b *broken) {
			b.twistEachPaged(func(l *engine.LaneSummary) { l.Jobs += b.lane(l.Lane).Dead })
		},
		caughtBy: []string{"LanePage/counts_the_jobs_of_a_lane"},
	},
	{
		bug: "LanePage counts what was pushed",
		with: func(b *broken) {
			b.twistEachPaged(func(l *engine.LaneSummary) {
				l.Jobs = 0
				for k := range b.s.jobs {
					if k.lane == l.Lane {
						l.Jobs++
					}
				}
			})
		},
		caughtBy: []string{"LanePage/counts_the_jobs_of_a_lane"},
	},
	{
		bug: "LanePage leaves out lanes that are deferred and have no jobs",
		with: func(b *broken) {
			b.twistPages(nil, func(page []engine.LaneSummary) []engine.LaneSummary {
				return slices.DeleteFunc(page, func(l engine.LaneSummary) bool { return l.Jobs == 0 })
			})
		},
		caughtBy: []string{"LanePage/tells_of_deferrals", "LanePage/continues_behind_After", "LanePage/is_the_same_for_every_engine"},
	},
	{
		bug: "LanePage does not tell of deferrals",
		with: func(b *broken) {
			b.twistEachPaged(func(l *engine.LaneSummary) { l.Deferred = 0 })
		},
		caughtBy: []string{"LanePage/tells_of_deferrals"},
	},
	{
		bug: "LanePage tells when the deferral ends as Next",
		with: func(b *broken) {
			b.twistEachPaged(func(l *engine.LaneSummary) { l.Next = max(l.Next, l.Deferred) })
		},
		caughtBy: []string{"LanePage/tells_of_deferrals"},
	},
	{
		bug: "Next of a lane is never negative",
		with: func(b *broken) {
			b.twistEachPaged(func(l *engine.LaneSummary) { l.Next = max(l.Next, 0) })
		},
		caughtBy: []string{"LanePage/tells_when_the_next_job_is_due"},
	},
	{
		bug: "Next of a lane ignores jobs that are not due",
		with: func(b *broken) {
			b.twistEachPaged(func(l *engine.LaneSummary) { l.Next = min(l.Next, 0) })
		},
		caughtBy: []string{"LanePage/tells_when_the_next_job_is_due"},
	},
	{
		bug: "LanePage lists lanes that have nothing",
		with: func(b *broken) {
			pages := b.lanePage
			b.lanePage = func(ctx context.Context, q engine.LaneQuery) ([]engine.LaneSummary, error) {
				page, err := pages(ctx, q)
				for k := range b.s.jobs {
					if !slices.ContainsFunc(page, func(l engine.LaneSummary) bool { return l.Lane == k.lane }) {
						page = append(page, engine.LaneSummary{Lane: k.lane})
					}
				}
				return page, err
			}
		},
		caughtBy: []string{"LanePage/leaves_out_lanes_that_hold_no_jobs"},
	},
	{
		bug: "LanePage tells of what this engine pushed only",
		with: func(b *broken) {
			b.twistPages(nil, func(page []engine.LaneSummary) []engine.LaneSummary {
				return slices.DeleteFunc(page, func(l engine.LaneSummary) bool {
					for k, note := range b.s.jobs {
						if k.lane == l.Lane && note.by == b {
							return false
						}
					}
					return true
				})
			})
		},
		caughtBy: []string{"LanePage/is_the_same_for_every_engine"},
	},
}

// twistPages changes what LanePage is asked for and what it answers.
func (b *broken) twistPages(query func(*engine.LaneQuery), answer func([]engine.LaneSummary) []engine.LaneSummary) {
	pages := b.lanePage
	b.lanePage = func(ctx context.Context, q engine.LaneQuery) ([]engine.LaneSummary, error) {
		if query != nil {
			query(&q)
		}
		page, err := pages(ctx, q)
		if answer != nil {
			page = answer(page)
		}
		return page, err
	}
}

func (b *broken) twistEachPaged(twist func(*engine.LaneSummary)) {
	b.twistPages(nil, func(page []engine.LaneSummary) []engine.LaneSummary {
		for i := range page {
			twist(&page[i])
		}
		return page
	})
}
