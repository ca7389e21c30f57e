package pgengine

import (
	"context"
	"sync"

	"github.com/jackc/pgx/v5"

	"github.com/watermarkchurch/toot-go/engine"
)

// audiences remembers the subscribers of channels. state.subscribers counts the
// changes that make what is remembered wrong: a new subscriber, one that was
// removed, one whose registration ends earlier than it did. That a registration has
// ended shows by the clock, and one that was prolonged is read again when it would
// have ended.
type audiences struct {
	mu       sync.Mutex
	version  int64
	channels map[string]*audience
}

// audience is what is remembered of a channel.
type audience struct {
	urls []string
	ends int64 // when the first of the registrations ends
}

// maxChannels is how many channels are remembered.
const maxChannels = 10_000

// moment is a time at which the count of changes was read. The zero value is one
// that has not come yet.
type moment struct{ changes, now int64 }

// known returns what is remembered of channels, nil for a channel of which nothing
// is, if the count of changes is still that.
func (a *audiences) known(channels []string, at moment) []*audience {
	found := make([]*audience, len(channels))
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.version != at.changes {
		return found
	}
	for i, channel := range channels {
		if k := a.channels[channel]; k != nil && at.now < k.ends {
			found[i] = k
		}
	}
	return found
}

// keep remembers what was read in a statement that read the count, too.
func (a *audiences) keep(version int64, read map[string]*audience) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if version < a.version {
		return
	}
	if version > a.version || len(a.channels) > maxChannels || a.channels == nil {
		a.version, a.channels = version, map[string]*audience{}
	}
	for channel, k := range read {
		a.channels[channel] = k
	}
}

// audience returns the subscribers of channels, in order, as of a moment after the
// call began.
func (e *Engine) audience(ctx context.Context, channels []string, at moment) ([]*audience, error) {
	if at == (moment{}) {
		if err := e.pool.QueryRow(ctx, e.sql("SELECT subscribers, NOW FROM toot.state"), e.mode).Scan(&at.changes, &at.now); err != nil {
			return nil, err
		}
		if err := e.checkTime(at.now); err != nil {
			return nil, err
		}
	}
	found := e.audiences.known(channels, at)
	var missing [][]byte
	for i, channel := range channels {
		if found[i] == nil {
			missing = append(missing, []byte(channel))
		}
	}
	if len(missing) == 0 {
		return found, nil
	}
	read, err := e.readAudiences(ctx, missing, at.now)
	if err != nil {
		return nil, err
	}
	for i, channel := range channels {
		if found[i] == nil {
			found[i] = read[channel]
		}
	}
	return found, nil
}

func (e *Engine) readAudiences(ctx context.Context, channels [][]byte, now int64) (map[string]*audience, error) {
	read := make(map[string]*audience, len(channels))
	for _, channel := range channels {
		read[string(channel)] = &audience{urls: []string{}, ends: never}
	}
	rows, err := e.pool.Query(ctx, e.sql(`SELECT st.subscribers, s.channel, s.url, COALESCE(s.until, 0) FROM toot.state st
		LEFT JOIN toot.subscribers s ON s.channel = ANY($1) AND (s.until = 0 OR s.until > $2)`), e.mode, channels, now)
	if err != nil {
		return nil, err
	}
	var version, until int64
	var channel, url []byte
	_, err = pgx.ForEachRow(rows, []any{&version, &channel, &url, &until}, func() error {
		if channel == nil {
			return nil
		}
		k := read[string(channel)]
		k.urls = append(k.urls, string(url))
		if until > 0 {
			k.ends = min(k.ends, until)
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	e.audiences.keep(version, read)
	return read, nil
}

// hearAudiences answers what a Push asks about channels. What it can't read is the
// channels' error: the jobs are stored.
func (p *push) hearAudiences(ctx context.Context, e *Engine, at moment) error {
	channels := p.req.Channels
	if len(channels) == 0 {
		return nil
	}
	p.audiences = make([]engine.Audience, len(channels))
	found, err := e.audience(ctx, channels, at)
	if err != nil {
		if len(p.req.Jobs) == 0 {
			return err // nothing else is to be answered
		}
		for i := range p.audiences {
			p.audiences[i].Err = describe("subscribers", err)
		}
		return nil
	}
	for i, k := range found {
		p.audiences[i].Count = len(k.urls)
		if len(k.urls) > p.req.MaxSubscribers {
			p.audiences[i].More = true
			continue
		}
		p.audiences[i].CallbackURLs = k.urls[:len(k.urls):len(k.urls)]
	}
	return nil
}
