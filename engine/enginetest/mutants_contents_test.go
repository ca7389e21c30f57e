package enginetest

import (
	"context"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

var contentsMutants = []mutant{
	{
		bug: "registrations have no end",
		with: func(b *broken) {
			registrations := b.registrations
			b.registrations = func(ctx context.Context, channel string) ([]engine.Registration, error) {
				all, err := registrations(ctx, channel)
				for i := range all {
					all[i].Left = 0
				}
				return all, err
			}
		},
		caughtBy: []string{"Contents/tell_when_registrations_end"},
	},
	{
		bug: "the last group is forgotten",
		with: func(b *broken) {
			groups := b.attributeGroups
			b.attributeGroups = func(ctx context.Context) ([]string, error) {
				all, err := groups(ctx)
				return all[:max(0, len(all)-1)], err
			}
		},
		caughtBy: []string{"Contents/name_the_groups_of_attributes"},
	},
	{
		bug: "realms are all there are",
		with: func(b *broken) {
			realms := b.realms
			b.realms = func(ctx context.Context, _ string) ([]string, error) { return realms(ctx, "") }
		},
		caughtBy: []string{"Contents/name_the_realms"},
	},
	{
		bug: "jobs are due sooner than they are",
		with: func(b *broken) {
			b.twistLater(func(j *engine.LaterJob) { j.Due /= 2 })
		},
		caughtBy: []string{"Contents/have_the_jobs_that_are_due_later"},
	},
	{
		bug: "the first page is given again and again",
		with: func(b *broken) {
			later := b.later
			var first []engine.LaterJob
			b.later = func(ctx context.Context, lane engine.Lane, after time.Duration, limit int) ([]engine.LaterJob, error) {
				if first != nil {
					return first, nil
				}
				found, err := later(ctx, lane, after, limit)
				first = slices.Clone(found)
				return found, err
			}
		},
		caughtBy: []string{"Contents/in_pages_have_every_job_once"},
	},
	{
		bug: "what is looked at is claimed",
		with: func(b *broken) {
			later := b.later
			b.later = func(ctx context.Context, lane engine.Lane, after time.Duration, limit int) ([]engine.LaterJob, error) {
				found, err := later(ctx, lane, after, limit)
				for i := range found {
					if _, err := b.settle(ctx, []engine.Outcome{{Ticket: found[i].Ticket, Result: engine.Done}}); err != nil {
						return nil, err
					}
				}
				return found, err
			}
		},
		caughtBy: []string{"Contents/looked_at_are_nobodys"},
	},
	{
		bug: "the tickets of jobs that wait mean nothing",
		with: func(b *broken) {
			b.twistLater(func(j *engine.LaterJob) { j.Ticket = "none" })
		},
		caughtBy: []string{"Contents/settle_a_job_once"},
	},
	{
		bug: "any lane will do",
		with: func(b *broken) {
			later := b.later
			b.later = func(ctx context.Context, lane engine.Lane, after time.Duration, limit int) ([]engine.LaterJob, error) {
				if lane.Name == "" {
					return nil, nil
				}
				return later(ctx, lane, after, limit)
			}
		},
		caughtBy: []string{"Contents/without_a_name_are_refused"},
	},
}

// twistLater changes the jobs that Later returns.
func (b *broken) twistLater(twist func(*engine.LaterJob)) {
	later := b.later
	b.later = func(ctx context.Context, lane engine.Lane, after time.Duration, limit int) ([]engine.LaterJob, error) {
		found, err := later(ctx, lane, after, limit)
		for i := range found {
			twist(&found[i])
		}
		return found, err
	}
}
