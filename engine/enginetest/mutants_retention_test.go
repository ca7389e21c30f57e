package enginetest

import (
	"context"

	"github.com/watermarkchurch/toot-go/engine"
)

var retentionMutants = []mutant{
	{
		bug:       "the defaults are written where nothing was given",
		retention: func(r *engine.Retention) { *r = r.WithDefaults() },
		caughtBy:  []string{"Retention/is_changed_field_by_field", "Retention/stays_when_all_engines_are_closed"},
	},
	{
		bug: "a store without a retention forgets at once",
		with: func(b *broken) {
			b.retention = func(context.Context) (engine.Retention, error) { return engine.Retention{}, nil }
		},
		caughtBy: []string{"Retention/is_the_default_where_nobody_said_otherwise"},
	},
	{
		bug:       "what an engine was opened with is never written",
		retention: func(r *engine.Retention) { *r = engine.Retention{} },
		caughtBy:  []string{"Retention/is_what_an_app_that_runs_was_given"},
	},
	{
		bug:  "Open writes what it is given",
		with: func(b *broken) { b.s.write(b.r) },
		caughtBy: []string{
			"Retention/is_not_changed_by_looking", "Retention/decides_how_long_every_engine_remembers_what_is_done",
			"Retention/decides_how_long_every_engine_keeps_dead_letters",
		},
	},
	{
		bug:      "Open writes the defaults where nothing was given",
		with:     func(b *broken) { b.s.write(b.r.WithDefaults()) },
		caughtBy: []string{"Retention/stays_when_all_engines_are_closed"},
	},
	{
		bug: "each engine goes by its own values",
		with: func(b *broken) {
			own := b.r.WithDefaults()
			b.retention = func(context.Context) (engine.Retention, error) { return own, nil }
			b.twistJobs(func(*engine.Job) { b.s.write(own) })
			b.twistRequests(func(*engine.ClaimRequest) { b.s.write(own) })
			b.twistOutcomes(func(*engine.Outcome) { b.s.write(own) })
			dead := b.dead
			b.dead = func(ctx context.Context, q engine.DeadQuery) ([]engine.Dead, error) {
				b.s.write(own)
				return dead(ctx, q)
			}
		},
		caughtBy: []string{
			"Retention/is_known_to_every_engine", "Retention/decides_how_long_every_engine_remembers_what_is_done",
			"Retention/decides_how_long_every_engine_keeps_dead_letters",
		},
	},
}

// write writes a retention into the store, as an engine does that claims.
func (s *brokenStore) write(r engine.Retention) {
	e := s.inner.Open(r)
	_, _ = e.Claim(context.Background(), engine.ClaimRequest{Kind: engine.Deliver, Max: 1, MaxPerLane: 1, Lease: long, Only: []string{"no lane"}})
	_ = e.Close()
}
