package enginetest

import (
	"context"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// What goes wrong where a store goes by wall time: set back, what waits stands
// still; set forward, everything ends.
var clockMutants = []mutant{
	{
		bug:      "delays go by wall time",
		with:     func(b *broken) { b.delaysJump(1) },
		caughtBy: []string{"Clock/set_back_lets_what_waits_be_claimed_in_time", "Clock/set_forward_lets_what_waits_wait", "Clock/set_to_and_fro_is_heeded_each_time"},
	},
	{
		bug:      "leases go by wall time",
		with:     func(b *broken) { b.leasesJump(1) },
		caughtBy: []string{"Clock/set_back_lets_leases_end_in_time", "Clock/set_forward_ends_no_lease", "Clock/set_is_known_to_an_engine_opened_later", "Clock/set_to_and_fro_is_heeded_each_time"},
	},
	{
		bug: "each engine takes a jump up on its own",
		with: func(b *broken) {
			b.delaysJump(-2)
			b.leasesJump(-2)
		},
		caughtBy: []string{"Clock/set_is_heeded_once_by_several_engines"},
	},
	{
		bug: "deferrals go by wall time",
		with: func(b *broken) {
			b.onJump(func(d time.Duration) {
				all, _ := b.lanes(context.Background())
				for _, l := range all {
					if l.Deferred > 0 {
						_ = b.defers(context.Background(), l.Lane, l.Deferred-d)
					}
				}
			})
		},
		caughtBy: []string{"Clock/set_back_lets_deferrals_end_in_time", "Clock/set_forward_keeps_deferrals"},
	},
	{
		bug: "the dedupe window goes by wall time",
		with: func(b *broken) {
			forget, _ := b.forgetting()
			push := b.push
			b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
				if b.s.flag["set back"] { // what was done is not forgotten
					for _, j := range req.Jobs {
						if note := b.s.jobs[keyOf(j.Event, j.Lane)]; note != nil && !note.live {
							return engine.PushResult{Tickets: make([]engine.Ticket, len(req.Jobs))}, nil
						}
					}
				}
				return push(ctx, req)
			}
			b.onJump(func(d time.Duration) {
				b.s.flag["set back"] = d < 0
				for k, note := range b.s.jobs {
					if !note.live && d > 0 {
						forget(&engine.Event{ID: k.id, Channel: k.channel, Replay: k.replay}, k.lane)
					}
				}
			})
		},
		caughtBy: []string{"Clock/set_back_lets_the_dedupe_window_pass_in_time", "Clock/set_forward_keeps_what_was_done"},
	},
	{
		bug: "the age of dead letters goes by wall time",
		with: func(b *broken) {
			var kept []engine.Dead
			b.onJump(func(d time.Duration) {
				kept, _ = b.dead(context.Background(), engine.DeadQuery{})
				if d > 0 {
					for _, dead := range kept {
						_, _ = b.discard(context.Background(), []string{dead.ID})
					}
					kept = nil
				}
			})
			b.twistDead(func(dead []engine.Dead) []engine.Dead {
				for _, k := range kept {
					if !slices.ContainsFunc(dead, func(d engine.Dead) bool { return d.ID == k.ID }) {
						dead = append(dead, k)
					}
				}
				return dead
			})
		},
		caughtBy: []string{"Clock/set_back_lets_dead_letters_go_in_time", "Clock/set_forward_keeps_dead_letters"},
	},
	{
		bug: "dead letters are in the order of wall time",
		with: func(b *broken) {
			b.onJump(func(d time.Duration) { b.s.flag["set back"] = d < 0 })
			b.twistDead(func(dead []engine.Dead) []engine.Dead {
				if b.s.flag["set back"] {
					slices.Reverse(dead)
				}
				return dead
			})
		},
		caughtBy: []string{"Clock/set_back_lets_dead_letters_go_in_time"},
	},
	{
		bug: "registrations go by wall time",
		with: func(b *broken) {
			until := map[[2]string]time.Time{}
			add := b.addSubscriber
			b.addSubscriber = func(ctx context.Context, channel, url string, lease time.Duration) (bool, error) {
				delete(until, [2]string{channel, url})
				if lease > 0 {
					until[[2]string{channel, url}] = time.Now().Add(lease)
				}
				return add(ctx, channel, url, lease)
			}
			b.onJump(func(d time.Duration) {
				for name, t := range until {
					_, _ = add(context.Background(), name[0], name[1], max(time.Until(t)-d, 1))
				}
			})
		},
		caughtBy: []string{"Clock/set_back_lets_registrations_end_in_time", "Clock/set_forward_keeps_registrations"},
	},
	{
		bug: "the age of registrations goes by wall time",
		with: func(b *broken) {
			jumped := time.Duration(0)
			b.onJump(func(d time.Duration) { jumped += d })
			b.twistRemove(func(_, _ string, d time.Duration) time.Duration {
				if d > 0 {
					d -= jumped
				}
				return d
			})
		},
		caughtBy: []string{"Clock/set_forward_keeps_registrations"},
	},
	{
		bug: "attributes go by wall time",
		with: func(b *broken) {
			until := map[[2]string]time.Time{}
			swap := b.swapAttribute
			b.swapAttribute = func(ctx context.Context, group, name string, old, value []byte, keep time.Duration) (bool, error) {
				delete(until, [2]string{group, name})
				if keep > 0 {
					until[[2]string{group, name}] = time.Now().Add(keep)
				}
				return swap(ctx, group, name, old, value, keep)
			}
			b.onJump(func(d time.Duration) {
				for k, t := range until {
					there, _ := b.attribute(context.Background(), k[0], k[1])
					_, _ = swap(context.Background(), k[0], k[1], there.Value, there.Value, max(time.Until(t)-d, 1))
				}
			})
		},
		caughtBy: []string{"Clock/set_back_lets_attributes_end_in_time", "Clock/set_forward_keeps_attributes"},
	},
	{
		bug: "the age of attributes goes by wall time",
		with: func(b *broken) {
			jumped := time.Duration(0)
			b.onJump(func(d time.Duration) { jumped += d })
			b.twistAttributes(func(a *engine.Attribute) { a.Age += jumped })
		},
		caughtBy: []string{"Clock/set_back_lets_attributes_end_in_time", "Clock/set_forward_keeps_attributes"},
	},
	{
		bug: "memory goes by wall time",
		with: func(b *broken) {
			epoch, kept := "", map[string][]byte{}
			remember := b.remember
			b.remember = func(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
				if there := kept[key]; there != nil {
					return there, nil
				}
				value, err := remember(ctx, epoch+key, value, d)
				b.s.text[key] = string(value)
				return value, err
			}
			b.onJump(func(d time.Duration) {
				if d > 0 {
					epoch += "later "
					return
				}
				for key, value := range b.s.text {
					kept[key] = []byte(value)
				}
			})
		},
		caughtBy: []string{"Clock/set_back_lets_memory_end_in_time", "Clock/set_forward_keeps_memory"},
	},
	{
		bug: "the age of jobs goes by wall time",
		with: func(b *broken) {
			jumped := time.Duration(0)
			b.onJump(func(d time.Duration) { jumped += d })
			b.twistClaimed(func(j *engine.Claimed) { j.Age += jumped })
		},
		caughtBy: []string{"Clock/set_forward_ages_nothing"},
	},
}

