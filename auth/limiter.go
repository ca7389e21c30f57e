package auth

import (
	"context"
	"net/netip"
	"runtime"
	"sync"
)

// limiter bounds how much of the machine goes into slow hashes: strangers can
// make us compute them. Passwords that were right before need none.
type limiter struct {
	running chan struct{}

	mu      sync.Mutex
	waiting int
	from    map[string]int // how many of those that wait, by address
}

const (
	// maxWaiting is how many requests wait for their turn, and maxWaitingFrom
	// how many of one address. The next is refused.
	maxWaiting     = 64
	maxWaitingFrom = 8
)

func (l *limiter) init() {
	l.running = make(chan struct{}, max(1, runtime.GOMAXPROCS(0)/2))
	l.from = map[string]int{}
}

// enter waits for the turn of a request from an address, which is empty where
// that is not known.
func (l *limiter) enter(ctx context.Context, from string) error {
	if !l.queue(from) {
		return ErrBusy
	}
	defer l.unqueue(from)
	select {
	case l.running <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (l *limiter) leave() { <-l.running }

func (l *limiter) queue(from string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.waiting >= maxWaiting || from != "" && l.from[from] >= maxWaitingFrom {
		return false
	}
	l.waiting++
	if from != "" {
		l.from[from]++
	}
	return true
}

func (l *limiter) unqueue(from string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.waiting--
	if from == "" {
		return
	}
	if l.from[from]--; l.from[from] == 0 {
		delete(l.from, from)
	}
}

// addressOf is whose a request is, as far as its address tells: the whole of an
// IPv4 address, the network of an IPv6 one, of which everybody has many.
func addressOf(remoteAddr string) string {
	a, err := netip.ParseAddrPort(remoteAddr)
	if err != nil {
		return ""
	}
	ip := a.Addr().Unmap()
	if ip.Is4() {
		return ip.String()
	}
	network, err := ip.Prefix(64)
	if err != nil {
		return ""
	}
	return network.String()
}
