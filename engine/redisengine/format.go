package redisengine

import (
	"context"
	"fmt"
	"strconv"
	"strings"

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
	upgradedNote = "; upgraded from format 1"

	maxShardNumber = 1024
)

// format is what the sentence says.
type format struct {
	number   int
	shards   int
	upgraded bool
}

func (f format) String() string {
	s := fmt.Sprintf(formatSentence, f.number, f.shards)
	if f.upgraded {
		s += upgradedNote
	}
	return s
}

// parseFormat reads the sentence, or the number of shards of format 1.
func parseFormat(key, text string) (f format, err error) {
	if f.shards, err = strconv.Atoi(text); err == nil {
		f.number = 1
	} else {
		first, note, _ := strings.Cut(text, ";")
		_, err = fmt.Sscanf(first, "format %d,", &f.number)
		if err == nil && f.number <= currentFormat {
			_, err = fmt.Sscanf(text, formatSentence, &f.number, &f.shards)
			f.upgraded = strings.Contains(note, upgradedNote)
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
		if f, err = parseFormat(key, text); err != nil || f.number == currentFormat {
			return f, err
		}
		f.number, f.upgraded = currentFormat, true
		err = e.try(ctx, func(ctx context.Context) error {
			return replaceScript.Exec(ctx, e.client, []string{key}, []string{text, f.String()}).Error()
		})
		if err != nil {
			return f, err
		}
	}
}

// defaultShards is the number of masters of a cluster.
func (e *Engine) defaultShards(ctx context.Context) (int, error) {
	if e.client.Mode() != rueidis.ClientModeCluster {
		return 1, nil
	}
	masters, err := e.masters(ctx)
	return min(max(len(masters), 1), maxShards), err
}