// onJump does something when wall time jumps.
func (b *broken) onJump(do func(d time.Duration)) {
	before := b.jump
	b.jump = func(d time.Duration) {
		if before != nil {
			before(d)
		}
		do(d)
	}
}

// leasesJump makes leases end earlier by so many times the jump of wall time.
func (b *broken) leasesJump(times time.Duration) {
	b.onJump(func(d time.Duration) {
		if b.s.engines[0] != b {
			return // the first does it for all
		}
		for ticket, note := range b.s.claims {
			if !note.spent {
				after := time.Until(note.until) - times*d
				_, _ = b.settle(context.Background(), []engine.Outcome{{Ticket: ticket, Result: engine.Extend, After: after}})
			}
		}
	})
}

// delaysJump makes what waits due earlier by so many times the jump of wall
// time.
func (b *broken) delaysJump(times time.Duration) {
	ctx := context.Background()
	b.onJump(func(d time.Duration) {
		if b.s.engines[0] != b {
			return // the first does it for all
		}
		all, _ := b.lanes(ctx)
		for _, l := range all {
			if times*d < 0 {
				_ = b.defers(ctx, l.Lane, max(l.Deferred, -times*d))
			}
		}
		if times*d > 0 { // what waits is due: as another job
			var js []engine.Job
			for k, note := range b.s.jobs {
				if note.live && b.lane(k.lane).Waiting > 0 {
					js = append(js, engine.Job{Event: &engine.Event{ID: k.id, Channel: k.channel, Replay: "early"}, Lane: k.lane})
				}
			}
			_, _ = b.push(ctx, engine.PushRequest{Jobs: js})
		}
	})
}
