package enginetest

import (
	"bytes"
	"context"
	"errors"

	"github.com/watermarkchurch/toot-go/engine"
)

var releaseMutants = []mutant{
	{
		bug: "Release puts a job behind the others",
		with: func(b *broken) {
			b.releaseMoves(func(*claimNote) bool { return true })
		},
		caughtBy: []string{
			"Release/keeps_the_place_in_the_lane", "Release/of_a_job_pushed_under_a_lease_keeps_its_place", "Release/of_a_follow_up_under_a_lease_keeps_its_place",
			"Release/after_Extend_keeps_the_place", "Release/keeps_the_lane_ahead_of_younger_ones", "Release/through_another_engine_keeps_the_place",
		},
	},
	{
		bug: "Release of a job pushed under a lease puts it behind the others",
		with: func(b *broken) {
			b.releaseMoves(func(note *claimNote) bool { return note.pushed })
		},
		caughtBy: []string{"Release/of_a_job_pushed_under_a_lease_keeps_its_place", "Release/of_a_follow_up_under_a_lease_keeps_its_place"},
	},
	{
		bug: "Release after an Extend puts a job behind the others",
		with: func(b *broken) {
			b.releaseMoves(func(note *claimNote) bool { return note.extended })
		},
		caughtBy: []string{"Release/after_Extend_keeps_the_place"},
	},
	{
		bug: "Release through another engine puts a job behind the others",
		with: func(b *broken) {
			b.releaseMoves(func(note *claimNote) bool { return note.by != b })
		},
		caughtBy: []string{"Release/through_another_engine_keeps_the_place"},
	},
	{
		bug: "released jobs are in the order of their releases",
		with: func(b *broken) {
			// The first of several keeps its place, as those do that are alone.
			out := func() (n int) {
				for _, note := range b.s.claims {
					if !note.spent {
						n++
					}
				}
				return n
			}
			b.releaseMoves(func(*claimNote) bool { return out() > 1 })
		},
		caughtBy: []string{"Release/of_several_keeps_their_order"},
	},
	{
		bug: "Release puts a job where it was pushed",
		with: func(b *broken) {
			// As if it had come before all others.
			b.choose(func(req engine.ClaimRequest, js []engine.Claimed) []engine.Claimed {
				var front, back []engine.Claimed
				for _, j := range js {
					if b.s.flag[keyOf(j.Event, j.Lane)] && j.Event.ID == "1" {
						front = append(front, j)
					} else {
						back = append(back, j)
					}
				}
				return first(req, append(front, back...))
			})
			b.onSettled(func(o engine.Outcome, note *claimNote, _ *engine.Settled) {
				if o.Result == engine.Release {
					b.s.flag[keyOf(note.event, note.lane)] = true
				}
			})
		},
		caughtBy: []string{"Release/after_a_Retry_keeps_the_place_that_the_Retry_gave", "Release/after_a_takeover_keeps_the_place_that_the_lost_lease_left", "Release/with_After_moves_the_job_back"},
	},
}

// releaseMoves makes Release move the jobs of which a mutant says so to the
// end of their lanes.
func (b *broken) releaseMoves(moves func(*claimNote) bool) {
	b.twistOutcomes(func(o *engine.Outcome) {
		if note := b.s.claims[o.Ticket]; o.Result == engine.Release && o.After <= 0 && note != nil && moves(note) {
			o.After = 1
		}
	})
}

