package lanes

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// TryFunc tries jobs of one lane in one go, and fills in a verdict for each.
type TryFunc func(ctx context.Context, lane *Lane, jobs []*Job, verdicts []Verdict)

// Config says what a Pool does.
type Config struct {
	// Kind is the kind of its jobs.
	Kind engine.Kind
	// Lease is how long a claimed job is this process's own before the lease
	// has to be extended.
	Lease time.Duration
	// Workers is how many tries may be under way at once.
	Workers int
	// Terms is asked when a lane is met; no lock is held.
	Terms func(lane string) Terms
	// Only, unless nil, names the lanes that are worked on.
	Only func() []string
	// RoundBytes bounds the events of one try; of how many jobs one may be, the
	// lane's verdicts say. At least one job is tried.
	RoundBytes int
	// EventBytes is how large events are taken to be before there was one.
	EventBytes int
	Try        TryFunc
	// Retry says what becomes of a job whose try failed; no lock is held.
	Retry func(Failure) engine.Outcome
	// Ended, unless nil, is told of each try and of what becomes of its jobs.
	Ended func(lane *Lane, jobs []*Job, verdicts []Verdict, outcomes []engine.Outcome)
}

// Terms say how the jobs of a lane may be tried.
type Terms struct {
	// AtOnce is how many tries of the lane may be under way, at least one.
	AtOnce int
	// Adapts makes that number follow the evidence: one at first, up to AtOnce
	// while answers are good and come within Quick; and makes a lane rest that
	// keeps failing, for Probe at the most.
	Adapts       bool
	Quick, Probe time.Duration
	// Spacing is the least time between the beginnings of two tries.
	Spacing time.Duration
	// Limit is how long a try takes at most, 0 if nobody knows: one that is still
	// under way overdueAfter later counts as overdue.
	Limit time.Duration
	// Paused keeps the lane from being worked on at all.
	Paused bool

	// What follows is fixed when the lane is made.

	// Endpoint, unless empty, names where the lane leads. Lanes of one endpoint
	// share what follows from its answers, AtOnce and Spacing. Their terms
	// should be the same.
	Endpoint string
	// Site, unless empty, names the place that the lane leads to with others,
	// and SiteAtOnce is how many tries of them all may be under way. No lane
	// may have more than about a quarter of them, and lanes that have yet to
	// show that they work have half of them at most.
	Site       string
	SiteAtOnce int
	// Shown is the lane's name as it may be logged.
	Shown string
	// Peer is the caller's own, see Lane.Peer.
	Peer any
}

// keep takes over from other terms what does not change.
func (t *Terms) keep(of Terms) {
	t.Endpoint, t.Site, t.SiteAtOnce, t.Shown = of.Endpoint, of.Site, of.SiteAtOnce, of.Shown
	if of.Peer != nil { // a lane that was of no concern here may have had none
		t.Peer = of.Peer
	}
}

// state is what a Pool is at.
//
//	idle ──start──► running ──beginDrain──► draining ──nothing held──► quiet
//	  ▲                                        │                        │
//	  └────────────────── stop ────────────────┴────────────────────────┘
type state uint8

const (
	idle     state = iota // takes nothing in
	running               // claims, takes in and tries
	draining              // takes nothing in; what it holds is being finished
	quiet                 // holds nothing any more
)

// Pool works on the jobs of one kind: it claims what is due, keeps it in lanes,
// and has workers take from the lanes in turn. Workers exist for jobs that are
// being tried, never for jobs that wait. Its methods may be called concurrently.
type Pool struct {
	Config
	group *Group

	wakeups chan struct{}  // wakes the claim loop
	loops   sync.WaitGroup // the claim loop, the lease keeper, the workers

	mu         sync.Mutex // guards what follows, the lanes and the jobs
	state      state
	ctx        context.Context // of the tries under way
	cancel     context.CancelCauseFunc
	stopClaims context.CancelFunc
	isQuiet    chan struct{} // closed when the state becomes quiet

	lanes     map[string]*Lane
	endpoints map[string]*endpoint // that lanes may share, by Terms.Endpoint
	sites     map[string]*site     // by Terms.Site
	turns     turns
	room      room
	jobs      jobList // all that are held, for the lease keeper
	giveBacks int     // how often what waited in a lane was given back

	workers workers

	jobsCame     chan struct{} // wakes the lease keeper
	keeperSleeps bool          // the next job has to

	claiming         bool          // a claim is under way
	staleDuringClaim []*settlement // their tickets were stale, though the claim may bring new ones

	lastClaim time.Time   // when the store last answered a claim, or need not be asked
	lookTimer *time.Timer // see lookAfterLocked
	lookAt    time.Time
}

