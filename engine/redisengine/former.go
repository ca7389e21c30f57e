package redisengine

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// Queues of format 1, see format.go.

// nap is how long a queue of format 1 is not looked at for jobs of a kind,
// because there was nothing due when it was looked at last. Processes of older
// versions may push to it meanwhile.
type nap struct {
	mu    sync.Mutex
	until time.Time
	// due is when something is, if that is known.
	due time.Time
}

// longestNap is how late a job of a process of an older version may be found.
const longestNap = time.Second

// awake returns the queues that a claim has to look at.
func (e *Engine) awake(req *engine.ClaimRequest) []*shard {
	if len(e.queues) == len(e.shards) {
		return e.queues
	}
	queues := make([]*shard, len(e.shards), len(e.queues))
	copy(queues, e.shards)
	for _, s := range e.queues[len(e.shards):] {
		n := &s.naps[req.Kind-1]
		n.mu.Lock()
		if req.Only != nil || !time.Now().Before(n.until) {
			queues = append(queues, s)
		}
		n.mu.Unlock()
	}
	return queues
}

// nap notes after how long something is due in a queue, negative if nothing is
// known of.
func (s *shard) nap(req *engine.ClaimRequest, next time.Duration) {
	if !s.former || req.Only != nil {
		return
	}
	n := &s.naps[req.Kind-1]
	n.mu.Lock()
	defer n.mu.Unlock()
	n.until, n.due = time.Now().Add(longestNap), time.Time{}
	if next >= 0 {
		n.due = time.Now().Add(next)
		if next < longestNap {
			n.until = n.due
		}
	}
}

// stir ends the naps of a queue, because something was done to its jobs.
func (s *shard) stir() {
	if !s.former {
		return
	}
	for i := range s.naps {
		n := &s.naps[i]
		n.mu.Lock()
		n.until = time.Time{}
		n.mu.Unlock()
	}
}

// stirAll is stir for all queues.
func (e *Engine) stirAll() {
	for _, s := range e.queues[len(e.shards):] {
		s.stir()
	}
}

// napsEnd is after how long something is due in the queues that nap, which are
// those that are not awake; negative if nothing is known of.
func (e *Engine) napsEnd(awake []*shard, kind engine.Kind) time.Duration {
	next := time.Duration(-1)
	for _, s := range e.queues[len(e.shards):] {
		if slices.Contains(awake, s) {
			continue
		}
		n := &s.naps[kind-1]
		n.mu.Lock()
		if !n.due.IsZero() {
			next = sooner(next, max(time.Until(n.due), 0))
		}
		n.mu.Unlock()
	}
	return next
}

// rememberFormerly is Remember as processes of older versions do it, with a
// STRING that expires; in a store that was never of format 1 it does nothing.
func (e *Engine) rememberFormerly(ctx context.Context, key string, value []byte, d time.Duration) ([]byte, error) {
	if len(e.queues) == len(e.shards) {
		return value, nil
	}
	set := e.client.B().Set().Key("{" + e.namespace + "}:memory:" + key).Value(rueidis.BinaryString(value)).
		Nx().Get().PxMilliseconds(max(d.Milliseconds(), 1)).Build()
	kept, err := e.client.Do(ctx, set).AsBytes()
	if rueidis.IsRedisNil(err) { // nothing was there
		return value, nil
	}
	return kept, err
}

// dropFormerLease sees to it that no process of an older version ends a
// registration: those kept its end among the attributes.
func (e *Engine) dropFormerLease(ctx context.Context, channel, callbackURL string) error {
	if len(e.queues) == len(e.shards) {
		return nil
	}
	key := e.attributeKeys("lease:" + channel)[0]
	return e.client.Do(ctx, e.client.B().Hdel().Key(key).Field(callbackURL).Build()).Error()
}
