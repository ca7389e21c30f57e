package registry

import (
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

const (
	// audienceAge is how old what is remembered of a channel may become. It is
	// put right with each publish; this is for channels on which nothing was
	// published for a while, and whose subscribers may all be others by then.
	audienceAge = 10 * time.Second
	// maxAudiences is how many channels are remembered.
	maxAudiences = 10_000
)

// audiences remembers who gets the events of channels.
type audiences struct {
	mu    sync.Mutex
	known map[string]knownAudience
}

type knownAudience struct {
	engine.Audience
	at time.Time
}

func (a *audiences) get(channel string) (engine.Audience, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	k, ok := a.known[channel]
	if !ok || time.Since(k.at) > audienceAge {
		return engine.Audience{}, false
	}
	return k.Audience, true
}

func (a *audiences) note(channel string, now engine.Audience) {
	if now.Err != nil {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.known == nil || len(a.known) >= maxAudiences {
		a.known = map[string]knownAudience{}
	}
	a.known[channel] = knownAudience{now, time.Now()}
}

func (a *audiences) forget(channel string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.known, channel)
}