// start begins to claim and to take jobs in.
func (p *Pool) start() {
	ctx, cancel := context.WithCancelCause(context.Background())
	claims, stopClaims := context.WithCancel(ctx)
	jobsCame := make(chan struct{}, 1)
	p.mu.Lock()
	p.ctx, p.cancel, p.stopClaims = ctx, cancel, stopClaims
	p.state = running
	p.jobsCame, p.keeperSleeps = jobsCame, false
	p.isQuiet = make(chan struct{})
	p.lastClaim = time.Now()
	p.mu.Unlock()
	p.loops.Go(func() { p.claimLoop(claims, ctx) })
	p.loops.Go(func() { p.keepLeases(ctx, jobsCame) })
}

// Wake makes the pool look into the store.
func (p *Pool) Wake() {
	select {
	case p.wakeups <- struct{}{}:
	default:
	}
}

// meetLaneLocked returns the lane of a name, which it makes if there is none.
// The lock is free for a while then, as the new lane's terms are asked for.
func (p *Pool) meetLaneLocked(name string) *Lane {
	if l := p.lanes[name]; l != nil {
		l.used = time.Now()
		return l
	}
	p.mu.Unlock()
	terms := p.Terms(name)
	p.mu.Lock()
	return p.laneLocked(name, terms)
}

// laneLocked returns the lane of a name, which it makes with the given terms if
// there is none.
func (p *Pool) laneLocked(name string, terms Terms) *Lane {
	l := p.lanes[name]
	if l == nil {
		l = newLane(name, terms)
		p.joinLocked(l)
		p.lanes[name] = l
	}
	l.used = time.Now()
	return l
}

// SetTerms changes the terms of a lane that is known here. Tries under way go
// on; what waits for a lane that is paused is given back.
func (p *Pool) SetTerms(lane string, terms Terms) {
	var e effects
	p.mu.Lock()
	if l := p.lanes[lane]; l != nil { // others will ask for them
		l.setTerms(terms)
		if terms.Paused {
			p.returnQueuedLocked(l, &e)
		}
		p.makeReadyLocked(l)
		p.readyWaitingLocked(l.endpoint)
		p.Wake()
	}
	p.mu.Unlock()
	e.perform(p.group)
}

// Circuit returns what this process thinks of a lane: "closed" (it works),
// "open" (it keeps failing and is being probed) or "new" (nothing known, or
// nothing good yet), and how many tries may be under way.
func (p *Pool) Circuit(lane string) (circuit string, atOnce int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := p.lanes[lane]
	switch {
	case l == nil:
		return "new", 1
	case l.health.open():
		return "open", l.health.limit
	case l.health.sick():
		return "new", l.health.limit
	}
	return "closed", l.health.limit
}

// overdueAfter is the grace after which a try is overdue.
const overdueAfter = 10 * time.Second

// Overdue returns the lanes that have a try under way which should have ended
// long ago, as they may be shown and in ascending order. It takes time in
// proportion to the jobs that are held.
func (p *Pool) Overdue() (shown []string) {
	now := time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	for j := p.jobs.first; j != nil; j = j.next {
		if limit := j.lane.terms.Limit; limit > 0 && !j.began.IsZero() && now.Sub(j.began) > limit+overdueAfter {
			shown = append(shown, j.lane.Shown())
		}
	}
	slices.Sort(shown)
	return slices.Compact(shown)
}

// Stalled reports that the pool has not been able to look for work in a while,
// though it had nothing else to do.
func (p *Pool) Stalled() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.state == running && time.Since(p.lastClaim) > stalledAfter
}