var extendMutants = []mutant{
	{
		bug:      "Extend ignores the History",
		with:     func(b *broken) { b.twistNotes(func(*engine.Outcome) []byte { return nil }) },
		caughtBy: []string{"Extend/with_a_History_replaces_it", "Extend/with_an_empty_History_clears_it", "Extend/notes_for_a_job_pushed_under_a_lease", "Extend/notes_what_Release_keeps", "Extend/with_follow_ups_notes_both_in_one_step", "Extend/by_one_engine_is_seen_by_another"},
	},
	{
		bug: "Extend without a History clears it",
		with: func(b *broken) {
			b.twistNotes(func(o *engine.Outcome) []byte { return append([]byte{}, o.History...) })
		},
		caughtBy: []string{"Extend/without_a_History_keeps_it"},
	},
	{
		bug: "an empty History of Extend is taken for none",
		with: func(b *broken) {
			b.twistNotes(func(o *engine.Outcome) []byte { return append([]byte(nil), o.History...) })
		},
		caughtBy: []string{"Extend/with_an_empty_History_clears_it"},
	},
	{
		bug: "the History of Extend is stored as text",
		with: func(b *broken) {
			b.twistNotes(func(o *engine.Outcome) []byte { return bytes.ToValidUTF8(o.History, []byte("?")) })
		},
		caughtBy: []string{"Extend/keeps_every_byte_of_a_History"},
	},
	{
		bug: "Extend replaces the attempt, too",
		with: func(b *broken) {
			attempts := map[key]int{}
			b.onSettled(func(o engine.Outcome, note *claimNote, _ *engine.Settled) {
				if o.Result == engine.Extend {
					attempts[keyOf(note.event, note.lane)] = o.Attempt
				}
			})
			b.twistClaimed(func(j *engine.Claimed) {
				if n, ok := attempts[keyOf(j.Event, j.Lane)]; ok {
					j.Attempt = n
				}
			})
		},
		caughtBy: []string{"Extend/with_a_History_replaces_it", "Extend/without_a_History_keeps_it"},
	},
	{
		bug: "what Extend noted is lost with Release",
		with: func(b *broken) {
			b.twistOutcomes(func(o *engine.Outcome) {
				if note := b.s.claims[o.Ticket]; note != nil && note.extended && o.Result == engine.Release {
					o.Result, o.Attempt, o.History = engine.Retry, note.attempt, note.history
				}
			})
		},
		caughtBy: []string{"Extend/notes_what_Release_keeps"},
	},
	{
		bug: "Extend of a stale ticket notes its History",
		with: func(b *broken) {
			settle := b.settle
			b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
				settled, err := settle(ctx, outcomes)
				for i, o := range outcomes {
					if note := b.s.claims[o.Ticket]; err == nil && note != nil && !settled[i].OK && o.Result == engine.Extend {
						b.s.text[note.event.ID] = string(o.History)
					}
				}
				return settled, err
			}
			b.twistClaimed(func(j *engine.Claimed) {
				if h, ok := b.s.text[j.Event.ID]; ok {
					j.History = []byte(h)
				}
			})
		},
		caughtBy: []string{"Extend/of_a_stale_ticket_notes_nothing"},
	},
	{
		bug: "Extend has no follow-ups",
		with: func(b *broken) {
			settle := b.settle
			b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
				without := append([]engine.Outcome(nil), outcomes...)
				for i := range without {
					if without[i].Result == engine.Extend {
						without[i].Follow = nil
					}
				}
				settled, err := settle(ctx, without)
				for i := range settled {
					settled[i].Follow = append(settled[i].Follow, make([]engine.Ticket, len(outcomes[i].Follow)-len(without[i].Follow))...)
				}
				return settled, err
			}
		},
		caughtBy: []string{"Extend/with_follow_ups_notes_both_in_one_step", "Follow/ups_appear_with_every_result"},
	},
}

// twistNotes changes the History that Extend is given.
func (b *broken) twistNotes(twist func(*engine.Outcome) []byte) {
	b.twistOutcomes(func(o *engine.Outcome) {
		if o.Result == engine.Extend {
			o.History = twist(o)
		}
	})
}

var pingMutants = []mutant{
	{
		bug:      "Ping fails",
		with:     func(b *broken) { b.ping = func(context.Context) error { return errors.New("no answer") } },
		caughtBy: []string{"Ping/answers_while_the_engine_is_open"},
	},
	{
		bug:      "Ping is answered from memory",
		with:     func(b *broken) { b.ping = func(context.Context) error { return nil } },
		caughtBy: []string{"Ping/returns_ErrClosed_after_Close", "Ping/returns_the_error_of_a_context_that_has_ended", "Close/ends_every_method_with_ErrClosed", "Context/that_has_ended_ends_every_call"},
	},
	{
		bug: "Ping stores a job",
		with: func(b *broken) {
			b.ping = func(ctx context.Context) error {
				_, err := b.push(ctx, engine.PushRequest{Jobs: []engine.Job{job("ping", deliver("lane"))}})
				return err
			}
		},
		caughtBy: []string{"Ping/answers_while_the_engine_is_open"},
	},
}
