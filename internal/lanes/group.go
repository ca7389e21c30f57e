package lanes

import (
	"context"
	"log/slog"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/internal/coalesce"
)

const (
	// LeaseMargin is what a lease should be longer than the work it is for.
	LeaseMargin = 15 * time.Second
	// engineTimeout bounds a call of the engine.
	engineTimeout = 30 * time.Second
	// FlushJobs is about how many jobs or outcomes are written at once: so
	// many that they share a write well, so few that the store works on the
	// next while this process works on them.
	FlushJobs = 1024
)

// Group is the pools of one app on one engine, in the order in which an event
// meets them.
type Group struct {
	engine engine.Engine
	log    *slog.Logger
	pools  []*Pool

	settlements *coalesce.Batcher[*settlement]
	deferrals   *coalesce.Batcher[deferral]
	storing     context.Context // of the engine's calls that settle; ends when Drain gives up on them
	giveUp      context.CancelFunc
}

// NewGroup returns a Group without pools.
func NewGroup(eng engine.Engine, log *slog.Logger) *Group {
	g := &Group{engine: eng, log: log, giveUp: func() {}}
	g.settlements = coalesce.New(FlushJobs, (*settlement).size, g.flushSettlements)
	g.deferrals = coalesce.New(FlushJobs, deferral.size, g.flushDeferrals)
	return g
}

// Add adds a pool; what it hands on goes to pools that are added after it.
func (g *Group) Add(c Config) *Pool {
	p := &Pool{Config: c, group: g, wakeups: make(chan struct{}, 1), lanes: map[string]*Lane{}, endpoints: map[string]*endpoint{}, sites: map[string]*site{}}
	p.room.eventBytes = c.EventBytes
	p.workers.parked.L = &p.mu
	g.pools = append(g.pools, p)
	return p
}

// Start makes the pools work. After Drain it may be called again.
func (g *Group) Start() {
	g.storing, g.giveUp = context.WithCancel(context.Background())
	for _, p := range g.pools {
		p.start()
	}
}

// Wake makes the pools of a kind look into the store.
func (g *Group) Wake(kind engine.Kind) {
	for _, p := range g.pools {
		if p.Kind == kind {
			p.Wake()
		}
	}
}

// Drain ends what Start began, if that has not been done yet. The pools take nothing new in, give back what
// they have not begun with, and finish the rest; what is not finished within
// the timeout is cancelled. It returns how many jobs were.
func (g *Group) Drain(timeout time.Duration) (cancelled int) {
	// In the order of the path: what one pool hands on, the next still takes,
	// or leaves in the store.
	deadline := time.Now().Add(timeout)
	var begun []*Pool
	for _, p := range g.pools {
		if p.beginDrain() {
			begun = append(begun, p)
		}
	}
	for _, p := range begun {
		cancelled += p.drain(deadline)
	}
	g.giveUp()
	g.settlements.Wait()
	g.deferrals.Wait()
	return cancelled
}

// Stalled returns the kinds of work that could not be looked for in a while.
func (g *Group) Stalled() (kinds []engine.Kind) {
	for _, p := range g.pools {
		if p.Stalled() {
			kinds = append(kinds, p.Kind)
		}
	}
	return kinds
}
