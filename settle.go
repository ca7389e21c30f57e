package toot

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/watermarkchurch/toot-go/engine"
)

// settlement is the outcome of a job on its way into the store.
type settlement struct {
	dispatcher *dispatcher
	job        *job
	outcome    engine.Outcome
	follow     handOff
}

func (s *settlement) size() int { return 1 + len(s.follow.jobs) }

// conclude turns the verdicts on a try into outcomes, and into what is now
// thought of the lane. d.mu is held.
func (d *dispatcher) conclude(l *lane, jobs []*job, verdicts []verdict, took time.Duration) {
	now := time.Now()
	l.progress = now
	l.count(len(jobs), now)
	debug := d.app.log.Enabled(context.Background(), slog.LevelDebug)
	if l.adapts {
		d.observeAll(l, jobs, verdicts, took, now)
	}
	for i, j := range jobs {
		v := &verdicts[i]
		j.cancel = nil
		var out engine.Outcome
		switch v.action {
		case finish:
			out.Result = engine.Done
		case giveBack:
			out.Result, out.After = engine.Release, v.after
			l.leave()
		default:
			f := failure{attempt: j.claim.Attempt, history: j.claim.History, age: j.age(now), at: now, verdict: *v, lost: v.lost, early: -1, wish: -1}
			switch {
			case v.hasAfter && l.adapts:
				f.early = v.after
			case v.hasAfter:
				f.wish = v.after
			case l.restsUntil.After(now):
				f.early = 0 // as soon as the lane's rest is over
			case l.adapts && l.health.suspect():
				f.within = d.app.opts.ProbeInterval // it may be the endpoint, rather than the event
			}
			out = d.app.retries.outcome(f)
			if out.Result == engine.Retry && out.After == 0 {
				l.leave()
			}
			v.told = true
		}
		if j.end != nil || debug {
			v.told = true
		}
		v.outcome = out
		d.settle(j, out, v.follow)
	}
}

// tell tells the log and the observer what came of a try, if they want to
// know. d.mu is not held: both may take their time.
func (d *dispatcher) tell(jobs []*job, verdicts []verdict) {
	for i, j := range jobs {
		v := &verdicts[i]
		d.logTry(j, v)
		if j.end != nil {
			j.end(stepResult(v))
			j.end = nil
		}
	}
}

// stepResult is what the observer is told of a try.
func stepResult(v *verdict) StepResult {
	out := &v.outcome
	r := StepResult{Outcome: OutcomeRetry, Status: v.status, Reason: v.reason}
	switch {
	case out.Result == engine.Bury:
		r.Outcome = OutcomeDead
	case out.Result == engine.Done && v.unsubscribe:
		r.Outcome = OutcomeUnwanted
	case out.Result == engine.Done:
		r.Outcome = OutcomeOK
	}
	return r
}

// observeAll records what the answer to a request says about a lane's
// endpoint. One request is one piece of evidence, however many events it had:
// the best, as an endpoint that took one event works. d.mu is held.
func (d *dispatcher) observeAll(l *lane, jobs []*job, verdicts []verdict, took time.Duration, now time.Time) {
	best := 0
	for i := range verdicts {
		if verdicts[i].signal == good {
			best = i
			break
		}
	}
	switch v := &verdicts[best]; {
	case v.refusesBatch:
		l.batch, l.noBatchBefore = 0, now.Add(batchRefusal)
	case v.answered && now.After(l.noBatchBefore):
		l.batch = v.batch
	}
	d.observe(l, jobs[best], &verdicts[best], took, now)
}

// observe records what an answer says about a lane's endpoint. d.mu is held.
func (d *dispatcher) observe(l *lane, j *job, v *verdict, took time.Duration, now time.Time) {
	var rest time.Duration
	switch v.signal {
	case good:
		if l.health.open() {
			d.app.log.Info("toot: endpoint works again", "lane", l.shown)
		}
		l.health.good(took, d.app.opts.RequestTimeout/4)
		if l.restsUntil.After(now) && !l.restAsked {
			l.restsUntil = now
			d.postpone(l, 0)
		}
	case trouble, timeout:
		if j.epoch == l.epoch {
			rest = l.health.bad(v.signal == timeout, jitter())
			if rest > 0 && l.health.opened == 1 {
				d.app.log.Warn("toot: endpoint keeps failing; it is probed until it works", "lane", l.shown, "error", v.reason)
			}
		}
	}
	if v.laneWaits {
		rest = max(rest, v.after)
	}
	if rest > 0 && now.Add(rest).After(l.restsUntil) {
		l.epoch++
		l.restAsked = v.laneWaits && v.after == rest
		l.restsUntil = now.Add(rest)
		d.postpone(l, rest)
		d.release(l)
		d.wake() // so that the loop knows when to come back
	}
}

// postpone tells the other processes that a lane rests. d.mu is held.
func (d *dispatcher) postpone(l *lane, rest time.Duration) {
	d.app.deferrals.Submit(deferral{lane: engine.Lane{Kind: d.kind, Name: l.name}, rest: rest, at: time.Now()})
}

// deferral is how long a lane is to rest from a moment on.
type deferral struct {
	lane engine.Lane
	rest time.Duration
	at   time.Time
}

func (deferral) size() int { return 1 }

// maxDeferrals is how many deferrals are written at once.
const maxDeferrals = 16

