package redisengine

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// Registrations returns what is known of a channel's subscribers, as
// engine.Contents says.
func (e *Engine) Registrations(ctx context.Context, channel string) (found []engine.Registration, err error) {
	urls, err := e.Subscribers(ctx, channel)
	if err != nil || len(urls) == 0 {
		return nil, err
	}
	urls = slices.Sorted(slices.Values(urls))
	keys, err := e.keysOf(ctx, channel)
	if err != nil {
		return nil, err
	}
	err = e.call(ctx, func(ctx context.Context) error {
		found = make([]engine.Registration, 0, len(urls))
		now, err := e.storeTime(ctx)
		if err != nil {
			return err
		}
		for chunk := range slices.Chunk(urls, scanCount) {
			both := e.client.DoMulti(ctx,
				e.client.B().Hmget().Key(keys[1]).Field(chunk...).Build(),
				e.client.B().Zmscore().Key(keys[2]).Member(chunk...).Build())
			added, err := both[0].ToArray()
			if err != nil {
				return err
			}
			ends, err := both[1].ToArray()
			if err != nil {
				return err
			}
			for i, url := range chunk {
				r := engine.Registration{CallbackURL: url, Age: unknownAge}
				if at, err := added[i].AsInt64(); err == nil {
					r.Age = time.Duration(max(now-at, 0)) * time.Microsecond
				}
				if end, err := ends[i].AsFloat64(); err == nil {
					r.Left = time.Duration(max(int64(end)-now, 1)) * time.Microsecond
				}
				found = append(found, r)
			}
		}
		return nil
	})
	return found, err
}

// AttributeGroups returns the names of the groups, as engine.Contents says. It
// goes through all keys of the server, a part at a time.
func (e *Engine) AttributeGroups(ctx context.Context) ([]string, error) {
	return e.namesOfHashes(ctx, e.attributeKeys("")[0], "", "")
}

// Realms returns the names of realms, as engine.Contents says. It goes through all
// keys of the server, a part at a time.
func (e *Engine) Realms(ctx context.Context, prefix string) ([]string, error) {
	return e.namesOfHashes(ctx, e.shared, prefix, realmSuffix)
}

