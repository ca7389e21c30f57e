package redisengine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// patience is how long a call goes on through an outage before its error
// reaches the caller, if the context allows it: a restart, say.
const patience = 5 * time.Second

// The first two arguments of a script on a queue are filled in by exec: the time
// that it expects, and how much later it may be.
const reserved = 2

// reserve leaves room for them in an empty list of arguments.
func reserve(args []string) []string { return append(args, "", "") }

// exec runs a script on a queue. keys are those that it is to use besides the
// fixed ones, args begin with what reserve makes.
func (e *Engine) exec(ctx context.Context, s *shard, script *queueScript, keys, args []string) (answer, error) {
	return e.execWithin(ctx, s, script, keys, args, jump)
}

// tooLate is how long after it was sent a script of execSoon is carried out at
// the latest.
const tooLate = 2_000_000

// execSoon is exec for what had better not be done than done late. A server
// that stood still has commands waiting whose callers have long given up: a
// claim among them would keep jobs from everybody until its lease ends, and
// an extension would make a ticket stale that somebody holds.
func (e *Engine) execSoon(ctx context.Context, s *shard, script *queueScript, keys, args []string) (answer, error) {
	return e.execWithin(ctx, s, script, keys, args, tooLate)
}

// execWithin runs a script that does nothing if it is later than so many
// microseconds, or if the queue's clock seems to have jumped. If the caller is
// still there then it is run again, and the server may take longer.
func (e *Engine) execWithin(ctx context.Context, s *shard, script *queueScript, keys, args []string, late int64) (answer, error) {
	all := make([]string, 0, len(s.fixed)+len(keys))
	all = append(append(all, s.fixed...), keys...)
	for ; ; late *= 2 {
		var a answer
		var expected, sent int64
		err := e.try(ctx, func(ctx context.Context) (err error) {
			sent, expected = monotonic(), s.clock.now()
			args[0], args[1] = "", lateness(late)
			if !s.former {
				args[0] = strconv.FormatInt(expected, 10)
			}
			a, err = e.run(ctx, script, all, args)
			return err
		})
		if err != nil || a.err != nil {
			return a, cmp.Or(err, a.err)
		}
		off := a.now - expected
		if !a.refused || off > late && off <= jump {
			s.clock.note(a.now, sent)
		} else if err := e.settleClock(ctx, s); err != nil {
			return a, err
		}
		if !a.refused {
			return a, nil
		}
	}
}

// run runs a script once.
func (e *Engine) run(ctx context.Context, script *queueScript, keys, args []string) (answer, error) {
	parts, err := script.lua.Exec(ctx, e.client, keys, args).ToArray()
	if err != nil {
		return answer{}, err
	}
	return parse(parts, script.parts), nil
}

// lateness is a number of microseconds for a script.
func lateness(late int64) string {
	switch late {
	case jump:
		return "10000000"
	case tooLate:
		return "2000000"
	}
	return strconv.FormatInt(late, 10)
}

// call is try for a call that is not one of a shard's.
func (e *Engine) call(ctx context.Context, f func(context.Context) error) error {
	if err := e.calls.enter(); err != nil {
		return err
	}
	defer e.calls.calls.Done()
	return e.try(ctx, f)
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
		return !errors.Is(err, rueidis.ErrClosing) && !rueidis.IsParseErr(err) && !errors.Is(err, engine.ErrInvalid)
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
