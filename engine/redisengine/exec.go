package redisengine

import (
	"cmp"
	"context"
	"strconv"
	"sync"
)

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
