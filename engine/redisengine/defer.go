package redisengine

import (
	"context"
	"strconv"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Defer keeps every process from claiming from a lane, as engine.Engine says.
// With several shards an error may leave it in effect on some.
func (e *Engine) Defer(ctx context.Context, lane engine.Lane, d time.Duration) error {
	if err := e.calls.enter(); err != nil {
		return err
	}
	defer e.calls.calls.Done()
	if !validLane(lane) {
		return invalid("the lane %q of kind %d", lane.Name, lane.Kind)
	}
	return onShards(e.shards, func(s *shard) error {
		answer, err := e.exec(ctx, s, deferScript, []string{s.laneKey(lane)},
			[]string{e.watch.channel, e.watch.sender, strconv.Itoa(int(lane.Kind)), lane.Name, span(d)})
		if err != nil {
			return err
		}
		r := parse(answer, 1)
		e.wakeTold(r.string(0))
		return r.err
	})
}
