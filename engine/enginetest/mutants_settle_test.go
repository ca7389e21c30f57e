package enginetest

import (
	"bytes"
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var settleMutants = []mutant{
	{
		bug: "a ticket can be used twice",
		with: func(b *broken) {
			settle := b.settle
			b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
				settled, err := settle(ctx, outcomes)
				for i := range settled {
					if note := b.s.claims[outcomes[i].Ticket]; note != nil && note.spent && !settled[i].OK {
						settled[i] = engine.Settled{OK: true, Ticket: outcomes[i].Ticket, Follow: make([]engine.Ticket, len(outcomes[i].Follow))}
					}
				}
				return settled, err
			}
		},
		caughtBy: []string{"Settle/twice_changes_nothing", "Settle/twice_in_one_call_changes_nothing"},
	},
	{
		bug: "a stale outcome stops the batch",
		with: func(b *broken) {
			settle := b.settle
			b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
				all := make([]engine.Settled, len(outcomes))
				for i := range outcomes {
					settled, err := settle(ctx, outcomes[i:i+1])
					if err != nil {
						return nil, err
					}
					if all[i] = settled[0]; !all[i].OK {
						break
					}
				}
				return all, nil
			}
		},
		caughtBy: []string{"Settle/of_good_tickets_works_beside_stale_ones"},
	},
	{
		bug: "a ticket that is unknown settles some job",
		with: func(b *broken) {
			b.twistOutcomes(func(o *engine.Outcome) {
				if b.s.claims[o.Ticket] != nil {
					return
				}
				for t, note := range b.s.claims {
					if !note.spent {
						o.Ticket = t
						return
					}
				}
			})
		},
		caughtBy: []string{"Settle/of_a_garbage_ticket_changes_nothing"},
	},
	{
		bug:      "a ticket works through one engine only",
		with:     func(b *broken) { b.refuse(func(_ engine.Outcome, note *claimNote) bool { return note.by != b }) },
		caughtBy: []string{"Settle/works_through_another_engine"},
	},
	{
		bug: "Retry ignores After",
		with: func(b *broken) {
			b.twistOutcomes(func(o *engine.Outcome) {
				if o.Result == engine.Retry {
					o.After = 0
				}
			})
		},
		caughtBy: []string{"Settle/Retry_makes_the_job_due_later"},
	},
	{
		bug: "histories are stored as text",
		with: func(b *broken) {
			b.twistOutcomes(func(o *engine.Outcome) { o.History = bytes.ToValidUTF8(o.History, []byte("?")) })
		},
		caughtBy: []string{"Settle/keeps_the_bytes_of_a_history"},
	},
	{
		bug: "Done and Bury only postpone the job",
		with: func(b *broken) {
			b.twistOutcomes(func(o *engine.Outcome) {
				if o.Result == engine.Done || o.Result == engine.Bury {
					o.Result, o.After = engine.Retry, brief/2
				}
			})
		},
		caughtBy: []string{"Settle/Done_removes_the_job", "Settle/Bury_takes_the_job_out_of_its_lane"},
	},
	{
		bug: "Release ignores After",
		with: func(b *broken) {
			b.twistOutcomes(func(o *engine.Outcome) {
				if o.Result == engine.Release {
					o.After = 0
				}
			})
		},
		caughtBy: []string{"Settle/Release_gives_the_job_back_unchanged"},
	},
	{
		bug:      "Release counts an attempt",
		with:     func(b *broken) { b.releaseIsRetry(1) },
		caughtBy: []string{"Settle/Release_gives_the_job_back_unchanged"},
	},
	{
		bug:      "a claim that ended with Release counts",
		with:     func(b *broken) { b.releaseIsRetry(0) },
		caughtBy: []string{"Settle/Release_gives_the_job_back_unchanged"},
	},
}

