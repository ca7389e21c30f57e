package redisengine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/internal/outage"
)

// patience is for how long an outage is kept from callers. On a cluster one node
// may be away alone; its calls then have the patience each.
const patience = outage.Patience

// call is try for a call of its own.
func (e *Engine) call(ctx context.Context, f func(context.Context) error) error {
	if err := e.calls.enter(); err != nil {
		return err
	}
	defer e.calls.calls.Done()
	return e.try(ctx, f)
}

// try calls f until it succeeds, fails for good, or the outage lasts. The
// error is the server's, or that of the connection, wherever there is one. It
// wraps engine.ErrUncertain unless no try can have reached the server.
//
// It repeats f even if it is not known whether the server has carried it out:
// a Push or an Add again is a no-op, an outcome again is a stale ticket, and
// jobs of a Claim whose answer was lost come back when the lease ends.
func (e *Engine) try(ctx context.Context, f func(context.Context) error) error {
	began := time.Now()
	last, bounded := lastTry(ctx)
	pause := 5 * time.Millisecond
	var why error // what went wrong last, other than that ctx ended
	reached := false
	for {
		err := f(ctx)
		if err == nil {
			e.outage.Over()
			return nil
		}
		reached = reached || !refused(err)
		if why == nil || !isContext(err) {
			why = err
		}
		if ctx.Err() != nil {
			return mark(reached, ended(ctx, why))
		}
		if !passing(err) {
			return mark(reached, describe(why))
		}
		until := e.outage.Failed(began)
		if bounded && last.Before(until) {
			until = last
		}
		if time.Now().Add(pause).After(until) {
			return mark(reached, describe(why))
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
		if ctx.Err() != nil {
			return mark(reached, ended(ctx, why))
		}
		if bounded && time.Now().After(last) { // the pause took longer than it should
			return mark(reached, describe(why))
		}
		pause = min(2*pause, 250*time.Millisecond)
	}
}

// lastTry returns until when a call may begin another try, if its context has an
// end: a try that this end interrupts can't tell whether it has reached the server, so
// none begins shortly before.
func lastTry(ctx context.Context) (last time.Time, bounded bool) {
	end, bounded := ctx.Deadline()
	if !bounded {
		return last, false
	}
	return end.Add(-min(time.Second, time.Until(end)/4)), true
}

// ended is the error of a call whose context has ended, with what went wrong
// before.
func ended(ctx context.Context, why error) error {
	if isContext(why) {
		return fmt.Errorf("redisengine: %w", context.Cause(ctx))
	}
	return fmt.Errorf("%w: %w", describe(why), context.Cause(ctx))
}

func isContext(err error) bool {
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
}

// refused tells that the server has not begun with a call for certain: there was
// no connection, or it is not able to work just now.
func refused(err error) bool {
	var op *net.OpError
	if errors.As(err, &op) && op.Op == "dial" {
		return true
	}
	var redisErr *rueidis.RedisError
	if !errors.As(err, &redisErr) {
		return false
	}
	code, _, _ := strings.Cut(redisErr.Error(), " ")
	return outages[code] != "" || hopeless[code] != "" && code != "NOPERM" // which comes in the middle of a script
}

// maybeDone is an error of a call that may have taken effect.
type maybeDone struct{ error }

func (e maybeDone) Unwrap() []error { return []error{engine.ErrUncertain, e.error} }

func mark(reached bool, err error) error {
	if reached {
		return maybeDone{err}
	}
	return err
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
