package redisengine

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// lanePage is how many jobs a script call of Lanes looks at.
const lanePage = 1000

// Lanes returns what the lanes hold, as engine.Inspector says. It reads a part
// at a time, so that it holds up nobody: jobs that move meanwhile may be
// counted twice or not at all.
func (e *Engine) Lanes(ctx context.Context) ([]engine.LaneStats, error) {
	if err := e.calls.enter(); err != nil {
		return nil, err
	}
	defer e.calls.calls.Done()
	clocks, err := e.forgetDead(ctx)
	if err != nil {
		return nil, err
	}
	perShard := make([]map[engine.Lane]*engine.LaneStats, len(e.queues))
	err = onShards(e.queues, func(s *shard) (err error) {
		perShard[s.number], err = e.lanesOf(ctx, s, clocks[s.number].now)
		return err
	})
	if err != nil {
		return nil, err
	}
	all := make(map[engine.Lane]*engine.LaneStats)
	for _, lanes := range perShard {
		for lane, l := range lanes {
			sum := all[lane]
			if sum == nil {
				all[lane] = l
				continue
			}
			sum.Waiting += l.Waiting
			sum.Later += l.Later
			sum.Leased += l.Leased
			sum.Retrying += l.Retrying
			sum.Dead += l.Dead
			sum.Oldest = max(sum.Oldest, l.Oldest)
			sum.Overdue = max(sum.Overdue, l.Overdue)
			sum.Deferred = max(sum.Deferred, l.Deferred)
		}
	}
	stats := make([]engine.LaneStats, 0, len(all))
	for _, l := range all {
		if l.Waiting+l.Leased+l.Dead > 0 || l.Deferred > 0 {
			stats = append(stats, *l)
		}
	}
	slices.SortFunc(stats, func(a, b engine.LaneStats) int {
		return compareLanes(a.Lane, b.Lane)
	})
	return stats, nil
}

func compareLanes(a, b engine.Lane) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.Name, b.Name))
}

func (e *Engine) lanesOf(ctx context.Context, s *shard, now int64) (map[engine.Lane]*engine.LaneStats, error) {
	lanes := make(map[engine.Lane]*engine.LaneStats)
	get := func(l engine.Lane) *engine.LaneStats {
		if lanes[l] == nil {
			lanes[l] = &engine.LaneStats{Lane: l}
		}
		return lanes[l]
	}
	for i, kind := range kinds {
		err := e.scanScores(ctx, s.rest[i], func(name string, score float64) {
			if left := int64(score/2) - now; left > 0 {
				get(engine.Lane{Kind: kind, Name: name}).Deferred = time.Duration(left) * time.Microsecond
			}
		})
		if err != nil {
			return nil, err
		}
		err = e.scanScores(ctx, s.ready[i], func(name string, _ float64) {
			get(engine.Lane{Kind: kind, Name: name})
		})
		if err != nil {
			return nil, err
		}
	}
	for lane, l := range lanes {
		if err := e.countLane(ctx, s, lane, l); err != nil {
			return nil, err
		}
	}
	return lanes, e.countDead(ctx, s, get)
}

// scanScores goes through a ZSET.
func (e *Engine) scanScores(ctx context.Context, key string, each func(string, float64)) error {
	for cursor := uint64(0); ; {
		var page rueidis.ScanEntry
		err := e.try(ctx, func(ctx context.Context) (err error) {
			page, err = e.client.Do(ctx, e.client.B().Zscan().Key(key).Cursor(cursor).Count(lanePage).Build()).AsScanEntry()
			return err
		})
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(page.Elements); i += 2 {
			score, err := strconv.ParseFloat(page.Elements[i+1], 64)
			if err != nil {
				return errForeign
			}
			each(page.Elements[i], score)
		}
		if cursor = page.Cursor; cursor == 0 {
			return nil
		}
	}
}

func (e *Engine) countLane(ctx context.Context, s *shard, lane engine.Lane, l *engine.LaneStats) error {
	for rank := 0; ; rank += lanePage {
		key := s.laneKey(lane)
		args := append(reserve(make([]string, 0, 6)), key, laneCode(lane), strconv.Itoa(rank), strconv.Itoa(lanePage))
		r, err := e.exec(ctx, s, laneScript, []string{key}, args)
		if err != nil {
			return err
		}
		n := r.int(1)
		l.Waiting += int(r.int(2))
		l.Leased += int(r.int(3))
		l.Retrying += int(r.int(4))
		if r.string(5) != "" {
			l.Oldest = max(l.Oldest, time.Duration(r.now-r.int(5))*time.Microsecond)
		}
		l.Later += int(r.int(6))
		if r.string(7) != "" {
			l.Overdue = max(l.Overdue, time.Duration(r.now-r.int(7))*time.Microsecond)
		}
		if r.err != nil {
			return r.err
		}
		if n < lanePage {
			return nil
		}
	}
}

func (e *Engine) countDead(ctx context.Context, s *shard, get func(engine.Lane) *engine.LaneStats) error {
	seen := make(map[string]bool) // HSCAN may name one twice
	for cursor := uint64(0); ; {
		var page rueidis.ScanEntry
		err := e.try(ctx, func(ctx context.Context) (err error) {
			page, err = e.client.Do(ctx, e.client.B().Hscan().Key(s.buried).Cursor(cursor).Count(lanePage).Build()).AsScanEntry()
			return err
		})
		if err != nil {
			return err
		}
		for i := 0; i+1 < len(page.Elements); i += 2 {
			o, ok := unpackDeadRecord(page.Elements[i+1])
			if !ok {
				return errForeign
			}
			if !seen[page.Elements[i]] {
				seen[page.Elements[i]] = true
				get(o.lane).Dead++
			}
		}
		if cursor = page.Cursor; cursor == 0 {
			return nil
		}
	}
}