// releaseIsRetry gives jobs back by a Retry that leaves them as they were, but
// for so many attempts more.
func (b *broken) releaseIsRetry(attempts int) {
	b.twistOutcomes(func(o *engine.Outcome) {
		if note := b.s.claims[o.Ticket]; o.Result == engine.Release && note != nil {
			o.Result, o.Attempt, o.History = engine.Retry, note.attempt+attempts, note.history
		}
	})
}

var leaseMutants = []mutant{
	{
		bug:      "leases do not end",
		with:     func(b *broken) { b.twistLeases(func(d time.Duration) time.Duration { return d + 10*long }) },
		caughtBy: []string{"Push/under_a_lease_hides_the_job_until_it_ends", "Lease/keeps_others_away_until_it_ends", "Lease/taken_over_and_settled_makes_the_old_ticket_stale", "Lease/taken_over_elsewhere_makes_the_old_ticket_stale", "Shared/engines_take_over_when_a_lease_ends", "Context/that_ends_leaves_the_engine_usable", "Many/workers_do_every_job_once", "Many/workers_of_two_engines_do_every_job_once"},
	},
	{
		bug:      "leased jobs stay due",
		with:     func(b *broken) { b.twistLeases(func(time.Duration) time.Duration { return 1 }) },
		caughtBy: []string{"Claim/hands_out_each_job_once", "Lease/is_had_by_one_of_many", "Shared/engines_never_have_the_same_job", "Lease/extended_keeps_others_away"},
	},
	{
		bug: "the old ticket of a claim keeps working",
		with: func(b *broken) {
			b.twistOutcomes(func(o *engine.Outcome) {
				note := b.s.claims[o.Ticket]
				if note == nil || note.spent {
					return
				}
				newest := note
				for t, other := range b.s.claims {
					if !other.spent && keyOf(other.event, other.lane) == keyOf(note.event, note.lane) && other.until.After(newest.until) {
						o.Ticket, newest = t, other
					}
				}
			})
		},
		caughtBy: []string{"Lease/taken_over_makes_the_old_ticket_stale", "Lease/taken_over_and_settled_makes_the_old_ticket_stale", "Lease/taken_over_elsewhere_makes_the_old_ticket_stale"},
	},
	{
		bug: "a ticket is stale when the lease ends",
		with: func(b *broken) {
			b.refuse(func(_ engine.Outcome, note *claimNote) bool { return note.until.Before(time.Now()) })
		},
		caughtBy: []string{"Lease/that_ended_does_not_matter_before_a_takeover"},
	},
	{
		bug: "Extend keeps the ticket",
		with: func(b *broken) {
			b.twistOutcomes(func(o *engine.Outcome) {
				for now := b.s.ticket[o.Ticket]; now != ""; now = b.s.ticket[o.Ticket] {
					o.Ticket = now
				}
			})
			settle := b.settle
			b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
				settled, err := settle(ctx, outcomes)
				for i, s := range settled {
					if s.OK && outcomes[i].Result == engine.Extend {
						was := outcomes[i].Ticket
						for b.s.ticket[was] != "" {
							was = b.s.ticket[was]
						}
						b.s.ticket[was], settled[i].Ticket = s.Ticket, outcomes[i].Ticket
					}
				}
				return settled, err
			}
		},
		caughtBy: []string{"Lease/extended_makes_the_old_ticket_stale"},
	},
	{
		bug: "Extend cannot shorten a lease",
		with: func(b *broken) {
			b.twistOutcomes(func(o *engine.Outcome) {
				if note := b.s.claims[o.Ticket]; o.Result == engine.Extend && note != nil {
					o.After = max(o.After, time.Until(note.until))
				}
			})
		},
		caughtBy: []string{"Lease/extended_may_end_earlier"},
	},
}