// namesOfHashes returns, in order, what stands behind front in the keys of hashes,
// where that begins with a prefix and ends with a suffix.
func (e *Engine) namesOfHashes(ctx context.Context, front, prefix, suffix string) ([]string, error) {
	if err := e.calls.enter(); err != nil {
		return nil, err
	}
	defer e.calls.calls.Done()
	names := map[string]bool{}
	err := e.scanKeys(ctx, "hash", escapeGlob(front+prefix)+"*", func(_ context.Context, keys []string) error {
		for _, key := range keys {
			if name := strings.TrimPrefix(key, front); strings.HasSuffix(name, suffix) {
				names[name] = true
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return slices.Sorted(maps.Keys(names)), nil
}

// Later returns jobs of a lane that are not due yet, as engine.Contents says. What
// of a job is read first is the score, which is in the ticket: if the job is claimed
// before the rest is read, the ticket is stale.
func (e *Engine) Later(ctx context.Context, lane engine.Lane, after time.Duration, limit int) ([]engine.LaterJob, error) {
	if err := e.calls.enter(); err != nil {
		return nil, err
	}
	defer e.calls.calls.Done()
	if err := engine.ValidateLater(lane, limit); err != nil {
		return nil, err
	}
	perShard := make([][]engine.LaterJob, len(e.queues))
	err := onShards(e.queues, func(s *shard) (err error) {
		perShard[s.number], err = e.laterOf(ctx, s, lane, after, limit)
		return err
	})
	if err != nil {
		return nil, err
	}
	all := slices.Concat(perShard...)
	slices.SortStableFunc(all, func(a, b engine.LaterJob) int { return int(max(-1, min(1, a.Due-b.Due))) })
	return all[:min(limit, len(all))], nil
}

// laterOf is Later for a queue.
func (e *Engine) laterOf(ctx context.Context, s *shard, lane engine.Lane, after time.Duration, limit int) (found []engine.LaterJob, err error) {
	r, err := e.exec(ctx, s, timeScript, nil, reserve(nil)) // the queue's time
	if err != nil {
		return nil, err
	}
	from := strconv.FormatInt((r.now+bounded(after).Microseconds())*2, 10)
	for offset := int64(0); len(found) < limit; offset += lanePage {
		var page []rueidis.ZScore
		err := e.try(ctx, func(ctx context.Context) (err error) {
			page, err = e.client.Do(ctx, e.client.B().Zrange().Key(s.laneKey(lane)).Min(from).Max("+inf").Byscore().Limit(offset, lanePage).Withscores().Build()).AsZScores()
			return err
		})
		if err != nil {
			return nil, err
		}
		waiting := slices.DeleteFunc(slices.Clone(page), func(z rueidis.ZScore) bool { return uint64(z.Score)%2 == 1 }) // leased
		for chunk := range slices.Chunk(waiting[:min(len(waiting), limit-len(found))], laterChunk) {
			jobs, err := e.laterJobs(ctx, s, lane, r.now, chunk)
			if err != nil {
				return nil, err
			}
			found = append(found, jobs...)
		}
		if len(page) < lanePage {
			break
		}
	}
	return found, nil
}

// laterChunk is how many events Later reads at once.
const laterChunk = 50

// laterJobs reads what belongs to jobs of a lane that wait.
func (e *Engine) laterJobs(ctx context.Context, s *shard, lane engine.Lane, now int64, waiting []rueidis.ZScore) ([]engine.LaterJob, error) {
	code := laneCode(lane)
	ids, eventKeys := make([]string, len(waiting)), make([]string, len(waiting))
	for i, z := range waiting {
		ids[i], eventKeys[i] = z.Member+code, z.Member
	}
	records, err := e.fieldsOf(ctx, s.records, ids)
	if err != nil {
		return nil, err
	}
	recs := make([]record, len(waiting))
	for i, text := range records {
		if text == "" {
			continue
		}
		var ok bool
		if recs[i], ok = unpackRecord(text); !ok {
			return nil, errForeign
		}
		if recs[i].event != "" {
			eventKeys[i] = recs[i].event
		}
	}
	events, err := e.fieldsOf(ctx, s.events, eventKeys)
	if err != nil {
		return nil, err
	}
	var a arena
	var found []engine.LaterJob
	for i, stored := range events {
		event, ok := unpackEvent(stored)
		if !ok {
			continue // it is done by now
		}
		rec := &recs[i]
		c := claim{
			shard: s.number, lane: lane, key: waiting[i].Member, event: eventKeys[i], score: uint64(waiting[i].Score), due: int64(waiting[i].Score) / 2,
			stamp: rec.stamp, claims: rec.claims, hasRecord: records[i] != "", channel: event.Channel,
		}
		if !c.hasRecord {
			c.stamp = c.due
		}
		j := engine.LaterJob{Due: time.Duration(c.due-now) * time.Microsecond, Claimed: engine.Claimed{
			Ticket: c.ticket(&a), Event: event, Lane: lane, Attempt: rec.attempt, Claims: rec.claims.claims(),
			Age: time.Duration(max(now-c.stamp, 0)) * time.Microsecond,
		}}
		if rec.history != "" {
			j.History = []byte(rec.history)
		}
		found = append(found, j)
	}
	return found, nil
}

// fieldsOf reads fields of a hash; those that are not there are empty.
func (e *Engine) fieldsOf(ctx context.Context, key string, fields []string) (values []string, err error) {
	err = e.try(ctx, func(ctx context.Context) error {
		answer, err := e.client.Do(ctx, e.client.B().Hmget().Key(key).Field(fields...).Build()).ToArray()
		if err != nil {
			return err
		}
		values = make([]string, len(fields))
		for i := range answer {
			if text, err := answer[i].ToString(); err == nil {
				values[i] = text
			}
		}
		return nil
	})
	return values, err
}
