package enginetest

import (
	"github.com/watermarkchurch/toot-go/engine"
)

var pastMutants = []mutant{
	{
		bug:      "the past of a job is ignored",
		with:     func(b *broken) { b.twistJobs(func(j *engine.Job) { j.Past = nil }) },
		caughtBy: []string{"Past/of_a_retry_makes_the_job_wait_with_it", "Past/of_a_dead_job_makes_a_dead_letter", "Past/is_that_of_one_job_of_an_event", "Past/that_can_not_be_is_refused"},
	},
	{
		bug: "the history of a past is lost",
		with: func(b *broken) {
			b.twistPasts(func(o *engine.Outcome) { o.History = nil })
		},
		caughtBy: []string{"Past/of_a_retry_makes_the_job_wait_with_it", "Past/of_a_dead_job_makes_a_dead_letter"},
	},
	{
		bug: "a job with a past waits as long as a new one",
		with: func(b *broken) {
			b.twistPasts(func(o *engine.Outcome) { o.After = 0 })
		},
		caughtBy: []string{"Past/of_a_retry_makes_the_job_wait_with_it"},
	},
	{
		bug: "a release elsewhere counts as a claim",
		with: func(b *broken) {
			b.twistPasts(func(o *engine.Outcome) {
				if o.Result == engine.Release {
					o.Result = engine.Retry
				}
			})
		},
		caughtBy: []string{"Past/of_a_release_was_no_claim"},
	},
	{
		bug:      "a job with a past is as young as any",
		with:     func(b *broken) { b.twistJobs(func(j *engine.Job) { j.Age = 0 }) },
		caughtBy: []string{"Past/counts_from_when_the_job_was_pushed_elsewhere"},
	},
	{
		bug: "what is dead elsewhere is tried once more",
		with: func(b *broken) {
			b.twistPasts(func(o *engine.Outcome) {
				if o.Result == engine.Bury {
					o.Result = engine.Retry
				}
			})
		},
		caughtBy: []string{"Past/of_a_dead_job_makes_a_dead_letter", "Past/is_that_of_one_job_of_an_event"},
	},
	{
		bug: "a job with a past is stored though it is there",
		with: func(b *broken) {
			forget, mark := b.forgetting()
			b.twistJobs(func(j *engine.Job) {
				if j.Past != nil {
					forget(j.Event, j.Lane)
					j.Event = mark(j.Event, j.Lane)
				}
			})
		},
		caughtBy: []string{"Past/of_a_job_that_is_there_changes_nothing"},
	},
}

// twistPasts changes the pasts of jobs that are pushed.
func (b *broken) twistPasts(twist func(*engine.Outcome)) {
	b.twistJobs(func(j *engine.Job) {
		if j.Past != nil {
			past := *j.Past
			twist(&past)
			j.Past = &past
		}
	})
}