// twistLeases changes how long leases are.
func (b *broken) twistLeases(twist func(time.Duration) time.Duration) {
	b.twistRequests(func(r *engine.ClaimRequest) {
		if r.Lease > 0 {
			r.Lease = twist(r.Lease)
		}
	})
	b.twistJobs(func(j *engine.Job) {
		if j.Lease > 0 {
			j.Lease = twist(j.Lease)
		}
	})
	b.twistOutcomes(func(o *engine.Outcome) {
		if o.Result == engine.Extend {
			o.After = twist(o.After)
		}
	})
}

var followMutants = []mutant{
	{
		bug: "an invalid follow-up is found when the outcome has taken effect",
		with: func(b *broken) {
			settle := b.settle
			b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
				settled, err := settle(ctx, outcomes)
				if err == nil {
					return settled, nil
				}
				for i, o := range outcomes {
					for k := range o.Follow {
						some := o
						some.Follow = o.Follow[:k+1]
						if engine.ValidateOutcomes([]engine.Outcome{some}) != nil {
							some.Follow = o.Follow[:k]
							_, _ = settle(ctx, append(outcomes[:i:i], some))
							return nil, err
						}
					}
				}
				return nil, err
			}
		},
		caughtBy: []string{"Follow/ups_that_are_invalid_stop_the_outcome"},
	},
	{
		bug: "follow-ups of stale outcomes appear",
		with: func(b *broken) {
			settle := b.settle
			b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
				settled, err := settle(ctx, outcomes)
				for i, s := range settled {
					for _, f := range outcomes[i].Follow {
						if !s.OK && f.Event != nil {
							_, _ = b.push(ctx, engine.PushRequest{Jobs: []engine.Job{f}})
						}
					}
				}
				return settled, err
			}
		},
		caughtBy: []string{"Follow/ups_of_a_stale_outcome_do_not_appear"},
	},
	{
		bug: "follow-ups beyond the thousandth are lost",
		with: func(b *broken) {
			settle := b.settle
			b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
				cut := make([]engine.Outcome, len(outcomes))
				for i, o := range outcomes {
					o.Follow = o.Follow[:min(len(o.Follow), 1000)]
					cut[i] = o
				}
				settled, err := settle(ctx, cut)
				for i := range settled {
					if n := len(outcomes[i].Follow) - len(settled[i].Follow); settled[i].OK && n > 0 {
						settled[i].Follow = append(settled[i].Follow, make([]engine.Ticket, n)...)
					}
				}
				return settled, err
			}
		},
		caughtBy: []string{"Follow/ups_may_be_many"},
	},
	{
		bug:      "follow-ups are stored without lease and delay",
		with:     func(b *broken) { b.twistFollow(func(f *engine.Job, _ *claimNote) { f.Lease, f.Delay = 0, 0 }) },
		caughtBy: []string{"Follow/ups_under_a_lease_give_tickets_that_work", "Follow/ups_keep_their_delay"},
	},
	{
		bug: "follow-ups lose the event of their job",
		with: func(b *broken) {
			b.twistFollow(func(f *engine.Job, note *claimNote) {
				if f.Event == nil {
					f.Event = &engine.Event{ID: note.event.ID}
				}
			})
		},
		caughtBy: []string{"Follow/ups_inherit_the_event", "Follow/ups_appear_with_every_result"},
	},
	{
		bug:      "follow-ups are always about the job's own event",
		with:     func(b *broken) { b.twistFollow(func(f *engine.Job, _ *claimNote) { f.Event = nil }) },
		caughtBy: []string{"Follow/ups_may_have_an_event_of_their_own"},
	},
}

// twistFollow changes the follow-ups of outcomes with a ticket that is known.
func (b *broken) twistFollow(twist func(*engine.Job, *claimNote)) {
	b.twistOutcomes(func(o *engine.Outcome) {
		note := b.s.claims[o.Ticket]
		if note == nil {
			return
		}
		follow := make([]engine.Job, len(o.Follow))
		for i, f := range o.Follow {
			twist(&f, note)
			follow[i] = f
		}
		o.Follow = follow
	})
}

