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
	all := make([]engine.LaneSummary, len(lanes))
	for i := range lanes {
		all[i].Lane = lanes[i]
	}
	var mu sync.Mutex
	err := onShards(e.queues, func(s *shard) error {
		for from := 0; from < len(lanes); from += batchLanes {
			some := all[from:min(from+batchLanes, len(lanes))]
			if err := e.addSummaries(ctx, s, some, &mu); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(l engine.LaneSummary) bool { return l.Jobs == 0 && l.Deferred == 0 }), nil
}

// addSummaries adds what a queue holds of lanes.
func (e *Engine) addSummaries(ctx context.Context, s *shard, lanes []engine.LaneSummary, mu *sync.Mutex) error {
	const fields = 3 // of a lane in the answer
	args := append(reserve(make([]string, 0, 3+3*len(lanes))), strconv.Itoa(len(lanes)))
	keys := make([]string, len(lanes))
	for i := range lanes {
		lane := lanes[i].Lane // the rest is written by other shards meanwhile
		keys[i] = s.laneKey(lane)
		args = append(args, strconv.Itoa(int(lane.Kind)), lane.Name, keys[i])
	}
	r, err := e.exec(ctx, s, pageScript, keys, args)
	if err != nil {
		return err
	}
	a := answer{parts: r.list(1)}
	if r.err != nil || len(a.parts) != fields*len(lanes) {
		return errForeign
	}
	// left is how long it is until a score.
	left := func(i int) time.Duration {
		score, err := strconv.ParseFloat(a.string(i), 64)
		if err != nil {
			a.err = errForeign
		}
		return time.Duration(int64(score/2)-r.now) * time.Microsecond
	}
	mu.Lock()
	defer mu.Unlock()
	for i := range lanes {
		l := &lanes[i]
		if jobs := int(a.int(fields * i)); jobs > 0 {
			next := left(fields*i + 1)
			if l.Jobs == 0 || next < l.Next {
				l.Next = next
			}
			l.Jobs += jobs
		}
		if a.string(fields*i+2) != "" {
			l.Deferred = max(l.Deferred, left(fields*i+2))
		}
	}
	return a.err
}
