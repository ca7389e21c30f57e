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
	if err := req.Validate(); err != nil {
		return engine.ClaimResult{}, err
	}
	if err := e.retain(ctx); err != nil {
		return engine.ClaimResult{}, err
	}
	if req.Only != nil && len(req.Only) == 0 {
		return engine.ClaimResult{Next: -1}, nil
	}
	req.Max = min(req.Max, batchJobs)
	queues := e.awake(&req)
	if len(queues) == 1 {
		res, _, err := e.claim(ctx, queues[0], &req)
		res.Next = sooner(res.Next, e.napsEnd(queues, req.Kind))
		return res, err
	}
	return e.claimFromMany(ctx, queues, &req)
}

func claimArgs(s *shard, req *engine.ClaimRequest, look bool) []string {
	args := reserve(make([]string, 0, 12+2*len(req.Limits)+len(req.Only)))
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
	return append(args, defaultDedupe)
}

// claim claims from one shard. due has the scores that the jobs had before.
func (e *Engine) claim(ctx context.Context, s *shard, req *engine.ClaimRequest) (res engine.ClaimResult, due []int64, err error) {
	r, err := e.execSoon(ctx, s, claimScript, nil, claimArgs(s, req, false))
	if err != nil {
		return res, nil, err
	}
	next, lost := r.int(1), r.int(2)
	h := claimAnswer{kind: req.Kind, shard: s, now: r.now, scores: numbers{r.string(4)}, events: r.list(5), first: r.int(6), special: r.list(7)}
	lanes := r.list(3)
	if r.err != nil {
		return res, nil, r.err
	}
	if lost > 0 {
		e.log.Error("toot: jobs were dropped because their events are not in Redis any more; does it evict keys?", "kind", req.Kind.String(), "jobs", lost)
	}
	res.Next = time.Duration(next) * time.Microsecond
	if next < 0 {
		res.Next = -1
	}
	res.Jobs = make([]engine.Claimed, 0, len(h.events))
	due = make([]int64, 0, len(h.events))
	if len(lanes) > 2 {
		h.seen = make(map[string]*engine.Event)
	}
	for i := 0; i+1 < len(lanes); i += 2 {
		name, err := lanes[i].ToString()
		if err != nil {
			return res, nil, errForeign
		}
		n, err := lanes[i+1].AsInt64()
		if err != nil {
			return res, nil, errForeign
		}
		for range n {
			job, before, err := h.next(name)
			if err != nil {
				return res, nil, err
			}
			res.Jobs, due = append(res.Jobs, job), append(due, before)
		}
	}
	return res, due, nil
}

// claimAnswer is the jobs of an answer, which are taken from it one after another; see
// lua/claim.lua for what it holds.
type claimAnswer struct {
	kind    engine.Kind
	shard   *shard
	now     int64
	taken   int
	scores  numbers
	events  []rueidis.RedisMessage
	first   int64
	special []rueidis.RedisMessage
	seen    map[string]*engine.Event // by event key; nil if none comes twice
	arena   arena                    // of keys and tickets
}

func (h *claimAnswer) next(lane string) (job engine.Claimed, before int64, err error) {
	if h.taken >= len(h.events) {
		return job, 0, errForeign
	}
	stored, err1 := h.events[h.taken].ToString()
	before, err2 := h.scores.next()
	if err1 != nil || err2 != nil {
		return job, 0, errForeign
	}
	h.taken++
	job.Lane = engine.Lane{Kind: h.kind, Name: lane}
	c := claim{shard: h.shard.number, lane: job.Lane, stamp: before / 2, due: before / 2, score: uint64(h.first), claims: 1} //nolint:gosec // a time
	if len(h.special) > 0 {
		if err := h.specially(&c, &job); err != nil {
			return job, 0, err
		}
	}
	id, ok := storedIdentity(stored)
	if !ok {
		return job, 0, errForeign
	}
	c.key = h.shard.jobKey(&h.arena, id)
	if c.event == "" {
		c.event = c.key
	}
	// Jobs of one event in several lanes share it.
	ev := h.seen[c.event]
	if ev == nil {
		if ev, ok = unpackEvent(stored); !ok {
			return job, 0, errForeign
		}
		if h.seen != nil {
			h.seen[c.event] = ev
		}
	}
	c.channel = ev.Channel
	job.Ticket, job.Event, job.Claims = c.ticket(&h.arena), ev, c.claims.claims()
	job.Age = time.Duration(max(h.now-c.stamp, 0)) * time.Microsecond
	return job, before, nil
}

// specially adds what is special about a job, if anything is.
func (h *claimAnswer) specially(c *claim, job *engine.Claimed) error {
	r := answer{parts: h.special}
	if r.int(0) != int64(h.taken) {
		return r.err
	}
	if len(h.special) < 3 {
		return errForeign
	}
	score, text := r.int(1), r.string(2)
	rec, ok := unpackRecord(text)
	if !ok || r.err != nil {
		return errForeign
	}
	h.special = h.special[3:]
	c.score, c.hasRecord, c.claims, c.stamp, c.event = uint64(score), true, rec.claims, rec.stamp, rec.event //nolint:gosec // a time
	job.Attempt = rec.attempt
	if rec.history != "" {
		job.History = []byte(rec.history)
	}
	return nil
}
