package redisengine

import (
	"context"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// LanePage tells quickly what lanes there are, as engine.Inspector says. The
// server keeps lanes by their age and not by name. So their names are read once
// for a listing, in pages that each take the server a moment; what the lanes on
// a page hold is read for that page.

const (
	defaultLaneMax = 100
	// namesAge is how long the names that were read are good for the pages
	// behind the first.
	namesAge = 5 * time.Second
)

// laneNames are the names of all lanes, in order.
type laneNames struct {
	mu    sync.Mutex
	read  time.Time
	names []engine.Lane
}

// LanePage returns a page of lanes, as engine.Inspector says.
func (e *Engine) LanePage(ctx context.Context, q engine.LaneQuery) ([]engine.LaneSummary, error) {
	if err := e.calls.enter(); err != nil {
		return nil, err
	}
	defer e.calls.calls.Done()
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if q.Max == 0 {
		q.Max = defaultLaneMax
	}
	lanes, err := e.namesOfLanes(ctx, q.After == engine.Lane{})
	if err != nil {
		return nil, err
	}
	first, found := slices.BinarySearchFunc(lanes, q.After, compareLanes)
	if found {
		first++
	}
	lanes = lanes[first:]
	var page []engine.LaneSummary
	for len(lanes) > 0 && len(page) < q.Max {
		var names []engine.Lane
		for len(lanes) > 0 && len(names) < q.Max-len(page) {
			if q.Kind == 0 || lanes[0].Kind == q.Kind {
				names = append(names, lanes[0])
			}
			lanes = lanes[1:]
		}
		found, err := e.summaries(ctx, names)
		if err != nil {
			return nil, err
		}
		page = append(page, found...)
	}
	return page, nil
}

// namesOfLanes returns the names of all lanes that may have jobs or be deferred.
func (e *Engine) namesOfLanes(ctx context.Context, anew bool) ([]engine.Lane, error) {
	n := &e.lanes
	n.mu.Lock()
	defer n.mu.Unlock()
	if !anew && time.Since(n.read) < namesAge {
		return n.names, nil
	}
	read := time.Now()
	perQueue := make([][]engine.Lane, len(e.queues))
	err := onShards(e.queues, func(s *shard) error {
		for i, kind := range kinds {
			for _, key := range []string{s.ready[i], s.rest[i]} {
				err := e.scanScores(ctx, key, func(name string, _ float64) {
					perQueue[s.number] = append(perQueue[s.number], engine.Lane{Kind: kind, Name: name})
				})
				if err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := slices.Concat(perQueue...)
	slices.SortFunc(all, compareLanes)
	n.read, n.names = read, slices.Compact(all)
	return n.names, nil
}

// summaries returns what there is to tell of lanes, in their order. Those that
// have no jobs and are not deferred are left out.
func (e *Engine) summaries(ctx context.Context, lanes []engine.Lane) ([]engine.LaneSummary, error) {
	perQueue := make([][]engine.LaneSummary, len(e.queues))
	err := onShards(e.queues, func(s *shard) error {
		for some := range slices.Chunk(lanes, batchLanes) {
			found, err := e.summariesOf(ctx, s, some)
			if err != nil {
				return err
			}
			perQueue[s.number] = append(perQueue[s.number], found...)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	all := make([]engine.LaneSummary, 0, len(lanes))
	for i, lane := range lanes {
		sum := engine.LaneSummary{Lane: lane}
		for _, found := range perQueue {
			l := &found[i]
			if l.Jobs > 0 && (sum.Jobs == 0 || l.Next < sum.Next) {
				sum.Next = l.Next
			}
			sum.Jobs += l.Jobs
			sum.Deferred = max(sum.Deferred, l.Deferred)
		}
		if sum.Jobs > 0 || sum.Deferred > 0 {
			all = append(all, sum)
		}
	}
	return all, nil
}

// summariesOf returns what a queue holds of lanes.
func (e *Engine) summariesOf(ctx context.Context, s *shard, lanes []engine.Lane) ([]engine.LaneSummary, error) {
	const fields = 3 // of a lane in the answer
	args := append(reserve(make([]string, 0, 3+3*len(lanes))), strconv.Itoa(len(lanes)))
	keys := make([]string, len(lanes))
	for i, l := range lanes {
		keys[i] = s.laneKey(l)
		args = append(args, strconv.Itoa(int(l.Kind)), l.Name, keys[i])
	}
	r, err := e.exec(ctx, s, pageScript, keys, args)
	if err != nil {
		return nil, err
	}
	a := answer{parts: r.list(1)}
	if r.err != nil || len(a.parts) != fields*len(lanes) {
		return nil, errForeign
	}
	// left is how long it is until a score.
	left := func(i int) time.Duration {
		score, err := strconv.ParseFloat(a.string(i), 64)
		if err != nil {
			a.err = errForeign
		}
		return time.Duration(int64(score/2)-r.now) * time.Microsecond
	}
	found := make([]engine.LaneSummary, len(lanes))
	for i := range found {
		l := &found[i]
		if l.Jobs = int(a.int(fields * i)); l.Jobs > 0 {
			l.Next = left(fields*i + 1)
		}
		if a.string(fields*i+2) != "" {
			l.Deferred = max(left(fields*i+2), 0)
		}
	}
	return found, a.err
}
