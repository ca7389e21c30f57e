package redisengine

import (
	"context"
	"errors"
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
	if e.client.Mode() != rueidis.ClientModeCluster {
		for _, bs := range batches {
			if len(bs) > 0 {
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
	now, err := e.storeTime(ctx)
	if err != nil {
		return engine.Audience{Err: err}
	}
	err = e.try(ctx, func(ctx context.Context) error {
		keys := e.channels.of(channel)
		parts, err := subscribersScript.Exec(ctx, e.client, keys[:], []string{strconv.Itoa(most), strconv.FormatInt(now, 10)}).ToArray()
		switch {
		case err != nil:
			return err
		case len(parts) != 1:
			return errForeign
		}
		a = readAudience(parts[0])
		return nil
	})
	if err != nil {
		return engine.Audience{Err: err}
	}
	return a
}

// readAudience reads what audience in lua/audience.lua returns.
func readAudience(m rueidis.RedisMessage) engine.Audience {
	if m.IsArray() {
		urls, err := m.AsStrSlice()
		if err != nil {
			err = errForeign
		}
		return engine.Audience{CallbackURLs: urls, Err: err}
	}
	if m.IsInt64() {
		return engine.Audience{More: true}
	}
	text, err := m.ToString()
	if err != nil {
		return engine.Audience{Err: errForeign}
	}
	return engine.Audience{Err: channelError(text)}
}

// channelError is an error that the server has with the keys of a channel.
type channelError string

func (e channelError) Error() string { return "redisengine: the channel's subscribers: " + string(e) }

// wrongType tells that a key is of another type than is asked for.
func wrongType(err error) bool {
	const code = "WRONGTYPE"
	var ours channelError
	if errors.As(err, &ours) {
		return strings.HasPrefix(string(ours), code)
	}
	var redisErr *rueidis.RedisError
	return errors.As(err, &redisErr) && strings.HasPrefix(redisErr.Error(), code)
}
