package enginetest

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/watermarkchurch/toot-go/engine"
)

// What mutants are made from: ways to change what goes into an engine and
// what comes out of it.

// everything is a limit that leaves nothing behind.
const everything = 1_000_000

// twistJobs changes jobs that are pushed or follow.
func (b *broken) twistJobs(twist func(*engine.Job)) {
	push, settle := b.push, b.settle
	twisted := func(js []engine.Job) []engine.Job {
		js = slices.Clone(js)
		for i := range js {
			twist(&js[i])
		}
		return js
	}
	b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
		req.Jobs = twisted(req.Jobs)
		return push(ctx, req)
	}
	b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
		outcomes = slices.Clone(outcomes)
		for i := range outcomes {
			outcomes[i].Follow = twisted(outcomes[i].Follow)
		}
		return settle(ctx, outcomes)
	}
}

// twistEvents changes the events of jobs that are pushed or follow.
func (b *broken) twistEvents(twist func(*engine.Event)) {
	b.twistJobs(func(j *engine.Job) {
		if j.Event != nil {
			twisted := *j.Event
			twist(&twisted)
			j.Event = &twisted
		}
	})
}

// twistOutcomes changes what is settled.
func (b *broken) twistOutcomes(twist func(*engine.Outcome)) {
	settle := b.settle
	b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
		outcomes = slices.Clone(outcomes)
		for i := range outcomes {
			twist(&outcomes[i])
		}
		return settle(ctx, outcomes)
	}
}

// twistRequests changes what is asked for with Claim.
func (b *broken) twistRequests(twist func(*engine.ClaimRequest)) {
	claim := b.claim
	b.claim = func(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
		twist(&req)
		return claim(ctx, req)
	}
}

// twistResults changes what Claim answers.
func (b *broken) twistResults(twist func(engine.ClaimRequest, *engine.ClaimResult)) {
	claim := b.claim
	b.claim = func(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
		res, err := claim(ctx, req)
		if err == nil {
			twist(req, &res)
		}
		return res, err
	}
}

// twistClaimed changes the jobs that Claim hands out.
func (b *broken) twistClaimed(twist func(*engine.Claimed)) {
	b.twistResults(func(_ engine.ClaimRequest, res *engine.ClaimResult) {
		for i := range res.Jobs {
			twist(&res.Jobs[i])
		}
	})
}

// choose lets a mutant choose which of all jobs that are due are handed out,
// in which order. Those not chosen go back to where they were.
func (b *broken) choose(choose func(engine.ClaimRequest, []engine.Claimed) []engine.Claimed) {
	claim := b.claim
	b.claim = func(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
		if err := req.Validate(); err != nil {
			return engine.ClaimResult{}, err
		}
		all := req
		all.Max, all.MaxPerLane = everything, everything
		res, err := claim(ctx, all)
		if err != nil {
			return res, err
		}
		chosen := choose(req, slices.Clone(res.Jobs))
		kept := map[engine.Ticket]bool{}
		for _, j := range chosen {
			kept[j.Ticket] = true
		}
		var back []engine.Outcome
		for _, j := range res.Jobs {
			if !kept[j.Ticket] {
				back = append(back, engine.Outcome{Ticket: j.Ticket, Result: engine.Release})
			}
		}
		if len(back) > 0 {
			res.Next = 0
		}
		res.Jobs = chosen
		_, err = b.settle(ctx, back)
		return res, err
	}
}

// first are so many of a request's jobs as it asks for.
func first(req engine.ClaimRequest, js []engine.Claimed) []engine.Claimed {
	return js[:min(len(js), req.Max)]
}

// forgetting returns a function that makes a store forget that a job is there
// or was: from then on the same job is stored under another mark, which is
// taken off again whenever the event comes back. mark marks at once what has
// to be.
func (b *broken) forgetting() (forget func(*engine.Event, engine.Lane), mark func(*engine.Event, engine.Lane) *engine.Event) {
	if b.s.forgot == nil {
		b.s.forgot = map[key]int{}
	}
	mark = func(ev *engine.Event, l engine.Lane) *engine.Event {
		n := b.s.forgot[keyOf(ev, l)]
		if n == 0 || unmarked(ev) != ev {
			return ev
		}
		marked := *ev
		marked.Replay += fmt.Sprint(forgotMark, n)
		return &marked
	}
	b.twistJobs(func(j *engine.Job) {
		if j.Event != nil {
			j.Event = mark(j.Event, j.Lane)
		}
	})
	b.fillFollow()
	b.twistClaimed(func(j *engine.Claimed) { j.Event = unmarked(j.Event) })
	b.twistDead(func(dead []engine.Dead) []engine.Dead {
		for i := range dead {
			dead[i].Event = unmarked(dead[i].Event)
		}
		return dead
	})
	return func(ev *engine.Event, l engine.Lane) { b.s.forgot[keyOf(unmarked(ev), l)]++ }, mark
}

