package redisengine

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"
)

// What lies where has changed once. In format 1 the identity of a job was its
// event's ID with its lane; in format 2, which this is, it is the event's
// channel, ID and replay mark with its lane. The queues of the two have other
// keys, in the same slots. A namespace that was used in format 1 keeps the queue
// of that format, and what lies there is worked on until it is empty. So
// processes of older versions that still run may go on as they did: what they
// push is found by all, what newer ones push is found by newer ones.
//
// {namespace}:shards tells the format and the number of shards, which is settled
// when a namespace is first used. Up to format 1 it was the number alone, and
// versions that know no other refuse what is none with an error that has it in
// it. So it is a sentence.

const (
	currentFormat  = 2
	formatSentence = "format %d, needs a newer toot; shards: %d"
	// upgradedNote is at the end of the sentence where there was format 1.
	upgradedNote = "; upgraded from format 1 on "

	maxShardNumber = 1024

	// overlap is for how long processes of older versions may go on running.
	// When it is over and their queues are empty, nobody looks there any more.
	overlap = 7 * 24 * time.Hour
)

// format is what the sentence says.
type format struct {
	number   int
	shards   int
	upgraded time.Time // the day; zero if it was never another one
}

func (f format) String() string {
	s := fmt.Sprintf(formatSentence, f.number, f.shards)
	if !f.upgraded.IsZero() {
		s += upgradedNote + f.upgraded.Format(time.DateOnly)
	}
	return s
}

// parseFormat reads the sentence, or the number of shards of format 1.
func parseFormat(key, text string) (f format, err error) {
	if f.shards, err = strconv.Atoi(text); err == nil {
		f.number = 1
	} else {
		sentence, day, upgraded := strings.Cut(text, upgradedNote)
		_, err = fmt.Sscanf(sentence, "format %d,", &f.number)
		if err == nil && f.number <= currentFormat {
			_, err = fmt.Sscanf(sentence, formatSentence, &f.number, &f.shards)
		}
		if err == nil && upgraded {
			f.upgraded, err = time.Parse(time.DateOnly, day)
		}
	}
	switch {
	case err != nil:
		return f, fmt.Errorf("%s is %q, which is of no version of toot", key, text)
	case f.number > currentFormat:
		return f, fmt.Errorf("the namespace is of format %d, and this version of toot knows formats up to %d only: use a newer one (%s is %q)", f.number, currentFormat, key, text)
	case f.shards < 1 || f.shards > maxShardNumber:
		return f, fmt.Errorf("%s is %q, which has no possible number of shards", key, text)
	}
	return f, nil
}

// settleFormat finds out how the namespace is kept, and decides it if it was not
// used before. One of format 1 is of this one from then on.
func (e *Engine) settleFormat(ctx context.Context, want int) (f format, err error) {
	if want == 0 {
		if want, err = e.defaultShards(ctx); err != nil {
			return f, err
		}
	}
	key := "{" + e.namespace + "}:shards"
	for {
		var text string
		fresh := format{number: currentFormat, shards: want}
		err := e.try(ctx, func(ctx context.Context) (err error) {
			b := e.client.B()
			err = e.client.Do(ctx, b.Set().Key(key).Value(fresh.String()).Nx().Build()).Error()
			if err != nil && !rueidis.IsRedisNil(err) {
				return err
			}
			text, err = e.client.Do(ctx, b.Get().Key(key).Build()).ToString()
			return err
		})
		if err != nil {
			return f, err
		}
		if f, err = parseFormat(key, text); err != nil {
			return f, err
		}
		now, err := e.serverTime(ctx)
		if err != nil {
			return f, err
		}
		switch {
		case f.number < currentFormat:
			f.number, f.upgraded = currentFormat, now.UTC()
		case f.upgraded.IsZero() || now.Before(f.upgraded.Add(overlap)):
			return f, nil
		default:
			gone, err := e.formerGone(ctx, f.shards)
			if err != nil || !gone {
				return f, err
			}
			f.upgraded = time.Time{}
		}
		err = e.try(ctx, func(ctx context.Context) error {
			return replaceScript.Exec(ctx, e.client, []string{key}, []string{text, f.String()}).Error()
		})
		if err != nil {
			return f, err
		}
	}
}

// formerGone tells whether nothing is left of the queues of format 1.
func (e *Engine) formerGone(ctx context.Context, shards int) (bool, error) {
	left := int64(0)
	for i := range shards {
		err := e.try(ctx, func(ctx context.Context) error {
			s := newFormer(e.namespace, i, shards)
			keys := slices.DeleteFunc(s.fixed, func(key string) bool { return key == s.meta })
			n, err := e.client.Do(ctx, e.client.B().Exists().Key(keys...).Build()).AsInt64()
			left += n
			return err
		})
		if err != nil {
			return false, err
		}
	}
	return left == 0, nil
}

// serverTime is what the clock of a server says.
func (e *Engine) serverTime(ctx context.Context) (now time.Time, err error) {
	err = e.try(ctx, func(ctx context.Context) error {
		parts, err := e.client.Do(ctx, e.client.B().Time().Build()).AsIntSlice()
		if err == nil && len(parts) != 2 {
			err = errForeign
		}
		if err == nil {
			now = time.Unix(parts[0], 0)
		}
		return err
	})
	return now, err
}

// defaultShards is the number of masters of a cluster.
func (e *Engine) defaultShards(ctx context.Context) (int, error) {
	if e.client.Mode() != rueidis.ClientModeCluster {
		return 1, nil
	}
	masters, err := e.masters(ctx)
	return min(max(len(masters), 1), maxShards), err
}
