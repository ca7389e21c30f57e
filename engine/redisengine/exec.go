package redisengine

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"
)

// patience is how long a call goes on through an outage before its error
// reaches the caller, if the context allows it: a restart, say.
const patience = 5 * time.Second

// exec runs a script on a shard. lanes are the lane keys that it is to use.
func (e *Engine) exec(ctx context.Context, s *shard, script *rueidis.Lua, lanes, args []string) ([]rueidis.RedisMessage, error) {
	return e.execUntil(ctx, s, script, lanes, args, 0)
}

// execUntil is exec, but if limit is more than 0 the last argument is replaced
// by the server's time that long from each attempt.
func (e *Engine) execUntil(ctx context.Context, s *shard, script *rueidis.Lua, lanes, args []string, limit time.Duration) ([]rueidis.RedisMessage, error) {
	keys := make([]string, 0, len(s.fixed)+len(lanes))
	keys = append(append(keys, s.fixed...), lanes...)
	var answer []rueidis.RedisMessage
	err := e.try(ctx, func(ctx context.Context) (err error) {
		if limit > 0 {
			args[len(args)-1] = strconv.FormatInt(s.serverTime()+limit.Microseconds(), 10)
		}
		answer, err = script.Exec(ctx, e.client, keys, args).ToArray()
		return err
	})
	return answer, err
}

// tooLate is how long after it was sent a script of execSoon is carried out at
// the latest.
const tooLate = 2 * time.Second

// execSoon is exec for what had better not be done than done late. A server
// that stood still has commands waiting whose callers have long given up: a
// claim among them would keep jobs from everybody until its lease ends, and
// an extension would make a ticket stale that somebody holds.
//
// The last argument is replaced by the time from which it is too late. The
// script then does nothing and answers with its time alone, and if the caller
// is still there it is called again.
func (e *Engine) execSoon(ctx context.Context, s *shard, script *rueidis.Lua, lanes, args []string) ([]rueidis.RedisMessage, error) {
	for patience := tooLate; ; patience *= 2 { // the server may be that slow
		answer, err := e.execUntil(ctx, s, script, lanes, args, patience)
		if err != nil || len(answer) != 1 {
			return answer, err
		}
		r := parse(answer, 1)
		now := r.int(0)
		if r.err != nil {
			return nil, r.err
		}
		s.setTime(now)
	}
}

// try calls f until it succeeds, fails for good, or the outage lasts.
//
// It repeats f even if it is not known whether the server has carried it out:
// a Push or an Add again is a no-op, an outcome again is a stale ticket, and
// jobs of a Claim whose answer was lost come back when the lease ends.
func (e *Engine) try(ctx context.Context, f func(context.Context) error) error {
	var until time.Time
	pause := 5 * time.Millisecond
	for {
		err := f(ctx)
		if err == nil {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("redisengine: %w", context.Cause(ctx))
		}
		if until.IsZero() {
			until = time.Now().Add(patience)
		}
		if !passing(err) || time.Now().Add(pause).After(until) {
			return describe(err)
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		pause = min(2*pause, 250*time.Millisecond)
	}
}

// passing tells whether an error is likely to be over soon.
func passing(err error) bool {
	var redisErr *rueidis.RedisError
	if !errors.As(err, &redisErr) {
		return !errors.Is(err, rueidis.ErrClosing) && !rueidis.IsParseErr(err)
	}
	for code := range outages {
		if strings.HasPrefix(redisErr.Error(), code) {
			return true
		}
	}
	return false
}

// outages are the error codes of servers that are not able to work just now.
var outages = map[string]string{
	"LOADING":     "it is loading its data after a start",
	"READONLY":    "it is a replica; after a failover this should pass",
	"BUSY":        "a script of somebody's is keeping it busy",
	"MASTERDOWN":  "it is a replica that has lost its master",
	"NOREPLICAS":  "it has too few replicas to be allowed to write",
	"CLUSTERDOWN": "a part of the cluster is down",
	"TRYAGAIN":    "a part of the cluster is being moved",
	"UNBLOCKED":   "its role has changed",
}

// hopeless are those that somebody has to see to.
var hopeless = map[string]string{
	"OOM":     "it is out of memory (maxmemory)",
	"MISCONF": "it can't write to its disk",
	"NOPERM":  "the user lacks a permission, see docs/operating.md",
	"NOAUTH":  "it wants a password",
}

func describe(err error) error {
	text := err.Error()
	for _, codes := range []map[string]string{outages, hopeless} {
		for code, meaning := range codes {
			if strings.HasPrefix(text, code) {
				return fmt.Errorf("redisengine: the server refuses: %s: %w", meaning, err)
			}
		}
	}
	return fmt.Errorf("redisengine: %w", err)
}

// onShards calls f for each of the shards, all at the same time, and returns
// the first error.
func onShards(shards []*shard, f func(*shard) error) error {
	if len(shards) == 1 {
		return f(shards[0])
	}
	errs := make([]error, len(shards))
	var wg sync.WaitGroup
	for i, s := range shards {
		wg.Go(func() { errs[i] = f(s) })
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// argsBuffer is for the arguments of a script call, to be used again.
type argsBuffer struct{ args []string }

var argsBuffers = sync.Pool{New: func() any { return new(argsBuffer) }}

func takeArgs() *argsBuffer { return argsBuffers.Get().(*argsBuffer) }

// giveBack is called when the script has been called: the client has made a
// copy of the arguments.
func (b *argsBuffer) giveBack() {
	clear(b.args)
	b.args = b.args[:0]
	argsBuffers.Put(b)
}
