package enginetest

import (
	"bytes"
	"context"
	"slices"

	"github.com/watermarkchurch/toot-go/engine"
)

var pushMutants = []mutant{
	{
		bug: "Push stores the jobs before an invalid one",
		with: func(b *broken) {
			push := b.push
			b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
				res, err := push(ctx, req)
				for i := range req.Jobs {
					before := engine.PushRequest{Jobs: req.Jobs[:i]}
					if valid := (&engine.PushRequest{Jobs: req.Jobs[i : i+1]}).Validate(); err != nil && valid != nil {
						_, _ = push(ctx, before)
						break
					}
				}
				return res, err
			}
		},
		caughtBy: []string{"Push/of_an_invalid_job_stores_nothing"},
	},
	{
		bug:      "event ID and lane are joined by a colon",
		with:     merging(func(k key) any { return k.id + ":" + k.lane.Name }),
		caughtBy: []string{"Push/tells_identities_apart"},
	},
	{
		bug:      "the lane is no part of the identity",
		with:     merging(func(k key) any { return k.id }),
		caughtBy: []string{"Push/of_the_same_event_to_another_lane_is_another_job", "Push/stores_every_job_of_a_call", "Follow/ups_inherit_the_event"},
	},
	{
		bug: "bodies are stored as text",
		with: func(b *broken) {
			b.twistEvents(func(e *engine.Event) { e.Body = bytes.ToValidUTF8(e.Body, []byte("\uFFFD")) })
		},
		caughtBy: []string{"Push/keeps_every_byte"},
	},
	{
		bug:      "the Meta of events is lost",
		with:     func(b *broken) { b.twistEvents(func(e *engine.Event) { e.Meta = nil }) },
		caughtBy: []string{"Push/keeps_every_byte"},
	},
	{
		bug:      "bodies are cut after 64 KiB",
		with:     func(b *broken) { b.twistEvents(func(e *engine.Event) { e.Body = e.Body[:min(len(e.Body), 1<<16)] }) },
		caughtBy: []string{"Push/keeps_a_body_of_1_MiB"},
	},
	{
		bug:       "jobs that are done are forgotten",
		retention: func(r *engine.Retention) { r.Dedupe = 1 },
		caughtBy:  []string{"Push/again_is_a_no_op_when_the_job_is_done", "Push/again_is_a_no_op_through_another_engine"},
	},
	{
		bug:       "jobs that are done are never forgotten",
		retention: func(r *engine.Retention) { r.Dedupe = long },
		caughtBy:  []string{"Push/again_is_a_job_when_the_window_has_passed"},
	},
	{
		bug: "jobs that are buried are forgotten",
		with: func(b *broken) {
			forget, _ := b.forgetting()
			b.onSettled(func(o engine.Outcome, note *claimNote, _ *engine.Settled) {
				if o.Result == engine.Bury {
					forget(note.event, note.lane)
				}
			})
		},
		caughtBy: []string{"Push/again_is_a_no_op_when_the_job_is_buried", "Close/keeps_dead_letters"},
	},
	{
		bug: "Push stores a job again that is there",
		with: func(b *broken) {
			forget, mark := b.forgetting()
			b.twistJobs(func(j *engine.Job) {
				if j.Event == nil {
					return
				}
				k := keyOf(j.Event, j.Lane)
				for other, note := range b.s.jobs {
					if note.live && other.lane == k.lane && other.id == k.id {
						forget(j.Event, j.Lane)
						j.Event = mark(j.Event, j.Lane)
						return
					}
				}
				if b.s.jobs[k] == nil { // perhaps another of this call is the same
					b.s.jobs[k] = &jobNote{by: b, live: true}
				}
			})
			b.fillFollow()
		},
		caughtBy: []string{
			"Push/again_is_a_no_op_while_the_job_waits", "Push/again_is_a_no_op_while_the_job_is_leased", "Push/again_is_a_no_op_while_the_job_is_to_be_retried",
			"Push/of_a_job_twice_in_a_call_stores_it_once", "Push/by_many_at_once_stores_a_job_once", "Push/returns_its_tickets_in_order",
			"Push/again_is_a_no_op_through_another_engine", "Follow/ups_that_are_already_there_are_left_alone",
		},
	},
	{
		bug:      "Delay is ignored",
		with:     func(b *broken) { b.twistJobs(func(j *engine.Job) { j.Delay = 0 }) },
		caughtBy: []string{"Push/keeps_a_delay"},
	},
	{
		bug: "a lease on Push is ignored",
		with: func(b *broken) {
			push := b.push
			b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
				req.Jobs = slices.Clone(req.Jobs)
				for i := range req.Jobs {
					req.Jobs[i].Lease = 0
				}
				return push(ctx, req)
			}
		},
		caughtBy: []string{"Push/under_a_lease_gives_a_ticket_that_works"},
	},
	{
		bug: "an event is deleted with the first of its jobs",
		with: func(b *broken) {
			left := func(e *engine.Event) *engine.Event {
				if b.s.flag[e.ID] {
					return &engine.Event{ID: e.ID}
				}
				return e
			}
			b.onSettled(func(o engine.Outcome, note *claimNote, _ *engine.Settled) {
				if o.Result == engine.Done {
					b.s.flag[note.event.ID] = true
				}
			})
			b.twistClaimed(func(j *engine.Claimed) { j.Event = left(j.Event) })
			b.twistDead(func(dead []engine.Dead) []engine.Dead {
				for i := range dead {
					dead[i].Event = left(dead[i].Event)
				}
				return dead
			})
		},
		caughtBy: []string{"Push/keeps_an_event_while_any_job_needs_it", "DeadLetters/keep_their_event", "Shared/engines_keep_an_event_that_the_other_needs"},
	},
	{
		bug: "calls about nothing fail",
		with: func(b *broken) {
			push, settle := b.push, b.settle
			b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
				if len(req.Jobs) == 0 {
					return engine.PushResult{}, engine.ErrInvalid
				}
				return push(ctx, req)
			}
			b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
				if len(outcomes) == 0 {
					return nil, engine.ErrInvalid
				}
				return settle(ctx, outcomes)
			}
		},
		caughtBy: []string{"Push/of_nothing_is_fine", "Settle/of_nothing_is_fine"},
	},
	{
		bug: "jobs are known to one engine only",
		with: func(b *broken) {
			b.choose(func(req engine.ClaimRequest, js []engine.Claimed) []engine.Claimed {
				return first(req, slices.DeleteFunc(js, func(j engine.Claimed) bool { return b.s.jobs[keyOf(j.Event, j.Lane)].by != b }))
			})
		},
		caughtBy: []string{"Shared/engines_claim_what_the_other_pushed"},
	},
}

// merging takes jobs for the same that are told apart by their identities
// only, not by what of returns.
func merging(of func(key) any) func(*broken) {
	return func(b *broken) {
		b.twistJobs(func(j *engine.Job) {
			if j.Event == nil {
				return
			}
			k := keyOf(j.Event, j.Lane)
			if there, ok := b.s.same[of(k)]; ok && there != k {
				// It is taken for that one, which is there.
				j.Event, j.Lane = &engine.Event{ID: there.id, Channel: there.channel, Replay: there.replay}, there.lane
				return
			}
			if b.s.same == nil {
				b.s.same = map[any]key{}
			}
			b.s.same[of(k)] = k
		})
		b.fillFollow()
	}
}
