package coalesce

import (
	"sync/atomic"
	"time"
)

// patience tells calls that they have waited long enough. Calls that begin
// within a fiftieth of it share a timer, which is that of the first of them: a
// timer for each would cost more than all else that Do does.
type patience struct{ current atomic.Pointer[sharedTimer] }

type sharedTimer struct {
	until time.Time     // calls that begin before that share it
	over  chan struct{} // closed when it fires
}

// over returns what is closed after d, or up to a fiftieth of d sooner.
func (p *patience) over(d time.Duration) <-chan struct{} {
	now := time.Now()
	if t := p.current.Load(); t != nil && now.Before(t.until) {
		return t.over
	}
	t := &sharedTimer{until: now.Add(d / 50), over: make(chan struct{})}
	time.AfterFunc(d, func() { close(t.over) })
	p.current.Store(t) // two calls at once may make one each: no harm
	return t.over
}
