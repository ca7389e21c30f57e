package redisengine

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// offer is what a lane of a shard has to give.
type offer struct {
	shard  *shard
	lane   string
	scores []int64 // when the jobs became due, ascending
}

func (e *Engine) claimFromMany(ctx context.Context, queues []*shard, req *engine.ClaimRequest) (engine.ClaimResult, error) {
	res := engine.ClaimResult{Next: -1}
	offers := make([][]offer, len(e.queues))
	nexts := make([]time.Duration, len(e.queues))
	for i := range nexts {
		nexts[i] = -1
	}
	err := onShards(queues, func(s *shard) (err error) {
		offers[s.number], nexts[s.number], err = e.look(ctx, s, req)
		return err
	})
	if err != nil {
		return res, err
	}
	chosen, left := choose(slices.Concat(offers...), req)
	found := make([]engine.ClaimResult, len(e.queues))
	dues := make([][]int64, len(e.queues))
	concerned := slices.SortedFunc(maps.Keys(chosen), func(a, b *shard) int { return a.number - b.number })
	err = onShards(concerned, func(s *shard) (err error) {
		r := *req
		r.Max, r.Limits = 0, chosen[s]
		r.Only = slices.Collect(maps.Keys(chosen[s]))
		for _, n := range chosen[s] {
			r.Max += n
		}
		found[s.number], dues[s.number], err = e.claim(ctx, s, &r)
		nexts[s.number] = sooner(nexts[s.number], found[s.number].Next)
		return err
	})
	if err != nil {
		return res, err // what was claimed from others comes back when the lease ends
	}
	for _, s := range queues {
		if len(offers[s.number]) == 0 {
			s.nap(req, nexts[s.number])
		}
	}
	for _, next := range nexts {
		res.Next = sooner(res.Next, next)
	}
	res.Next = sooner(res.Next, e.napsEnd(queues, req.Kind))
	if left {
		res.Next = 0
	}
	res.Jobs = inOrder(found, dues)
	return res, nil
}

// sooner returns the shorter of two times that are unknown if negative.
func sooner(a, b time.Duration) time.Duration {
	if a < 0 || b >= 0 && b < a {
		return b
	}
	return a
}

// choose shares out Max over the lanes, the oldest first, as lua/claim.lua does
// within a shard. It returns how many jobs to claim from which lanes of the
// shards, and whether that leaves something.
func choose(offers []offer, req *engine.ClaimRequest) (chosen map[*shard]map[string]int, left bool) {
	type due struct {
		score int64
		shard *shard
	}
	lanes := make(map[string][]due)
	for _, o := range offers {
		for _, score := range o.scores {
			lanes[o.lane] = append(lanes[o.lane], due{score, o.shard})
		}
	}
	for _, jobs := range lanes {
		slices.SortStableFunc(jobs, func(a, b due) int { return cmp.Compare(a.score, b.score) })
	}
	hungry := slices.SortedFunc(maps.Keys(lanes), func(a, b string) int {
		return cmp.Or(cmp.Compare(lanes[a][0].score, lanes[b][0].score), cmp.Compare(a, b))
	})
	if len(hungry) > req.Max {
		hungry, left = hungry[:req.Max], true
	}
	chosen = make(map[*shard]map[string]int)
	taken := make(map[string]int)
	for room := req.Max; room > 0 && len(hungry) > 0; {
		var more []string
		for i, lane := range hungry {
			limit, ok := req.Limits[lane]
			if !ok {
				limit = req.MaxPerLane
			}
			limit = min(limit, len(lanes[lane]))
			share := (room + len(hungry) - i - 1) / (len(hungry) - i)
			for ; share > 0 && taken[lane] < limit; share-- {
				s := lanes[lane][taken[lane]].shard
				if chosen[s] == nil {
					chosen[s] = make(map[string]int)
				}
				chosen[s][lane]++
				taken[lane]++
				room--
			}
			if taken[lane] < limit {
				more = append(more, lane)
			}
		}
		hungry = more
	}
	for lane, jobs := range lanes {
		left = left || taken[lane] < len(jobs)
	}
	return chosen, left
}

// inOrder puts together the jobs of several shards as one shard would hand
// them out: lanes by their first job, jobs by when they became due.
func inOrder(found []engine.ClaimResult, dues [][]int64) []engine.Claimed {
	type dueJob struct {
		due int64
		job engine.Claimed
	}
	var all []dueJob
	first := make(map[string]int64)
	for i := range found {
		for j, job := range found[i].Jobs {
			due := dues[i][j]
			all = append(all, dueJob{due, job})
			if f, ok := first[job.Lane.Name]; !ok || due < f {
				first[job.Lane.Name] = due
			}
		}
	}
	slices.SortStableFunc(all, func(a, b dueJob) int {
		x, y := a.job.Lane.Name, b.job.Lane.Name
		return cmp.Or(cmp.Compare(first[x], first[y]), cmp.Compare(x, y), cmp.Compare(a.due, b.due))
	})
	jobs := make([]engine.Claimed, len(all))
	for i := range all {
		jobs[i] = all[i].job
	}
	return jobs
}

// look asks a shard what a claim would find there.
func (e *Engine) look(ctx context.Context, s *shard, req *engine.ClaimRequest) ([]offer, time.Duration, error) {
	r, err := e.execSoon(ctx, s, claimScript, nil, claimArgs(s, req, true))
	if err != nil {
		return nil, 0, err
	}
	next, lanes, scores := r.int(1), r.list(3), numbers{r.string(4)}
	if r.err != nil {
		return nil, 0, r.err
	}
	var offers []offer
	for i := 0; i+1 < len(lanes); i += 2 {
		name, err := lanes[i].ToString()
		if err != nil {
			return nil, 0, errForeign
		}
		n, err := lanes[i+1].AsInt64()
		if err != nil || n < 0 || n > batchJobs {
			return nil, 0, errForeign
		}
		o := offer{shard: s, lane: name, scores: make([]int64, n)}
		for j := range o.scores {
			if o.scores[j], err = scores.next(); err != nil {
				return nil, 0, errForeign
			}
		}
		offers = append(offers, o)
	}
	if next < 0 {
		return offers, -1, nil
	}
	return offers, time.Duration(next) * time.Microsecond, nil
}