// fillFollow gives follow-ups without an event that of their job, so that what
// was twisted before sees it.
func (b *broken) fillFollow() {
	b.twistFollow(func(f *engine.Job, note *claimNote) {
		if f.Event == nil {
			f.Event = unmarked(note.event)
		}
	})
}

const forgotMark = "\x00forgotten "

func unmarked(ev *engine.Event) *engine.Event {
	replay, _, marked := strings.Cut(ev.Replay, forgotMark)
	if !marked {
		return ev
	}
	plain := *ev
	plain.Replay = replay
	return &plain
}

// twistDead changes the dead letters that are listed.
func (b *broken) twistDead(twist func([]engine.Dead) []engine.Dead) {
	dead := b.dead
	b.dead = func(ctx context.Context, q engine.DeadQuery) ([]engine.Dead, error) {
		found, err := dead(ctx, q)
		return twist(found), err
	}
}

// twistLanes changes the lanes that are listed.
func (b *broken) twistLanes(twist func([]engine.LaneStats) []engine.LaneStats) {
	lanes := b.lanes
	b.lanes = func(ctx context.Context) ([]engine.LaneStats, error) {
		all, err := lanes(ctx)
		return twist(all), err
	}
}

// lane is the state of a lane, which is zero if there is nothing of it.
func (b *broken) lane(l engine.Lane) engine.LaneStats {
	all, _ := b.lanes(context.Background())
	for _, s := range all {
		if s.Lane == l {
			return s
		}
	}
	return engine.LaneStats{}
}

// onSettled is called after each outcome that took effect.
func (b *broken) onSettled(do func(engine.Outcome, *claimNote, *engine.Settled)) {
	settle := b.settle
	b.settle = func(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
		settled, err := settle(ctx, outcomes)
		for i := range settled {
			if note := b.s.claims[outcomes[i].Ticket]; settled[i].OK && note != nil {
				do(outcomes[i], note, &settled[i])
			}
		}
		return settled, err
	}
}

// refuse makes outcomes stale of which a mutant says so.
func (b *broken) refuse(stale func(engine.Outcome, *claimNote) bool) {
	b.twistOutcomes(func(o *engine.Outcome) {
		if note := b.s.claims[o.Ticket]; note != nil && stale(*o, note) {
			o.Ticket = "refused"
		}
	})
}

// swallow makes methods succeed where a request is invalid.
func swallow(err error) error {
	if err != nil && strings.Contains(err.Error(), engine.ErrInvalid.Error()) {
		return nil
	}
	return err
}

// hearer is one that Watch calls where a mutant decides on hints.
type hearer struct {
	by      *broken
	wake    func(engine.Kind)
	mu      sync.RWMutex
	stopped bool
}

func (h *hearer) call(k engine.Kind) {
	h.mu.RLock()
	defer h.mu.RUnlock()
	if !h.stopped {
		h.wake(k)
	}
}

// ownHints replaces Watch: hear decides whom to call for what is done by b.
func (b *broken) ownHints(hear func(all []*hearer) []*hearer) (hint func(engine.Kind)) {
	b.watch = func(wake func(engine.Kind)) func() {
		defer b.lock()()
		h := &hearer{by: b, wake: wake}
		b.s.hearers = append(b.s.hearers, h)
		return func() {
			h.mu.Lock()
			defer h.mu.Unlock()
			h.stopped = true
		}
	}
	return func(k engine.Kind) {
		for _, h := range hear(b.s.hearers) {
			go h.call(k)
		}
	}
}

// hintPushes calls hint for each job that is pushed.
func (b *broken) hintPushes(hint func(engine.Kind)) {
	push := b.push
	b.push = func(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
		res, err := push(ctx, req)
		for _, j := range req.Jobs {
			hint(j.Lane.Kind)
		}
		return res, err
	}
}

// name is another for each engine.
func (b *broken) name() string { return fmt.Sprintf("%p:", b) }