var deferMutants = []mutant{
	{
		bug: "a deferral is known to one engine only",
		with: func(b *broken) {
			until := map[engine.Lane]time.Time{}
			defers := b.defers
			b.defers = func(ctx context.Context, l engine.Lane, d time.Duration) error {
				until[l] = time.Now().Add(d)
				return defers(ctx, l, 0)
			}
			b.twistRequests(func(r *engine.ClaimRequest) {
				limits := map[string]int{}
				for name, n := range r.Limits {
					limits[name] = n
				}
				for l, t := range until {
					if l.Kind == r.Kind && time.Now().Before(t) {
						limits[l.Name] = 0
					}
				}
				r.Limits = limits
			})
		},
		caughtBy: []string{"Defer/keeps_other_engines_out"},
	},
	{
		bug: "a deferral cannot be shortened",
		with: func(b *broken) {
			b.twistDeferrals(func(l engine.Lane, d time.Duration) bool { return d <= 0 || d >= b.lane(l).Deferred })
		},
		caughtBy: []string{"Defer/replaces_the_call_before"},
	},
	{
		bug: "a lane without jobs cannot be deferred",
		with: func(b *broken) {
			b.twistDeferrals(func(l engine.Lane, _ time.Duration) bool { return b.lane(l).Waiting+b.lane(l).Leased > 0 })
		},
		caughtBy: []string{"Defer/of_a_lane_without_jobs_holds"},
	},
	{
		bug:      "Defer does nothing",
		with:     func(b *broken) { b.twistDeferrals(func(engine.Lane, time.Duration) bool { return false }) },
		caughtBy: []string{"Defer/keeps_everyone_out_until_it_is_over", "Defer/holds_when_the_lane_runs_empty"},
	},
	{
		bug:      "a deferral is not lifted by zero",
		with:     func(b *broken) { b.twistDeferrals(func(_ engine.Lane, d time.Duration) bool { return d > 0 }) },
		caughtBy: []string{"Defer/is_lifted_by_zero_or_less"},
	},
	{
		bug: "Defer holds for lanes of every kind",
		with: func(b *broken) {
			defers := b.defers
			b.defers = func(ctx context.Context, l engine.Lane, d time.Duration) error {
				for _, k := range kinds {
					if err := defers(ctx, engine.Lane{Kind: k, Name: l.Name}, d); err != nil {
						return err
					}
				}
				return nil
			}
		},
		caughtBy: []string{"Defer/leaves_other_lanes_alone"},
	},
	{
		bug: "nothing can be pushed to a deferred lane",
		with: func(b *broken) {
			push := b.push
			b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
				for _, j := range req.Jobs {
					if b.lane(j.Lane).Deferred > 0 {
						return engine.PushResult{Tickets: make([]engine.Ticket, len(req.Jobs))}, nil
					}
				}
				return push(ctx, req)
			}
		},
		caughtBy: []string{"Defer/lets_jobs_be_pushed"},
	},
	{
		bug: "a job of a deferred lane cannot be settled",
		with: func(b *broken) {
			b.refuse(func(_ engine.Outcome, note *claimNote) bool { return b.lane(note.lane).Deferred > 0 })
		},
		caughtBy: []string{"Defer/lets_claimed_jobs_be_settled"},
	},
	{
		bug: "deferrals are lost in a crash",
		with: func(b *broken) {
			b.crash = func() {
				all, _ := b.lanes(context.Background())
				for _, l := range all {
					_ = b.defers(context.Background(), l.Lane, 0)
				}
			}
		},
		caughtBy: []string{"Close/is_not_needed_to_keep_everything"},
	},
}

// twistDeferrals makes Defer work only if a mutant says so.
func (b *broken) twistDeferrals(works func(engine.Lane, time.Duration) bool) {
	defers := b.defers
	b.defers = func(ctx context.Context, l engine.Lane, d time.Duration) error {
		if l.Validate() == nil && !works(l, d) {
			return nil
		}
		return defers(ctx, l, d)
	}
}
