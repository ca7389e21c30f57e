package lanes

import (
	"log/slog"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// refusalLasts is for how long a lane that refused a round of several jobs gets
// no other, though its answers ask for them.
const refusalLasts = 10 * time.Minute

// concludeLocked turns verdicts into outcomes, save for those of tries that
// failed, of which it reports whether there are any.
func (p *Pool) concludeLocked(r *round, now time.Time) (failed bool) {
	for i := range r.jobs {
		switch v := &r.verdicts[i]; v.Action {
		case Finish:
			r.outcomes[i] = engine.Outcome{Result: engine.Done}
		case GiveBack:
			r.outcomes[i] = engine.Outcome{Result: engine.Release, After: v.After}
		case GoOn:
			r.outcomes[i] = engine.Outcome{Result: engine.Extend, After: p.Lease, History: v.History}
		default:
			failed = true
		}
	}
	if failed {
		r.failures = p.failuresLocked(r, now)
	}
	return failed
}

// failuresLocked describes the tries that failed to the policy.
func (p *Pool) failuresLocked(r *round, now time.Time) []Failure {
	l := r.lane
	failures := make([]Failure, len(r.jobs))
	for i, j := range r.jobs {
		v := &r.verdicts[i]
		f := Failure{Verdict: *v, Attempt: j.Attempt, History: j.History, Age: j.age(now), At: now, ProbeIn: -1, AskedFor: -1}
		switch {
		case v.HasAfter && l.terms.Adapts:
			f.ProbeIn = v.After
		case v.HasAfter:
			f.AskedFor = v.After
		case l.rests(now):
			f.ProbeIn = 0 // as soon as the lane's rest is over
		case l.terms.Adapts && l.health.suspect():
			f.NoLaterThan = l.terms.Probe
		}
		failures[i] = f
	}
	return failures
}

// askPolicy has the outcomes of failed tries decided.
func (p *Pool) askPolicy(r *round) {
	for i := range r.failures {
		if r.verdicts[i].Action.failed() {
			r.outcomes[i] = p.Retry(r.failures[i])
		}
	}
	r.failures = nil
}

// judgeLaneLocked records what a try says about the lane. One try is one piece
// of evidence, however many jobs it had: the best, as a lane that took one job
// works.
func (p *Pool) judgeLaneLocked(l *Lane, r *round, now time.Time) {
	best := 0
	for i := range r.verdicts {
		if r.verdicts[i].Evidence == Works {
			best = i
			break
		}
	}
	v := &r.verdicts[best]
	switch {
	case v.RefusesRounds:
		l.round, l.noRoundsBefore = 0, now.Add(refusalLasts)
	case v.Answered && now.After(l.noRoundsBefore):
		l.round = v.Round
	}
	var rest time.Duration
	switch v.Evidence {
	case Works:
		p.worksLocked(l, now.Sub(r.began), now, &r.effects)
	case Trouble, TimedOut:
		if r.jobs[best].rested == l.rested {
			rest = p.failsLocked(l, v, &r.effects)
		}
	}
	if v.LaneWaits {
		rest = max(rest, v.After)
	}
	if rest > 0 && now.Add(rest).After(l.restsUntil) {
		l.restWasAskedFor = v.LaneWaits && v.After == rest
		p.restLocked(l, rest, now, &r.effects)
	}
}

// worksLocked takes note of a good answer, which ends a rest that the lane did
// not ask for.
func (p *Pool) worksLocked(l *Lane, took time.Duration, now time.Time, e *effects) {
	if l.health.open() {
		e.say(slog.LevelInfo, "toot: endpoint works again", slog.String("lane", l.Shown()))
	}
	l.health.good(took, l.terms.Quick)
	if l.rests(now) && !l.restWasAskedFor {
		l.restsUntil = now
		p.deferLocked(l, 0, e)
	}
}

// failsLocked takes note of a failure, and returns for how long the lane is to
// rest.
func (p *Pool) failsLocked(l *Lane, v *Verdict, e *effects) time.Duration {
	rest := l.health.bad(v.Evidence == TimedOut, jitter())
	if rest > 0 && l.health.opened == 1 {
		e.say(slog.LevelWarn, "toot: endpoint keeps failing; it is probed until it works", slog.String("lane", l.Shown()), slog.String("error", v.Reason))
	}
	return rest
}

// restLocked puts a lane to rest, here and in other processes.
func (p *Pool) restLocked(l *Lane, rest time.Duration, now time.Time, e *effects) {
	l.rested++
	l.restsUntil = now.Add(rest)
	p.deferLocked(l, rest, e)
	p.returnQueuedLocked(l, e)
	p.Wake() // so that the claim loop knows when to come back
}
