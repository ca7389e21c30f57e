package sqliteengine

import (
	"context"
	"math"
	"strings"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// AddSubscriber implements engine.Engine.
func (e *Engine) AddSubscriber(ctx context.Context, channel, callbackURL string, lease time.Duration) (added bool, err error) {
	if err := engine.ValidateSubscriber(channel, callbackURL); err != nil {
		return false, err
	}
	err = e.do(ctx, "add subscriber", &op{run: func(w *writer) error {
		r, err := w.registration(channel, callbackURL)
		if err != nil {
			return err
		}
		until := w.end(lease)
		added = !r.lives
		_, err = w.c.run("INSERT OR REPLACE INTO subscribers (channel, url, added, until) VALUES (?1, ?2, ?3, ?4)", channel, callbackURL, w.now, until)
		if err != nil || r.lives && (until == 0 || r.until > 0 && until >= r.until) {
			return err // nobody's memory is wrong, see audiences
		}
		return w.changedAudience(channel)
	}})
	return added && err == nil, err
}

// RemoveSubscriber implements engine.Engine.
func (e *Engine) RemoveSubscriber(ctx context.Context, channel, callbackURL string, olderThan time.Duration) (removed bool, err error) {
	if err := engine.ValidateChannel(channel); err != nil {
		return false, err
	}
	err = e.do(ctx, "remove subscriber", &op{run: func(w *writer) error {
		removed = false
		r, err := w.registration(channel, callbackURL)
		if err != nil || !r.lives || olderThan > 0 && w.now-r.added < micros(olderThan) {
			return err
		}
		if _, err := w.c.run("DELETE FROM subscribers WHERE channel = ?1 AND url = ?2", channel, callbackURL); err != nil {
			return err
		}
		removed = true
		return w.changedAudience(channel)
	}})
	return removed && err == nil, err
}

// registration is a row of subscribers. One that has ended does not live.
type registration struct {
	lives        bool
	added, until int64
}

func (w *writer) registration(channel, url string) (r registration, err error) {
	q, ok, err := w.c.query("SELECT added, until FROM subscribers WHERE channel = ?1 AND url = ?2", channel, url)
	if err != nil || !ok {
		return r, err
	}
	r.added, r.until = q.int(0), q.int(1)
	r.lives = r.until == 0 || r.until > w.now
	q.reset()
	return r, nil
}

// subscriberCache answers Subscribers. Whether it is still right it sees from
// a counter in the file, which costs some microseconds and misses nothing.
type subscriberCache struct {
	mu        sync.Mutex
	c         *conn
	closed    bool
	audiences audiences
}

// Subscribers implements engine.Engine.
func (e *Engine) Subscribers(ctx context.Context, channel string) ([]string, error) {
	if err := engine.ValidateChannel(channel); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	urls, err := e.subs.get(channel, e.clock.now())
	return urls, e.explain("subscribers", err)
}

func (s *subscriberCache) get(channel string, now int64) ([]string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil, engine.ErrClosed
	}
	q, _, err := s.c.query("SELECT subscribers FROM state")
	if err != nil {
		return nil, err
	}
	// A change between the two queries is read too early, and once more after
	// the next look at the counter.
	s.audiences.valid(q.int(0))
	q.reset()
	found, err := s.audiences.get(s.c, channel, math.MaxInt, now)
	if err != nil {
		return nil, err
	}
	return found.urls, nil
}

// close closes the connection, see Engine.release.
func (s *subscriberCache) close(leaveLog bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed = true
	if s.c == nil {
		return nil
	}
	return closeConn(s.c, leaveLog)
}

// Channels implements engine.Engine.
func (e *Engine) Channels(ctx context.Context, prefix string) (map[string][]string, error) {
	var channels map[string][]string
	err := e.read(ctx, "channels", func(c *conn) error {
		channels = map[string][]string{}
		q, ok, err := c.query(`SELECT channel, url FROM subscribers
			WHERE channel >= ?1 AND (until = 0 OR until > ?2) ORDER BY channel, url`, prefix, e.clock.now())
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
