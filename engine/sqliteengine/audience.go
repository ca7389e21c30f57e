package sqliteengine

import (
	"math"
	"slices"

	"github.com/watermarkchurch/toot-go/engine"
)

// audiences remembers the subscribers of channels. state.subscribers counts
// the changes that make what is remembered wrong: a new subscriber, one that
// was removed, one whose registration ends earlier than it did. That a
// registration has ended shows by the clock, and one that was prolonged is
// read again when it would have ended.
type audiences struct {
	version  int64
	channels map[string]*audience
}

// audience is what is remembered of a channel.
type audience struct {
	urls  []string
	cut   bool  // there are more than were asked for
	count int   // how many there are
	ends  int64 // when the first of the registrations ends
}

// maxChannels is how many channels are remembered.
const maxChannels = 10_000

// valid forgets everything unless it is of that version.
func (a *audiences) valid(version int64) {
	if a.version != version || len(a.channels) > maxChannels {
		a.version, a.channels = version, nil
	}
}

// get returns the subscribers of a channel, or some more than limit if there
// are more. The version must be valid.
func (a *audiences) get(c *conn, channel string, limit int, now int64) (*audience, error) {
	if known := a.channels[channel]; known != nil && now < known.ends && (!known.cut || len(known.urls) > limit) {
		return known, nil
	}
	found := &audience{urls: []string{}, ends: math.MaxInt64}
	q, ok, err := c.query("SELECT url, until FROM subscribers WHERE channel = ?1 AND (until = 0 OR until > ?2)", channel, now)
	for ; ok && err == nil; ok, err = q.step() {
		found.urls = append(found.urls, q.text(0))
		if until := q.int(1); until > 0 {
			found.ends = min(found.ends, until)
		}
		if len(found.urls) > limit {
			found.cut = true
			q.reset()
			break
		}
	}
	if err != nil {
		return nil, err
	}
	found.urls, found.count = slices.Clip(found.urls), len(found.urls)
	if found.cut {
		if err := found.countAll(c, channel, now); err != nil {
			return nil, err
		}
	}
	if a.channels == nil {
		a.channels = map[string]*audience{}
	}
	a.channels[channel] = found
	return found, nil
}

// countAll counts the subscribers of a channel that are not all listed.
func (a *audience) countAll(c *conn, channel string, now int64) error {
	q, _, err := c.query(`SELECT count(*), ifnull(min(nullif(until, 0)), ?3) FROM subscribers
		WHERE channel = ?1 AND (until = 0 OR until > ?2)`, channel, now, a.ends)
	if err != nil {
		return err
	}
	defer q.reset()
	a.count, a.ends = int(q.int(0)), min(a.ends, q.int(1))
	return nil
}

// audience answers a Push, which ends in the transaction of its jobs.
func (w *writer) audience(channel string, limit int) engine.Audience {
	found, err := w.audiences.get(w.c, channel, limit, w.now)
	switch {
	case err != nil:
		return engine.Audience{Err: w.e.explain("subscribers", err)}
	case len(found.urls) > limit:
		return engine.Audience{More: true, Count: found.count}
	}
	return engine.Audience{CallbackURLs: found.urls, Count: found.count}
}

// changedAudience notes that the subscribers of a channel are others.
func (w *writer) changedAudience(channel string) error {
	if _, err := w.c.run("UPDATE state SET subscribers = subscribers + 1"); err != nil {
		return err
	}
	w.audiences.version++
	delete(w.audiences.channels, channel)
	return nil
}
