package h1

import (
	"sync"
	"time"
)

// pool keeps idle connections.
type pool struct {
	perHost, total int           // the most that are kept; 0 for any number
	age            time.Duration // for how long; 0 for ever

	mu             sync.Mutex
	idle           map[string][]*conn // by address, the oldest first
	oldest, newest *conn              // of all
	n              int
	tidy           *time.Timer // while there are any, if they age
}

// get returns the connection to an address that was used last, or nil.
func (p *pool) get(addr string) *conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	conns := p.idle[addr]
	if len(conns) == 0 {
		return nil
	}
	c := conns[len(conns)-1]
	conns[len(conns)-1] = nil
	p.remove(c, conns[:len(conns)-1])
	return c
}

// put takes a connection in. If there are too many, the oldest goes.
func (p *pool) put(c *conn) {
	c.since = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	switch conns := p.idle[c.addr]; {
	case p.perHost > 0 && len(conns) >= p.perHost:
		p.expel(conns[0])
	case p.total > 0 && p.n >= p.total:
		p.expel(p.oldest)
	}
	if p.idle == nil {
		p.idle = map[string][]*conn{}
	}
	p.idle[c.addr] = append(p.idle[c.addr], c)
	if c.older = p.newest; c.older != nil {
		c.older.newer = c
	} else {
		p.oldest = c
	}
	p.newest = c
	p.n++
	if p.age > 0 && p.tidy == nil {
		p.tidy = time.AfterFunc(p.age, p.closeOld)
	}
}

// closeOld closes what has been idle for too long, and comes back for the rest.
func (p *pool) closeOld() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	for p.oldest != nil && now.Sub(p.oldest.since) >= p.age {
		p.expel(p.oldest)
	}
	p.tidy = nil
	if p.oldest != nil {
		p.tidy = time.AfterFunc(p.age-now.Sub(p.oldest.since), p.closeOld)
	}
}

// closeAll closes all connections that are idle.
func (p *pool) closeAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for p.oldest != nil {
		p.expel(p.oldest)
	}
	if p.tidy != nil {
		p.tidy.Stop()
		p.tidy = nil
	}
}

// expel closes the oldest connection to an address. p.mu is held.
func (p *pool) expel(c *conn) {
	conns := p.idle[c.addr]
	conns[0] = nil
	p.remove(c, conns[1:])
	c.close()
}

// remove forgets a connection; left are the others to its address. p.mu is
// held.
func (p *pool) remove(c *conn, left []*conn) {
	if len(left) == 0 {
		delete(p.idle, c.addr)
	} else {
		p.idle[c.addr] = left
	}
	if c.older != nil {
		c.older.newer = c.newer
	} else {
		p.oldest = c.newer
	}
	if c.newer != nil {
		c.newer.older = c.older
	} else {
		p.newest = c.older
	}
	c.older, c.newer = nil, nil
	p.n--
}
