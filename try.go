package toot

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/lanes"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// engineTimeout bounds the engine's calls that no caller's context bounds.
const engineTimeout = 30 * time.Second

// lease is how long a claimed job is this process's own before the lease has
// to be extended: a request and its settlement fit well.
func (o *Options) lease() time.Duration {
	return max(2*o.RequestTimeout, 2*time.Second)
}

// beginTry begins the step of trying a job, and returns the trace's context
// that goes with it. ended ends the step once it is known what becomes of the
// job.
func (c *core) beginTry(ctx context.Context, name StepName, l *lanes.Lane, j *lanes.Job) (context.Context, http.Header) {
	event := j.Event
	var trace http.Header
	if len(event.Meta) > 0 || c.opts.Observer != nil {
		trace = wire.DecodeTrace(event.Meta)
	}
	if c.opts.Observer != nil {
		var end func(StepResult)
		ctx, end = c.begin(ctx, &Step{
			Name: name, EventID: event.ID, Channel: event.Channel, Body: event.Body, Lane: l.Shown(),
			Attempt: j.Attempt + 1, Age: j.Age(), Header: trace,
		})
		j.Data = end
	}
	return ctx, trace
}

// ended returns what tells the log and the observer of a try.
func (c *core) ended(kind engine.Kind) func(*lanes.Lane, []*lanes.Job, []lanes.Verdict, []engine.Outcome) {
	return func(l *lanes.Lane, jobs []*lanes.Job, verdicts []lanes.Verdict, outcomes []engine.Outcome) {
		debug := c.log.Enabled(context.Background(), slog.LevelDebug)
		for i, j := range jobs {
			if debug || outcomes[i].Result == engine.Bury {
				c.logTry(kind, l, j, &verdicts[i], &outcomes[i])
			}
			if end, ok := j.Data.(func(StepResult)); ok {
				end(stepResult(&verdicts[i], &outcomes[i]))
			}
		}
	}
}

// stepResult is what the observer is told of a try.
func stepResult(v *lanes.Verdict, out *engine.Outcome) StepResult {
	r := StepResult{Outcome: OutcomeRetry, Status: v.Status, Reason: v.Reason}
	switch {
	case out.Result == engine.Bury:
		r.Outcome = OutcomeDead
	case out.Result == engine.Done && v.Unsubscribe:
		r.Outcome = OutcomeUnwanted
	case out.Result == engine.Done:
		r.Outcome = OutcomeOK
	}
	return r
}

// succeeded says what a job that is done has been.
var succeeded = map[engine.Kind]string{engine.FanOut: "toot: fanned out", engine.Deliver: "toot: delivered", engine.Handle: "toot: handled"}

// logTry logs what came of a try: at debug level, unless it was the last one.
func (c *core) logTry(kind engine.Kind, l *lanes.Lane, j *lanes.Job, v *lanes.Verdict, out *engine.Outcome) {
	level, msg := slog.LevelDebug, "toot: try failed; it will be tried again"
	switch out.Result {
	case engine.Done:
		if msg = succeeded[kind]; v.Reason == discardReason {
			msg = "toot: discarded"
		}
	case engine.Bury:
		level, msg = slog.LevelError, "toot: gave up on a job; it is in the dead letters"
	case engine.Extend:
		msg = "toot: fanned out to some; the others follow"
	case engine.Release:
		msg = "toot: try was cut short; it will be made again"
	}
	attempt, probe := attemptOf(j, out)
	attributes := []slog.Attr{
		slog.String("kind", kind.String()), slog.String("event", j.Event.ID), slog.String("channel", j.Event.Channel),
		slog.String("lane", l.Shown()), slog.Int("attempt", attempt),
	}
	if probe {
		attributes = append(attributes, slog.Bool("probe", true))
	}
	if v.Status != 0 {
		attributes = append(attributes, slog.Int("status", v.Status))
	}
	if v.Reason != "" {
		attributes = append(attributes, slog.String("error", v.Reason))
	}
	if out.Result == engine.Retry || out.Result == engine.Release {
		attributes = append(attributes, slog.Duration("again_in", out.After))
	}
	c.log.LogAttrs(context.Background(), level, msg, attributes...)
}

// attemptOf returns the number of the try that came to an outcome, from 1, as
// Try.Attempt has it, and whether it was a probe, which cost the job no retry.
func attemptOf(j *lanes.Job, out *engine.Outcome) (attempt int, probe bool) {
	if out.Result == engine.Retry || out.Result == engine.Bury {
		return max(out.Attempt, 1), out.Attempt == j.Attempt && j.Attempt > 0
	}
	return j.Attempt + 1, false
}
