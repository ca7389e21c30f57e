package redisengine

import (
	"context"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// A dead letter's ID is the time of its burial in its shard, and the shard:
// so IDs alone tell the order, also of what is not there any more.
type deadID struct {
	stamp int64
	shard int
}

func (d deadID) String() string {
	return strconv.FormatInt(d.stamp, 10) + "-" + strconv.Itoa(d.shard)
}

func (e *Engine) parseDeadID(s string) (d deadID, ok bool) {
	stamp, number, ok := strings.Cut(s, "-")
	if !ok {
		return d, false
	}
	var err1, err2 error
	d.stamp, err1 = strconv.ParseInt(stamp, 10, 64)
	d.shard, err2 = strconv.Atoi(number)
	ok = err1 == nil && err2 == nil && d.String() == s && d.shard >= 0 && d.shard < len(e.queues)
	return d, ok
}

// later sorts dead letters, the most recently buried first.
func later(a, b deadID) int {
	if a.stamp != b.stamp {
		if a.stamp > b.stamp {
			return -1
		}
		return 1
	}
	return b.shard - a.shard
}

type deadLetter struct {
	deadID
	deadRecord
}

const (
	defaultDeadMax = 100 // of DeadQuery
	deadPage       = 500
)

// Dead returns dead letters, as engine.DeadLetters says.
func (e *Engine) Dead(ctx context.Context, q engine.DeadQuery) ([]engine.Dead, error) {
	if err := e.calls.enter(); err != nil {
		return nil, err
	}
	defer e.calls.calls.Done()
	if err := q.Validate(); err != nil {
		return nil, err
	}
	if q.Max == 0 {
		q.Max = defaultDeadMax
	}
	after, hasAfter := deadID{}, false
	if q.After != "" {
		if after, hasAfter = e.parseDeadID(q.After); !hasAfter {
			return nil, nil
		}
	}
	clocks, err := e.forgetDead(ctx)
	if err != nil {
		return nil, err
	}
	matches := func(l deadLetter) bool {
		return (!hasAfter || later(l.deadID, after) > 0) && matchesQuery(&l, clocks[l.shard].wall(l.deadID.stamp), &q)
	}
	var letters []deadLetter
	if q.IDs != nil {
		letters, err = e.deadByID(ctx, q.IDs)
		letters = slices.DeleteFunc(letters, func(l deadLetter) bool { return !matches(l) })
	} else {
		perShard := make([][]deadLetter, len(e.queues))
		err = onShards(e.queues, func(s *shard) (err error) {
			perShard[s.number], err = e.deadOfShard(ctx, s, &q, hasAfter, after.stamp, clocks[s.number].ahead, matches)
			return err
		})
		letters = slices.Concat(perShard...)
	}
	if err != nil {
		return nil, err
	}
	slices.SortFunc(letters, func(a, b deadLetter) int { return later(a.deadID, b.deadID) })
	if len(letters) > q.Max {
		letters = letters[:q.Max]
	}
	return e.withEvents(ctx, letters, clocks)
}

func matchesQuery(l *deadLetter, at time.Time, q *engine.DeadQuery) bool {
	return (q.Kind == 0 || q.Kind == l.lane.Kind) &&
		(q.Lane == "" || q.Lane == l.lane.Name) &&
		(q.Channel == "" || q.Channel == l.channel) &&
		(q.Reason == "" || strings.Contains(strings.ToLower(l.reason), strings.ToLower(q.Reason))) &&
		(q.Since.IsZero() || !at.Before(q.Since)) &&
		(q.Until.IsZero() || !at.After(q.Until))
}

// deadOfShard returns the first Max of a shard's dead letters that match.
func (e *Engine) deadOfShard(ctx context.Context, s *shard, q *engine.DeadQuery, hasAfter bool, after, ahead int64, matches func(deadLetter) bool) ([]deadLetter, error) {
	from := int64(math.MaxInt64)
	if hasAfter {
		from = after
	}
	if !q.Until.IsZero() {
		from = min(from, q.Until.UnixMicro()+ahead)
	}
	var found []deadLetter
	for len(found) < q.Max {
		var ids []string
		err := e.try(ctx, func(ctx context.Context) (err error) {
			b := e.client.B()
			ids, err = e.client.Do(ctx, b.Zrange().Key(s.dead).Min(strconv.FormatInt(from, 10)).Max("-inf").Byscore().Rev().Limit(0, deadPage).Build()).AsStrSlice()
			return err
		})
		if err != nil {
			return nil, err
		}
		letters, err := e.obituaries(ctx, s, ids)
		if err != nil {
			return nil, err
		}
		for _, l := range letters {
			if matches(l) && len(found) < q.Max {
				found = append(found, l)
			}
		}
		if len(ids) < deadPage {
			break
		}
		last, err := strconv.ParseInt(ids[len(ids)-1], 10, 64)
		if err != nil {
			return nil, errForeign
		}
		if !q.Since.IsZero() && last < q.Since.UnixMicro()+ahead {
			break
		}
		from = last - 1
	}
	return found, nil
}

// obituaries reads the records of a shard's dead letters. Those that are gone
// are left out.
func (e *Engine) obituaries(ctx context.Context, s *shard, ids []string) ([]deadLetter, error) {
	var letters []deadLetter
	for chunk := range slices.Chunk(ids, deadPage) {
		var values []rueidis.RedisMessage
		err := e.try(ctx, func(ctx context.Context) (err error) {
			values, err = e.client.Do(ctx, e.client.B().Hmget().Key(s.buried).Field(chunk...).Build()).ToArray()
			return err
		})
		if err != nil {
			return nil, err
		}
		for i, v := range values {
			text, err := v.ToString()
			if err != nil {
				continue
			}
			o, ok := unpackDeadRecord(text)
			if !ok {
				return nil, errForeign
			}
			stamp, err := strconv.ParseInt(chunk[i], 10, 64)
			if err != nil {
				return nil, errForeign
			}
			letters = append(letters, deadLetter{deadID{stamp, s.number}, o})
		}
	}
	return letters, nil
}

// deadByID reads the dead letters of some IDs, each once.
func (e *Engine) deadByID(ctx context.Context, ids []string) ([]deadLetter, error) {
	perShard := make([][]string, len(e.queues))
	seen := make(map[deadID]bool)
	for _, id := range ids {
		d, ok := e.parseDeadID(id)
		if !ok || seen[d] {
			continue
		}
		seen[d] = true
		perShard[d.shard] = append(perShard[d.shard], strconv.FormatInt(d.stamp, 10))
	}
	found := make([][]deadLetter, len(e.queues))
	err := onShards(e.queues, func(s *shard) (err error) {
		found[s.number], err = e.obituaries(ctx, s, perShard[s.number])
		return err
	})
	return slices.Concat(found...), err
}

// withEvents adds the events.
func (e *Engine) withEvents(ctx context.Context, letters []deadLetter, clocks []queueTime) ([]engine.Dead, error) {
	type place struct {
		queue int
		key   string
	}
	stored := make(map[place]string)
	for _, s := range e.queues {
		var keys []string
		for i := range letters {
			if l := &letters[i]; l.shard == s.number && !slices.Contains(keys, l.event) {
				keys = append(keys, l.event)
			}
		}
		for chunk := range slices.Chunk(keys, 50) {
			var values []rueidis.RedisMessage
			err := e.try(ctx, func(ctx context.Context) (err error) {
				values, err = e.client.Do(ctx, e.client.B().Hmget().Key(s.events).Field(chunk...).Build()).ToArray()
				return err
			})
			if err != nil {
				return nil, err
			}
			for i, v := range values {
				if text, err := v.ToString(); err == nil {
					stored[place{s.number, chunk[i]}] = text
				}
			}
		}
	}
	dead := make([]engine.Dead, 0, len(letters))
	events := make(map[place]*engine.Event)
	for i := range letters {
		l := &letters[i]
		at := place{l.shard, l.event}
		ev := events[at]
		if ev == nil {
			var ok bool
			if ev, ok = unpackEvent(stored[at]); !ok {
				continue // redriven or discarded since
			}
			events[at] = ev
		}
		d := engine.Dead{
			ID: l.String(), Event: ev, Lane: l.lane, Attempt: l.attempt, Reason: l.reason,
			At: clocks[l.shard].wall(l.deadID.stamp), Age: time.Duration(max(clocks[l.shard].now-l.deadRecord.stamp, 0)) * time.Microsecond,
		}
		if l.history != "" {
			d.History = []byte(l.history)
		}
		dead = append(dead, d)
	}
	return dead, nil
}

// Redrive makes dead jobs due now, as engine.DeadLetters says.
func (e *Engine) Redrive(ctx context.Context, ids []string) (int, error) {
	return e.takeDead(ctx, ids, true)
}

// Discard deletes dead jobs, as engine.DeadLetters says.
func (e *Engine) Discard(ctx context.Context, ids []string) (int, error) {
	return e.takeDead(ctx, ids, false)
}

func (e *Engine) takeDead(ctx context.Context, ids []string, redrive bool) (int, error) {
	if err := e.calls.enter(); err != nil {
		return 0, err
	}
	defer e.calls.calls.Done()
	letters, err := e.deadByID(ctx, ids)
	if err != nil {
		return 0, err
	}
	return e.removeDead(ctx, letters, redrive)
}

func (e *Engine) removeDead(ctx context.Context, letters []deadLetter, redrive bool) (int, error) {
	perShard := make([][]deadLetter, len(e.queues))
	for _, l := range letters {
		perShard[l.shard] = append(perShard[l.shard], l)
	}
	total := 0
	for _, s := range e.queues {
		for chunk := range slices.Chunk(perShard[s.number], batchJobs) {
			n, err := e.removeDeadOf(ctx, s, chunk, redrive)
			total += n
			if err != nil {
				return total, err
			}
		}
	}
	return total, nil
}

func (e *Engine) removeDeadOf(ctx context.Context, s *shard, letters []deadLetter, redrive bool) (int, error) {
	var lanes laneTable
	var rest []string
	var waiting wakeups
	for i := range letters {
		l := &letters[i]
		lane, rec := -1, ""
		if redrive {
			lane = lanes.add(l.lane)
			r := record{stamp: l.deadRecord.stamp, history: l.history}
			if l.event != l.key {
				r.event = l.event
			}
			rec = r.pack()
			waiting[l.lane.Kind] = true
		}
		rest = append(rest, strconv.FormatInt(l.deadID.stamp, 10), l.event, strconv.Itoa(lane), l.key, rec)
	}
	args := lanes.appendArgs(append(reserve(nil), e.watch.channel, e.watch.sender))
	args = append(args, strconv.Itoa(len(letters)))
	r, err := e.exec(ctx, s, deadScript, lanes.keys(s), append(args, rest...))
	if err != nil {
		return 0, err
	}
	n, told := r.int(1), r.string(2)
	s.stir()
	e.wakeTold(told)
	e.wake(waiting)
	return int(n), r.err
}

// deadMax is the limit for scripts where the store has none. Over several shards
// it is kept by trimDead.
func (e *Engine) deadMax() string {
	if len(e.queues) > 1 {
		return "1e300"
	}
	return strconv.Itoa(engine.DefaultDeadMax)
}

// queueTime is a queue's time, and by how much it is ahead of its server's.
type queueTime struct{ now, ahead int64 }

// wall is when something was by the server's clock, unless that has jumped
// since.
func (q queueTime) wall(stamp int64) time.Time { return time.UnixMicro(stamp - q.ahead) }

// forgetDead removes dead letters that are too old. It returns the times of the
// queues.
func (e *Engine) forgetDead(ctx context.Context) ([]queueTime, error) {
	times := make([]queueTime, len(e.queues))
	err := onShards(e.queues, func(s *shard) error {
		r, err := e.exec(ctx, s, trimScript, nil, append(reserve(nil), defaultDeadAge))
		if err != nil {
			return err
		}
		times[s.number] = queueTime{r.now, r.int(1)}
		return r.err
	})
	return times, err
}

// trimDead removes the oldest dead letters of all shards beyond DeadMax.
func (e *Engine) trimDead(ctx context.Context) error {
	kept, err := e.readRetention(ctx)
	if err != nil {
		return err
	}
	counts := make([]int64, len(e.queues))
	err = onShards(e.queues, func(s *shard) error {
		return e.try(ctx, func(ctx context.Context) (err error) {
			counts[s.number], err = e.client.Do(ctx, e.client.B().Zcard().Key(s.dead).Build()).AsInt64()
			return err
		})
	})
	if err != nil {
		return err
	}
	over := -int64(kept.DeadMax)
	for _, n := range counts {
		over += n
	}
	if over <= 0 {
		return nil
	}
	oldest := make([][]deadLetter, len(e.queues))
	err = onShards(e.queues, func(s *shard) error {
		var ids []string
		err := e.try(ctx, func(ctx context.Context) (err error) {
			ids, err = e.client.Do(ctx, e.client.B().Zrange().Key(s.dead).Min("0").Max(strconv.FormatInt(over-1, 10)).Build()).AsStrSlice()
			return err
		})
		if err != nil {
			return err
		}
		oldest[s.number], err = e.obituaries(ctx, s, ids)
		return err
	})
	if err != nil {
		return err
	}
	letters := slices.Concat(oldest...)
	slices.SortFunc(letters, func(a, b deadLetter) int { return later(b.deadID, a.deadID) })
	_, err = e.removeDead(ctx, letters[:min(int64(len(letters)), over)], false)
	return err
}
