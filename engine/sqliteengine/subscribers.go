package sqliteengine

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/watermarkchurch/toot-go/engine"
)

// AddSubscriber implements engine.Engine.
func (e *Engine) AddSubscriber(ctx context.Context, channel, callbackURL string) (bool, error) {
	return e.changeSubscriber(ctx, "add subscriber", "INSERT OR IGNORE INTO subscribers (channel, url) VALUES (?1, ?2)", channel, callbackURL)
}

// RemoveSubscriber implements engine.Engine.
func (e *Engine) RemoveSubscriber(ctx context.Context, channel, callbackURL string) (bool, error) {
	return e.changeSubscriber(ctx, "remove subscriber", "DELETE FROM subscribers WHERE channel = ?1 AND url = ?2", channel, callbackURL)
}

func (e *Engine) changeSubscriber(ctx context.Context, name, sql, channel, url string) (changed bool, err error) {
	if channel == "" || url == "" {
		return false, fmt.Errorf("%w: a subscriber without channel or callback URL", engine.ErrInvalid)
	}
	err = e.do(ctx, name, &op{run: func(w *writer) error {
		n, err := w.c.run(sql, channel, url)
		if changed = n > 0; changed && err == nil {
			_, err = w.c.run("UPDATE meta SET subscribers = subscribers + 1")
		}
		return err
	}})
	return changed && err == nil, err
}

// subscriberCache answers Subscribers. Whether it is still right it sees from
// a counter in the file, which costs some microseconds and misses nothing.
type subscriberCache struct {
	mu       sync.Mutex
	c        *conn
	closed   bool
	version  int64
	channels map[string][]string
}

// maxChannels is how many channels are remembered.
const maxChannels = 10_000

// Subscribers implements engine.Engine.
func (e *Engine) Subscribers(ctx context.Context, channel string) ([]string, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	urls, err := e.subs.get(channel)
	return urls, e.explain("subscribers", err)
}

func (s *subscriberCache) get(channel string) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, engine.ErrClosed
	}
	q, ok, err := s.c.query("SELECT subscribers FROM meta")
	if err != nil {
		return nil, err
	}
	version := int64(0)
	if ok {
		version = q.int(0)
		q.reset()
	}
	if version != s.version || len(s.channels) > maxChannels {
		// A change between the two queries is read too early, and once more
		// after the next look at the counter.
		s.version, s.channels = version, map[string][]string{}
	}
	if urls, ok := s.channels[channel]; ok {
		return urls, nil
	}
	urls := []string{}
	q, ok, err = s.c.query("SELECT url FROM subscribers WHERE channel = ?1", channel)
	for ; ok && err == nil; ok, err = q.step() {
		urls = append(urls, q.text(0))
	}
	if err != nil {
		return nil, err
	}
	urls = slices.Clip(urls)
	s.channels[channel] = urls
	return urls, nil
}

func (s *subscriberCache) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.c == nil {
		return nil
	}
	return s.c.close()
}

// Channels implements engine.Engine.
func (e *Engine) Channels(ctx context.Context, prefix string) (map[string][]string, error) {
	var channels map[string][]string
	err := e.read(ctx, "channels", func(c *conn) error {
		channels = map[string][]string{}
		q, ok, err := c.query("SELECT channel, url FROM subscribers WHERE channel >= ?1 ORDER BY channel, url", prefix)
		for ; ok && err == nil; ok, err = q.step() {
			channel := q.text(0)
			if !strings.HasPrefix(channel, prefix) {
				q.reset()
				return nil
			}
			channels[channel] = append(channels[channel], q.text(1))
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return channels, nil
}
