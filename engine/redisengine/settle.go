package redisengine

import (
	"context"
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
	if err := engine.ValidateOutcomes(outcomes); err != nil {
		return nil, err
	}
	results := make([]engine.Settled, len(outcomes))
	plan := e.planSettle(outcomes, results)
	err := onShards(e.queues, func(s *shard) error {
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

func (e *Engine) settle(ctx context.Context, s *settlement, outcomes []engine.Outcome, results []engine.Settled) error {
	buffer := takeArgs()
	defer buffer.giveBack()
	w := settleArgs{args: reserve(buffer.args), outcomes: outcomes}
	w.args = append(w.args, e.watch.channel, e.watch.sender, defaultDedupe, e.deadMax(), defaultDeadAge)
	w.write(s)
	buffer.args = w.args
	exec, script := e.exec, settleScript
	if len(s.events) > 0 {
		script = followScript
	} else if w.onlyExtends {
		exec = e.execSoon
	}
	r, err := exec(ctx, s.shard, script, s.lanes.keys(s.shard), buffer.args)
	if err != nil {
		return err
	}
	ok, tokens, fresh, leases, base, told := r.string(1), r.list(2), r.string(3), r.list(4), r.int(5), r.string(6)
	if r.err == nil && ok != "" && len(ok) != len(w.order) {
		r.err = errForeign
	}
	if r.err != nil {
		return r.err
	}
	s.shard.stir()
	e.wakeTold(told)
	var extended arena
	for i, c := range w.order {
		results[c.at].OK = ok == "" || ok[i] == '1'
		o := &outcomes[c.at]
		if o.Result != engine.Extend {
			continue
		}
		if len(tokens) == 0 {
			return errForeign
		}
		if token, err := tokens[0].ToString(); err == nil && token != "" {
			c.score, _ = strconv.ParseUint(token, 10, 64)
			c.hasRecord = c.hasRecord || o.History != nil
			results[c.at].Ticket = c.ticket(&extended)
		}
		tokens = tokens[1:]
	}
	if len(s.events) > 0 {
		err := s.tickets(r.now, base, fresh, leases, func(event, at int, t engine.Ticket) {
			results[w.order[s.events[event].owner-1].at].Follow[at] = t
		})
		if err != nil {
			return err
		}
	}
	if w.buries && len(e.queues) > 1 {
		return e.trimDead(ctx)
	}
	return nil
}
