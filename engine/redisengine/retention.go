package redisengine

import (
	"context"
	"strconv"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// How long the store remembers is kept in the META of each queue, where scripts
// read it. A script is told the defaults, for a queue that has nothing.
const (
	dedupeField  = "dedupe"   // microseconds
	deadAgeField = "dead_age" // microseconds
	deadMaxField = "dead_max"
)

var (
	defaultDedupe  = micros(engine.DefaultDedupe)
	defaultDeadAge = micros(engine.DefaultDeadAge)
)

// Retention returns how long the store remembers, as engine.Retainer says.
func (e *Engine) Retention(ctx context.Context) (kept engine.Retention, err error) {
	err = e.call(ctx, func(ctx context.Context) error {
		kept, err = e.readRetention(ctx)
		return err
	})
	return kept, err
}

func (e *Engine) readRetention(ctx context.Context) (kept engine.Retention, err error) {
	var values []string
	err = e.try(ctx, func(ctx context.Context) error {
		found, err := e.client.Do(ctx, e.client.B().Hmget().Key(e.shards[0].meta).Field(dedupeField, deadAgeField, deadMaxField).Build()).ToArray()
		values = values[:0]
		for _, v := range found {
			text, _ := v.ToString() // nil is the empty string
			values = append(values, text)
		}
		return err
	})
	if err != nil {
		return kept, err
	}
	if len(values) != 3 {
		return kept, errForeign
	}
	number := func(i int) int64 {
		n, _ := strconv.ParseInt(values[i], 10, 64) // what is none counts as nothing
		return n
	}
	kept.Dedupe = time.Duration(number(0)) * time.Microsecond
	kept.DeadAge = time.Duration(number(1)) * time.Microsecond
	kept.DeadMax = int(number(2))
	return kept.WithDefaults(), nil
}

// retain writes what the engine was opened with into the store, once.
func (e *Engine) retain(ctx context.Context) error {
	if e.retained.Load() {
		return nil
	}
	args := reserve(nil)
	if d := e.wanted.Dedupe; d > 0 {
		args = append(args, dedupeField, span(d))
	}
	if d := e.wanted.DeadAge; d > 0 {
		args = append(args, deadAgeField, span(d))
	}
	if n := e.wanted.DeadMax; n > 0 {
		args = append(args, deadMaxField, strconv.Itoa(n))
	}
	if len(args) > reserved {
		err := onShards(e.queues, func(s *shard) error {
			// A call makes use of its arguments for itself.
			a, err := e.exec(ctx, s, retainScript, nil, append([]string(nil), args...))
			if err != nil {
				return err
			}
			return a.err
		})
		if err != nil {
			return err
		}
	}
	e.retained.Store(true)
	return nil
}
