package redisengine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"github.com/watermarkchurch/toot-go/engine"
)

// Who gets the events of a channel is read by the server in the same round trip
// as the push: by the same script, or on a cluster, where a channel lies
// anywhere, by commands at the same time.

// askedAtOnce is about how many channels a script is asked.
const askedAtOnce = 50

// ask has the audiences of a request read. It hands the channels to a batch if
// there is one that can take them, and starts the asking for the others.
func (e *Engine) ask(ctx context.Context, req *engine.PushRequest, batches [][]*batch, audiences []engine.Audience, asking *sync.WaitGroup) {
	channels := req.Channels
	ordinary := !slices.ContainsFunc(channels, func(channel string) bool { _, err := e.keysOf(ctx, channel); return err != nil })
	if e.client.Mode() != rueidis.ClientModeCluster && ordinary {
		for _, bs := range batches {
			if len(bs) > 0 && !bs[0].hasPast() {
				n := min(len(channels), askedAtOnce)
				bs[0].asked, bs[0].audiences, bs[0].most = channels[:n], audiences, strconv.Itoa(req.MaxSubscribers)
				channels, audiences = channels[n:], audiences[n:]
				break
			}
		}
	}
	for i, channel := range channels {
		asking.Go(func() { audiences[i] = e.audience(ctx, channel, req.MaxSubscribers) })
	}
}

// audience asks for the subscribers of one channel.
func (e *Engine) audience(ctx context.Context, channel string, most int) (a engine.Audience) {
	keys, err := e.keysOf(ctx, channel)
	if err != nil {
		return engine.Audience{Err: err}
	}
	now, err := e.storeTime(ctx)
	if err != nil {
		return engine.Audience{Err: err}
	}
	err = e.try(ctx, func(ctx context.Context) error {
		parts, err := subscribersScript.Exec(ctx, e.client, keys[:], []string{strconv.Itoa(most), strconv.FormatInt(now, 10)}).ToArray()
		switch {
		case err != nil:
			return err
		case len(parts) != 1:
			return errForeign
		}
		a = readAudience(&parts[0])
		return nil
	})
	if err != nil {
		return engine.Audience{Err: err}
	}
	return a
}

// readAudience reads what audience in lua/audience.lua returns.
func readAudience(m *rueidis.RedisMessage) engine.Audience {
	if err := m.Error(); err != nil {
		return engine.Audience{Err: fmt.Errorf("redisengine: the channel's subscribers: %w", err)}
	}
	if m.IsInt64() {
		n, err := m.AsInt64()
		if err != nil {
			return engine.Audience{Err: errForeign}
		}
		return engine.Audience{More: true, Count: int(n)}
	}
	text, err := m.ToString()
	if err != nil {
		return engine.Audience{Err: errForeign}
	}
	urls, ok := unpackStrings(text)
	if !ok {
		return engine.Audience{Err: errForeign}
	}
	return engine.Audience{CallbackURLs: urls, Count: len(urls)}
}

// unpackStrings reads a list of strings in MessagePack, which share the memory
// of the whole. What is empty is an empty list.
func unpackStrings(packed string) (all []string, ok bool) {
	if packed == "" {
		return nil, true
	}
	r := reader{rest: packed}
	n := 0
	switch b := r.byte(); {
	case b&0xf0 == 0x90:
		n = int(b & 0x0f)
	case b == 0xdc:
		n = r.number(2)
	case b == 0xdd:
		n = r.number(4)
	default:
		return nil, false
	}
	if n > len(packed) {
		return nil, false
	}
	all = make([]string, n)
	for i := range all {
		size := 0
		switch b := r.byte(); {
		case b&0xe0 == 0xa0:
			size = int(b & 0x1f)
		case b >= 0xd9 && b <= 0xdb:
			size = r.number(1 << (b - 0xd9))
		default:
			return nil, false
		}
		all[i] = r.take(size)
	}
	return all, !r.bad && r.rest == ""
}

// wrongType tells that a key is of another type than is asked for.
func wrongType(err error) bool {
	var redisErr *rueidis.RedisError
	return errors.As(err, &redisErr) && strings.HasPrefix(redisErr.Error(), "WRONGTYPE")
}
