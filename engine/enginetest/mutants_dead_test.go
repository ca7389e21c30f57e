package enginetest

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/watermarkchurch/toot-go/engine"
)

var deadMutants = []mutant{
	{
		bug: "Bury throws the job away",
		with: func(b *broken) {
			b.twistOutcomes(func(o *engine.Outcome) {
				if o.Result == engine.Bury {
					o.Result = engine.Done
				}
			})
		},
		caughtBy: []string{"DeadLetters/tell_everything_about_a_job"},
	},
	{
		bug: "dead letters are listed oldest first",
		with: func(b *broken) {
			b.twistDead(func(dead []engine.Dead) []engine.Dead {
				slices.Reverse(dead)
				return dead
			})
		},
		caughtBy: []string{"DeadLetters/list_the_most_recently_buried_first"},
	},
	{
		bug:       "DeadMax is ignored",
		retention: func(r *engine.Retention) { r.DeadMax = everything },
		caughtBy:  []string{"DeadLetters/are_kept_up_to_DeadMax"},
	},
	{
		bug:       "DeadAge is ignored",
		retention: func(r *engine.Retention) { r.DeadAge = long },
		caughtBy:  []string{"DeadLetters/are_kept_up_to_DeadAge"},
	},
	{
		bug:      "DeadQuery.After is ignored",
		with:     func(b *broken) { b.twistQueries(func(q *engine.DeadQuery) { q.After = "" }) },
		caughtBy: []string{"DeadLetters/are_listed_page_by_page"},
	},
	{
		bug: "DeadQuery.Max 0 means all",
		with: func(b *broken) {
			b.twistQueries(func(q *engine.DeadQuery) { q.Max = cmp.Or(q.Max, everything) })
		},
		caughtBy: []string{"DeadLetters/are_listed_a_hundred_at_a_time"},
	},
	{
		bug: "the reason is searched with upper and lower case apart",
		with: func(b *broken) {
			dead := b.dead
			b.dead = func(ctx context.Context, q engine.DeadQuery) ([]engine.Dead, error) {
				found, err := dead(ctx, q)
				return slices.DeleteFunc(found, func(d engine.Dead) bool { return !strings.Contains(d.Reason, q.Reason) }), err
			}
		},
		caughtBy: []string{"DeadLetters/match_every_filter"},
	},
	{
		bug: "dead letters match when one filter does",
		with: func(b *broken) {
			dead := b.dead
			b.dead = func(ctx context.Context, q engine.DeadQuery) ([]engine.Dead, error) {
				if q.Kind == 0 || q.Lane == "" {
					return dead(ctx, q)
				}
				all, err := dead(ctx, engine.DeadQuery{Max: everything})
				return slices.DeleteFunc(all, func(d engine.Dead) bool { return d.Lane.Kind != q.Kind && d.Lane.Name != q.Lane }), err
			}
		},
		caughtBy: []string{"DeadLetters/match_every_filter"},
	},
	{
		bug: "a redriven job stays in the dead letters",
		with: func(b *broken) {
			redrive := b.redrive
			b.redrive = func(ctx context.Context, ids []string) (int, error) {
				n, err := redrive(ctx, ids)
				for _, id := range ids {
					if b.s.flag[id] {
						n++
					}
					b.s.flag[id] = true
				}
				return n, err
			}
		},
		caughtBy: []string{"DeadLetters/are_redriven_once"},
	},
	{
		bug:      "Redrive keeps the attempt",
		with:     func(b *broken) { b.twistRedriven(func(j *engine.Claimed, d engine.Dead) { j.Attempt = d.Attempt }) },
		caughtBy: []string{"DeadLetters/can_be_redriven"},
	},
	{
		bug:      "Redrive loses the history",
		with:     func(b *broken) { b.twistRedriven(func(j *engine.Claimed, _ engine.Dead) { j.History = nil }) },
		caughtBy: []string{"DeadLetters/can_be_redriven"},
	},
	{
		bug: "Discard forgets the job",
		with: func(b *broken) {
			forget, _ := b.forgetting()
			discard := b.discard
			b.discard = func(ctx context.Context, ids []string) (int, error) {
				dead, _ := b.dead(ctx, engine.DeadQuery{IDs: ids})
				for _, d := range dead {
					forget(d.Event, d.Lane)
				}
				return discard(ctx, ids)
			}
		},
		caughtBy: []string{"Push/again_is_a_no_op_when_the_job_is_discarded"},
	},
	{
		bug: "Discard deletes nothing",
		with: func(b *broken) {
			b.discard = func(ctx context.Context, ids []string) (int, error) {
				dead, err := b.dead(ctx, engine.DeadQuery{IDs: ids})
				return len(dead), err
			}
		},
		caughtBy: []string{"DeadLetters/can_be_discarded", "DeadLetters/are_shared"},
	},
	{
		bug: "a second Bury keeps the first reason",
		with: func(b *broken) {
			b.twistOutcomes(func(o *engine.Outcome) {
				note := b.s.claims[o.Ticket]
				if o.Result != engine.Bury || note == nil {
					return
				}
				id := note.event.ID + note.lane.Name
				o.Reason = cmp.Or(b.s.text[id], o.Reason)
				b.s.text[id] = o.Reason
			})
		},
		caughtBy: []string{"DeadLetters/can_be_redriven_and_buried_again"},
	},
}

