// Package netfault is a proxy for TCP connections that stalls, cuts them, or
// loses answers, as a bad network does.
package netfault

import (
	"bytes"
	"errors"
	"net"
	"sync"
	"time"
)

// Proxy passes on what comes over connections to a server, until it is told to
// do otherwise. Its methods may be called concurrently.
type Proxy struct {
	target   string
	listener net.Listener
	running  sync.WaitGroup

	mu      sync.Mutex
	fault   fault
	changed chan struct{} // closed when fault is another one
	links   map[*link]bool
	closed  bool
	text    []byte // what a client is expected to send; nil: nothing is
	then    func()
}

// fault is what a Proxy does to what comes.
type fault int

const (
	none    fault = iota
	stalled       // nothing passes
	deaf          // what the server answers does not pass
	down          // there are no connections
)

// link is a client's connection and the one to the server that goes with it.
type link struct {
	client, server net.Conn
	lost           bool // whether an answer was; guarded by Proxy.mu
}

// New returns a proxy for a server, on a free port of the loopback interface.
func New(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{target: target, listener: l, changed: make(chan struct{}), links: map[*link]bool{}}
	p.running.Go(p.accept)
	return p, nil
}

// Addr is the host and port of the proxy.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Stall lets nothing pass, in either direction, over connections that are there
// or are made meanwhile.
func (p *Proxy) Stall() { p.set(stalled) }

// LoseAnswers lets pass what clients send, but nothing of what they are
// answered.
func (p *Proxy) LoseAnswers() { p.set(deaf) }

// Down ends all connections, and each that is made from now on at once.
func (p *Proxy) Down() {
	p.set(down)
	p.Cut()
}

// When calls then once, before something is passed on to the server that contains a
// text, such as "commit": it may be LoseAnswers or Down, for example.
func (p *Proxy) When(text string, then func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.text, p.then = []byte(text), then
}

// notice looks whether what a client sends is what is expected.
func (p *Proxy) notice(sent []byte) {
	p.mu.Lock()
	then := p.then
	if then == nil || !bytes.Contains(sent, p.text) {
		p.mu.Unlock()
		return
	}
	p.text, p.then = nil, nil
	p.mu.Unlock()
	then()
}

// Mend lets everything pass again. What was stalled arrives late; connections
// over which something was lost are ended.
func (p *Proxy) Mend() {
	p.set(none)
	p.cut(func(l *link) bool { return l.lost })
}

// Cut ends the connections that are there.
func (p *Proxy) Cut() { p.cut(func(*link) bool { return true }) }

// Close ends the proxy.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	p.mu.Unlock()
	_ = p.listener.Close()
	p.Down()
	p.running.Wait()
}

func (p *Proxy) set(f fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *Proxy) cut(which func(*link) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		if which(l) {
			_ = l.client.Close()
			_ = l.server.Close()
		}
	}
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue
		}
		p.running.Go(func() { p.serve(client) })
	}
}

// serve carries one connection until either side ends it.
func (p *Proxy) serve(client net.Conn) {
	defer func() { _ = client.Close() }()
	server, err := net.DialTimeout("tcp", p.target, time.Second)
	if err != nil {
		return
	}
	defer func() { _ = server.Close() }()
	l := &link{client: client, server: server}
	if !p.add(l) {
		return
	}
	defer p.remove(l)
	var both sync.WaitGroup
	both.Go(func() { p.carry(l, server, client, false) })
	both.Go(func() { p.carry(l, client, server, true) })
	both.Wait()
}

func (p *Proxy) add(l *link) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fault == down || p.closed {
		return false
	}
	p.links[l] = true
	return true
}

func (p *Proxy) remove(l *link) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.links, l)
}

// carry passes on what comes from one side, and ends both when that does.
func (p *Proxy) carry(l *link, to, from net.Conn, answers bool) {
	defer func() {
		_ = to.Close()
		_ = from.Close()
	}()
	buffer := make([]byte, 32<<10)
	for {
		n, err := from.Read(buffer)
		if err != nil {
			return
		}
		if !answers {
			p.notice(buffer[:n])
		}
		if !p.passes(l, answers) {
			continue
		}
		if _, err := to.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// passes waits until it is decided what becomes of something, and reports
// whether it is passed on.
func (p *Proxy) passes(l *link, answer bool) bool {
	for {
		p.mu.Lock()
		f, changed := p.fault, p.changed
		l.lost = l.lost || f == deaf && answer
		lost := l.lost
		p.mu.Unlock()
		switch {
		case answer && lost, f == down: // without what was lost, the rest makes no sense
			return false
		case f == stalled:
			<-changed
		default:
			return true
		}
	}
}
