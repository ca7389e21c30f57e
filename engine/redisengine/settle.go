package redisengine

import (
	"cmp"
	"context"
	"math"
	"slices"
	"strconv"

	"github.com/watermarkchurch/toot-go/engine"
)

// Settle reports what became of claimed jobs, as engine.Engine says. Each
// outcome is atomic; a large call is made in several steps.
//
// A follow-up job with an event of its own is stored in the shard of the job
// that it follows.
func (e *Engine) Settle(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
	if err := e.calls.enter(); err != nil {
		return nil, err
	}
	defer e.calls.calls.Done()
	for i := range outcomes {
		if err := validOutcome(&outcomes[i]); err != nil {
			return nil, err
		}
	}
	results := make([]engine.Settled, len(outcomes))
	plan := e.planSettle(outcomes, results)
	err := onShards(e.shards, func(s *shard) error {
		for _, b := range plan[s.number] {
			if err := e.settle(ctx, b, outcomes, results); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	var waiting wakeups
	for i := range outcomes {
		o := &outcomes[i]
		if !results[i].OK {
			continue
		}
		if (o.Result == engine.Retry || o.Result == engine.Release) && o.After <= 0 {
			if c, ok := parseTicket(o.Ticket); ok {
				waiting[c.lane.Kind] = true
			}
		}
		for j := range o.Follow {
			waiting.add(&o.Follow[j])
		}
	}
	e.wake(waiting)
	return results, nil
}

func validOutcome(o *engine.Outcome) error {
	if o.Result < engine.Done || o.Result > engine.Extend {
		return invalid("an outcome with result %d", o.Result)
	}
	if o.Attempt < 0 || o.Attempt > math.MaxInt32 {
		return invalid("an outcome with attempt %d", o.Attempt)
	}
	for i := range o.Follow {
		if err := validJob(&o.Follow[i], true); err != nil {
			return err
		}
	}
	return nil
}

// settlement is what one script call settles. Outcomes of a lane go together,
// so that the server can compare and remove them in one step.
type settlement struct {
	batch  // follow-up jobs, and the lanes
	byLane [][]settling
	n      int
}

type settling struct {
	claim
	at int
}

// planSettle puts the outcomes of good tickets into settlements, by shard.
func (e *Engine) planSettle(outcomes []engine.Outcome, results []engine.Settled) [][]*settlement {
	plan := make([][]*settlement, len(e.shards))
	// The one with follow-up jobs and the one without that are being filled.
	// They are kept apart since a server that is out of memory takes the latter.
	open := make([][2]*settlement, len(e.shards))
	seen := make(map[engine.Ticket]bool, len(outcomes))
	var keys arena
	for i := range outcomes {
		o := &outcomes[i]
		if len(o.Follow) > 0 {
			results[i].Follow = make([]engine.Ticket, len(o.Follow))
		}
		c, ok := parseTicket(o.Ticket)
		if !ok || c.shard < 0 || c.shard >= len(e.shards) || seen[o.Ticket] {
			continue // stale
		}
		seen[o.Ticket] = true
		events := following(&keys, &c, o.Follow)
		with := 0
		if len(events) > 0 {
			with = 1
		}
		s := open[c.shard][with]
		if s == nil || s.n >= batchJobs || len(s.lanes.lanes) >= batchLanes || s.fullOf(events) {
			s = &settlement{batch: *newBatch(e.shards[c.shard], with*len(outcomes))}
			open[c.shard][with] = s
			plan[c.shard] = append(plan[c.shard], s)
		}
		lane := s.lanes.add(c.lane)
		for len(s.byLane) <= lane {
			var group []settling
			if len(s.byLane) == 0 { // often the only one
				group = make([]settling, 0, min((len(outcomes)-i)/len(e.shards)+1, batchJobs))
			}
			s.byLane = append(s.byLane, group)
		}
		s.byLane[lane] = append(s.byLane[lane], settling{c, i})
		s.n++
		s.bytes += len(o.History) + len(o.Reason)
		for _, f := range events {
			f.ev.owner = i
			s.add(f.ev, f.jobs, f.at)
		}
	}
	return plan
}

// followed is an event with follow-up jobs of one outcome.
type followed struct {
	ev   batchEvent
	jobs []engine.Job
	at   []int
}

func following(keys *arena, c *claim, jobs []engine.Job) []followed {
	if len(jobs) == 0 {
		return nil
	}
	var all []followed
	for _, g := range byEvent(jobs) {
		f := followed{jobs: g.jobs, at: g.at}
		if g.event == nil {
			f.ev = batchEvent{key: c.key, stored: c.event, event: &engine.Event{Channel: c.channel}}
		} else {
			f.ev = batchEvent{key: jobKey(keys, g.event.ID), event: g.event}
		}
		all = append(all, f)
	}
	return merge(all)
}

// merge keeps an outcome atomic that follows up with two events of one ID: of
// those the first counts for all.
func merge(all []followed) []followed {
	for i := 1; i < len(all); i++ {
		for j := range i {
			if all[i].ev.key == all[j].ev.key {
				all[j].jobs = append(all[j].jobs[:len(all[j].jobs):len(all[j].jobs)], all[i].jobs...)
				all[j].at = append(all[j].at[:len(all[j].at):len(all[j].at)], all[i].at...)
				all = append(all[:i], all[i+1:]...)
				i--
				break
			}
		}
	}
	return all
}

func (s *settlement) fullOf(events []followed) bool {
	if s.bytes > batchBytes {
		return true
	}
	for _, f := range events {
		size := 0
		if f.ev.stored == "" {
			size = packedSize(f.ev.event)
		}
		if s.full(f.ev.key, len(f.jobs), size) {
			return true
		}
	}
	return false
}

func (e *Engine) settle(ctx context.Context, s *settlement, outcomes []engine.Outcome, results []engine.Settled) error {
	buffer := takeArgs()
	defer buffer.giveBack()
	args := buffer.args
	args = append(args, e.watch.channel, e.watch.sender, e.window, e.deadMax(), micros(e.retention.DeadAge), flag(len(s.events) > 0))
	args = s.lanes.appendArgs(args)
	order := make([]*settling, 0, s.n)
	groups := 0
	sizes := len(args)
	args = append(args, "")
	for lane, group := range s.byLane {
		if len(group) == 0 {
			continue
		}
		groups++
		args = append(args, strconv.Itoa(lane), strconv.Itoa(len(group)))
		slices.SortStableFunc(group, func(a, b settling) int { return cmp.Compare(a.score, b.score) })
		for i := range group {
			order = append(order, &group[i])
		}
	}
	args[sizes] = strconv.Itoa(groups)
	plain := true
	for _, c := range order {
		plain = plain && outcomes[c.at].Result == engine.Done && !c.hasRecord && c.event == c.key
	}
	args = append(args, strconv.Itoa(s.n), flag(plain))
	for _, c := range order {
		args = append(args, c.key)
	}
	args = appendScores(args, order)
	var further []string
	buried, extends := false, len(s.events) == 0
	place := make(map[int]int, len(s.events)) // of an outcome in order, from 1
	for i, c := range order {
		if len(s.events) > 0 {
			place[c.at] = i + 1
		}
		o := &outcomes[c.at]
		op := int(o.Result)
		if c.hasRecord {
			op |= 8
		}
		if c.event != c.key {
			op |= 16
			further = append(further, c.event)
		}
		extends = extends && o.Result == engine.Extend
		switch o.Result {
		case engine.Retry:
			further = append(further, micros(o.After), c.record(c.claims, o.Attempt, string(o.History)))
		case engine.Release:
			r := "" // the server changes the one that it has
			if !c.hasRecord {
				r = c.record(c.claims.released(), 0, "")
			}
			further = append(further, micros(o.After), r)
		case engine.Extend:
			further = append(further, micros(o.After), strconv.Itoa(c.claims.turn()))
		case engine.Bury:
			buried = true
			further = append(further, c.obituary(o))
		}
		if !plain {
			args = append(args, strconv.Itoa(op))
		}
	}
	args = append(args, further...)
	run := settleScript
	if len(s.events) > 0 {
		run = followScript
		for i := range s.events {
			s.events[i].owner = place[s.events[i].owner]
		}
		// The place where the lanes are given again: store reads them.
		args = append(args, strconv.FormatInt(s.stamp, 10))
		args = s.lanes.appendArgs(args)
		args = s.appendArgs(args, true)
	}
	exec := e.exec
	if extends {
		exec = e.execSoon
	}
	args = append(args, "")
	buffer.args = args
	answer, err := exec(ctx, s.shard, run, s.lanes.keys(s.shard), buffer.args)
	if err != nil {
		return err
	}
	r := parse(answer, 6)
	now, ok, tokens, fresh, leases, told := r.int(0), r.string(1), r.list(2), r.string(3), r.list(4), r.string(5)
	if r.err == nil && ok != "" && len(ok) != len(order) {
		r.err = errForeign
	}
	if r.err != nil {
		return r.err
	}
	s.shard.setTime(now)
	e.wakeTold(told)
	var extended arena
	for i, c := range order {
		results[c.at].OK = ok == "" || ok[i] == '1'
		if outcomes[c.at].Result != engine.Extend {
			continue
		}
		if len(tokens) == 0 {
			return errForeign
		}
		if token, err := tokens[0].ToString(); err == nil && token != "" {
			c.score, _ = strconv.ParseUint(token, 10, 64)
			results[c.at].Ticket = c.ticket(&extended)
		}
		tokens = tokens[1:]
	}
	if len(s.events) > 0 {
		err := s.tickets(now, fresh, leases, func(event, at int, t engine.Ticket) {
			results[order[s.events[event].owner-1].at].Follow[at] = t
		})
		if err != nil {
			return err
		}
	}
	if buried && len(e.shards) > 1 {
		return e.trimDead(ctx)
	}
	return nil
}

// appendScores appends the scores. Jobs that were claimed together have the same.
func appendScores(args []string, order []*settling) []string {
	rows := 0
	for i, c := range order {
		if i == 0 || c.score != order[i-1].score {
			rows++
		}
	}
	if 2*rows >= len(order) {
		args = append(args, strconv.Itoa(len(order)))
		for _, c := range order {
			args = append(args, strconv.FormatUint(c.score, 10))
		}
		return args
	}
	args = append(args, strconv.Itoa(rows))
	for i := 0; i < len(order); {
		from, score := i, order[i].score
		for i < len(order) && order[i].score == score {
			i++
		}
		args = append(args, strconv.FormatUint(score, 10), strconv.Itoa(i-from))
	}
	return args
}

func (c *claim) record(claims tally, attempt int, history string) string {
	r := record{claims: claims, attempt: attempt, stamp: c.stamp, history: history}
	if c.event != c.key {
		r.event = c.event
	}
	return r.pack()
}

func (c *claim) obituary(o *engine.Outcome) string {
	d := obituary{
		event: c.event, key: c.key, lane: c.lane, channel: c.channel, stamp: c.stamp,
		attempt: o.Attempt, reason: o.Reason, history: string(o.History),
	}
	return d.pack()
}

func flag(b bool) string {
	if b {
		return "1"
	}
	return "0"
}