func (b *broken) twistQueries(twist func(*engine.DeadQuery)) {
	dead := b.dead
	b.dead = func(ctx context.Context, q engine.DeadQuery) ([]engine.Dead, error) {
		twist(&q)
		return dead(ctx, q)
	}
}

// twistRedriven changes jobs that are claimed after they were redriven.
func (b *broken) twistRedriven(twist func(*engine.Claimed, engine.Dead)) {
	redriven := map[key]engine.Dead{}
	redrive := b.redrive
	b.redrive = func(ctx context.Context, ids []string) (int, error) {
		dead, _ := b.dead(ctx, engine.DeadQuery{IDs: ids})
		for _, d := range dead {
			redriven[keyOf(d.Event, d.Lane)] = d
		}
		return redrive(ctx, ids)
	}
	b.twistClaimed(func(j *engine.Claimed) {
		if d, ok := redriven[keyOf(j.Event, j.Lane)]; ok {
			twist(j, d)
		}
	})
}

var laneMutants = []mutant{
	{
		bug: "leased jobs are counted as waiting",
		with: func(b *broken) {
			b.twistEachLane(func(l *engine.LaneStats) { l.Waiting, l.Leased = l.Waiting+l.Leased, 0 })
		},
		caughtBy: []string{"Inspector/counts_what_a_lane_holds"},
	},
	{
		bug: "deferred lanes without jobs are not listed",
		with: func(b *broken) {
			b.hideLanes(func(l engine.LaneStats) bool { return l.Deferred > 0 && l.Waiting+l.Leased+l.Dead == 0 })
		},
		caughtBy: []string{"Inspector/lists_deferred_lanes"},
	},
	{
		bug: "lanes with dead letters only are not listed",
		with: func(b *broken) {
			b.hideLanes(func(l engine.LaneStats) bool { return l.Dead > 0 && l.Waiting+l.Leased == 0 && l.Deferred == 0 })
		},
		caughtBy: []string{"Inspector/lists_lanes_with_dead_letters"},
	},
	{
		bug: "Lanes are in order of their names only",
		with: func(b *broken) {
			b.twistLanes(func(all []engine.LaneStats) []engine.LaneStats {
				slices.SortFunc(all, func(a, b engine.LaneStats) int { return cmp.Compare(a.Lane.Name, b.Lane.Name) })
				return all
			})
		},
		caughtBy: []string{"Inspector/lists_lanes_in_order"},
	},
	{
		bug: "lanes that have nothing are listed",
		with: func(b *broken) {
			b.twistLanes(func(all []engine.LaneStats) []engine.LaneStats {
				for k := range b.s.jobs {
					if !slices.ContainsFunc(all, func(l engine.LaneStats) bool { return l.Lane == k.lane }) {
						all = append(all, engine.LaneStats{Lane: k.lane})
					}
				}
				return all
			})
		},
		caughtBy: []string{"Inspector/forgets_lanes_that_nothing_refers_to", "Many/workers_do_every_job_once"},
	},
	{
		bug: "Oldest is the age of the job due first",
		with: func(b *broken) {
			b.twistEachLane(func(l *engine.LaneStats) {
				page, _ := b.lanePage(context.Background(), engine.LaneQuery{Max: everything})
				for _, p := range page {
					if p.Lane == l.Lane {
						l.Oldest = max(0, -p.Next)
					}
				}
			})
		},
		caughtBy: []string{"Inspector/tells_the_age_of_the_oldest_job"},
	},
	{
		bug: "Later counts all that wait",
		with: func(b *broken) {
			b.twistEachLane(func(l *engine.LaneStats) { l.Later = l.Waiting })
		},
		caughtBy: []string{"Inspector/tells_what_is_due_later"},
	},
	{
		bug: "Overdue is the age of the oldest job",
		with: func(b *broken) {
			b.twistEachLane(func(l *engine.LaneStats) { l.Overdue = l.Oldest })
		},
		caughtBy: []string{"Inspector/tells_what_is_due_later"},
	},
	{
		bug: "Lanes always lists one",
		with: func(b *broken) {
			b.twistLanes(func(all []engine.LaneStats) []engine.LaneStats {
				return append(all, engine.LaneStats{Lane: deliver("one")})
			})
		},
		caughtBy: []string{"Inspector/of_an_empty_store_has_no_lanes"},
	},
}

func (b *broken) twistEachLane(twist func(*engine.LaneStats)) {
	b.twistLanes(func(all []engine.LaneStats) []engine.LaneStats {
		for i := range all {
			twist(&all[i])
		}
		return all
	})
}

func (b *broken) hideLanes(hidden func(engine.LaneStats) bool) {
	b.twistLanes(func(all []engine.LaneStats) []engine.LaneStats { return slices.DeleteFunc(all, hidden) })
}