// flushDeferrals writes the last word on each lane.
func (a *App) flushDeferrals(items []deferral) {
	last := make(map[engine.Lane]deferral, len(items))
	for _, item := range items {
		last[item.lane] = item
	}
	var group errgroup.Group
	group.SetLimit(maxDeferrals)
	for _, item := range last {
		group.Go(func() error {
			ctx, cancel := context.WithTimeout(a.settling, engineTimeout)
			defer cancel()
			rest := max(item.rest-time.Since(item.at), 0)
			if err := a.engine.Defer(ctx, item.lane, rest); err != nil {
				a.log.Warn("toot: can't tell other processes that an endpoint rests", "lane", redactURL(item.lane.Name), "error", err)
			}
			return nil
		})
	}
	_ = group.Wait()
}

// settle sends a job's outcome to the store. d.mu is held.
func (d *dispatcher) settle(j *job, out engine.Outcome, follow handOff) {
	j.settling = true
	out.Follow = follow.jobs
	s := &settlement{dispatcher: d, job: j, outcome: out, follow: follow}
	if j.extending {
		j.parked = s
		return
	}
	d.submit(s)
}

// submit passes on a settlement whose job has its final ticket. d.mu is held.
func (d *dispatcher) submit(s *settlement) {
	if s.job.lost {
		d.app.log.Warn("toot: another worker took over a job that took too long here", "kind", d.kind.String(), "event", s.job.claim.Event.ID,
			"channel", s.job.claim.Event.Channel, "lane", s.job.lane.shown, "attempt", s.job.claim.Attempt)
		s.follow.abandon()
		d.forget(s.job)
		return
	}
	s.outcome.Ticket = s.job.claim.Ticket
	d.app.settles.Submit(s)
}

// forget lets go of a job. d.mu is held.
func (d *dispatcher) forget(j *job) {
	before := d.heldBytes
	d.heldBytes -= len(j.claim.Event.Body)
	if before > maxHeldBytes/2 && d.heldBytes <= maxHeldBytes/2 {
		d.wake()
	}
	d.jobs.remove(j)
	d.drop(j.lane)
}

// flushSettlements writes outcomes, and keeps trying while the store is out
// of reach: the jobs stay in memory, which in turn stops further claims.
func (a *App) flushSettlements(items []*settlement) {
	outcomes := make([]engine.Outcome, len(items))
	for i, s := range items {
		outcomes[i] = s.outcome
	}
	settled, began, err := a.settleAll(outcomes)
	for i, s := range items {
		if err == nil && settled[i].OK {
			s.follow.stored(settled[i].Follow, s.job.claim.Event, began)
			s.follow = handOff{}
		}
	}
	for i, s := range items {
		s.dispatcher.mu.Lock()
		s.dispatcher.settled(s, err != nil || settled[i].OK)
		s.dispatcher.mu.Unlock()
	}
}

// settled takes note of a settlement that was stored or given up, or (final is
// false) whose ticket was stale. In the last case the job may have been
// claimed anew by this process, whose claims do not know what it still holds.
// d.mu is held.
func (d *dispatcher) settled(s *settlement, final bool) {
	switch {
	case final:
	case s.job.claim.Ticket != s.outcome.Ticket:
		d.submit(s)
		return
	case d.claiming:
		d.doubtful = append(d.doubtful, s)
		return
	}
	s.follow.abandon()
	d.forget(s.job)
	if r := s.outcome.Result; r == engine.Retry || r == engine.Release {
		d.lookAfter(s.outcome.After)
	}
}

func (a *App) settleAll(outcomes []engine.Outcome) (_ []engine.Settled, began time.Time, _ error) {
	var outage backoff
	for {
		ctx, cancel := context.WithTimeout(a.settling, engineTimeout)
		began = time.Now()
		settled, err := a.engine.Settle(ctx, outcomes)
		cancel()
		switch {
		case err == nil:
			if outage.over() {
				a.log.Info("toot: settling jobs again")
			}
			return settled, began, nil
		case errors.Is(err, engine.ErrClosed), errors.Is(err, engine.ErrInvalid), a.settling.Err() != nil:
			a.log.Error("toot: outcomes of jobs were not stored; the jobs will be run again", "jobs", len(outcomes), "error", err)
			return nil, began, err
		}
		wait := outage.next()
		if outage.first() {
			a.log.Error("toot: can't settle jobs; will keep trying", "jobs", len(outcomes), "error", err)
		}
		select {
		case <-time.After(wait):
		case <-a.settling.Done():
		}
	}
}

// succeeded says what a job that is done has been.
var succeeded = map[engine.Kind]string{engine.FanOut: "toot: fanned out", engine.Deliver: "toot: delivered", engine.Handle: "toot: handled"}

// logTry logs what came of a try: at debug level, unless it was the last one.
func (d *dispatcher) logTry(j *job, v *verdict) {
	out := &v.outcome
	level, msg := slog.LevelDebug, "toot: try failed; it will be tried again"
	switch out.Result {
	case engine.Done:
		msg = succeeded[d.kind]
	case engine.Bury:
		level, msg = slog.LevelError, "toot: gave up on a job; it is in the dead letters"
	case engine.Release:
		msg = "toot: try was cut short; it will be made again"
	}
	ctx := context.Background()
	if !d.app.log.Enabled(ctx, level) {
		return
	}
	attributes := []slog.Attr{
		slog.String("kind", d.kind.String()), slog.String("event", j.claim.Event.ID), slog.String("channel", j.claim.Event.Channel),
		slog.String("lane", j.lane.shown), slog.Int("attempt", j.claim.Attempt+1),
	}
	if v.status != 0 {
		attributes = append(attributes, slog.Int("status", v.status))
	}
	if v.reason != "" {
		attributes = append(attributes, slog.String("error", v.reason))
	}
	if out.Result == engine.Retry || out.Result == engine.Release {
		attributes = append(attributes, slog.Duration("again_in", out.After))
	}
	d.app.log.LogAttrs(ctx, level, msg, attributes...)
}
