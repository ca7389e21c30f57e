package redisengine

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// Claim hands out due jobs under a lease, as engine.Engine says.
//
// With several shards it looks into all of them first, so that lanes and jobs
// are served by age wherever they lie, and then claims from those concerned.
func (e *Engine) Claim(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
	if err := e.calls.enter(); err != nil {
		return engine.ClaimResult{}, err
	}
	defer e.calls.calls.Done()
	switch {
	case req.Kind < engine.FanOut || req.Kind > engine.Handle:
		return engine.ClaimResult{}, invalid("a claim of kind %d", req.Kind)
	case req.Max < 1:
		return engine.ClaimResult{}, invalid("a claim of %d jobs", req.Max)
	case req.MaxPerLane < 1:
		return engine.ClaimResult{}, invalid("a claim of %d jobs from each lane", req.MaxPerLane)
	case req.Lease <= 0:
		return engine.ClaimResult{}, invalid("a claim with a lease of %v", req.Lease)
	}
	if req.Only != nil && len(req.Only) == 0 {
		return engine.ClaimResult{Next: -1}, nil
	}
	req.Max = min(req.Max, batchJobs)
	if len(e.shards) == 1 {
		res, _, err := e.claim(ctx, e.shards[0], &req)
		return res, err
	}
	return e.claimFromMany(ctx, &req)
}

func claimArgs(s *shard, req *engine.ClaimRequest, window string, look bool) []string {
	args := make([]string, 0, 10+2*len(req.Limits)+len(req.Only))
	args = append(args,
		s.lanePrefix(req.Kind), strconv.Itoa(int(req.Kind)), strconv.Itoa(req.Max), strconv.Itoa(req.MaxPerLane),
		span(req.Lease), flag(look), strconv.Itoa(len(req.Limits)))
	for lane, limit := range req.Limits {
		args = append(args, lane, strconv.Itoa(max(limit, 0)))
	}
	if req.Only == nil {
		args = append(args, "-1")
	} else {
		args = append(args, strconv.Itoa(len(req.Only)))
		args = append(args, req.Only...)
	}
	return append(args, window, "") // the last one is execSoon's
}

// claim claims from one shard. due has the scores that the jobs had before.
func (e *Engine) claim(ctx context.Context, s *shard, req *engine.ClaimRequest) (res engine.ClaimResult, due []int64, err error) {
	answer, err := e.execSoon(ctx, s, claimScript, nil, claimArgs(s, req, e.window, false))
	if err != nil {
		return res, nil, err
	}
	r := parse(answer, 5)
	now, next, lost, lanes, jobs := r.int(0), r.int(1), r.int(2), r.list(3), r.list(4)
	if r.err != nil {
		return res, nil, r.err
	}
	s.setTime(now)
	if lost > 0 {
		e.log.Error("toot: jobs were dropped because their events are not in Redis any more; does it evict keys?", "kind", req.Kind.String(), "jobs", lost)
	}
	res.Next = time.Duration(next) * time.Microsecond
	if next < 0 {
		res.Next = -1
	}
	res.Jobs = make([]engine.Claimed, 0, len(jobs)/4)
	due = make([]int64, 0, len(jobs)/4)
	events := make(map[string]*engine.Event)
	for i := 0; i+1 < len(lanes); i += 2 {
		name, err := lanes[i].ToString()
		if err != nil {
			return res, nil, errForeign
		}
		n, err := lanes[i+1].AsInt64()
		if err != nil || int64(len(jobs)) < 4*n {
			return res, nil, errForeign
		}
		lane := engine.Lane{Kind: req.Kind, Name: name}
		for range n {
			c, err := e.claimed(s, lane, now, jobs[:4], events)
			if err != nil {
				return res, nil, err
			}
			at, err := jobs[0].AsInt64()
			if err != nil {
				return res, nil, errForeign
			}
			res.Jobs, due = append(res.Jobs, c), append(due, at)
			jobs = jobs[4:]
		}
	}
	return res, due, nil
}

// claimed makes a job of what the script says of one: score before, score now,
// record, event.
func (e *Engine) claimed(s *shard, lane engine.Lane, now int64, parts []rueidis.RedisMessage, events map[string]*engine.Event) (engine.Claimed, error) {
	r := parse(parts, 4)
	c := claim{shard: s.number, lane: lane, stamp: r.int(0) / 2, score: uint64(r.int(1)), claims: 1} //nolint:gosec // a time
	job := engine.Claimed{Lane: lane}
	if text := r.string(2); text != "" {
		rec, ok := unpackRecord(text)
		if !ok {
			return job, errForeign
		}
		c.hasRecord, c.claims, c.stamp = true, rec.claims, rec.stamp
		if rec.event != "" {
			c.event = rec.event
		}
		job.Attempt = rec.attempt
		if rec.history != "" {
			job.History = []byte(rec.history)
		}
	}
	stored := r.string(3)
	if r.err != nil {
		return job, errForeign
	}
	// Jobs of one event are likely to share it.
	ev := events[stored]
	if ev == nil {
		var ok bool
		if ev, ok = unpackEvent(stored); !ok {
			return job, errForeign
		}
		events[stored] = ev
	}
	c.key, c.channel = jobKey(ev.ID), ev.Channel
	if c.event == "" {
		c.event = c.key
	}
	job.Ticket, job.Event, job.Claims = c.ticket(), ev, c.claims.claims()
	job.Age = time.Duration(max(now-c.stamp, 0)) * time.Microsecond
	return job, nil
}
