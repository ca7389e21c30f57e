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
	if err := lane.Validate(); err != nil {
		return err
	}
	return onShards(e.queues, func(s *shard) error {
		args := reserve(make([]string, 0, 7))
		args = append(args, e.watch.channel, e.watch.sender, strconv.Itoa(int(lane.Kind)), lane.Name, span(d))
		r, err := e.exec(ctx, s, deferScript, []string{s.laneKey(lane)}, args)
		if err != nil {
			return err
		}
		s.stir()
		e.wakeTold(r.string(1))
		return r.err
	})
}
