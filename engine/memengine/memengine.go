// Package memengine is an engine in memory, for tests: it loses everything
// with its process, but keeps the rest of the contract, and works under the
// fake clock of testing/synctest.
package memengine

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// Store is what engines have in common that are open on it, as those of
// several processes would be.
type Store struct {
	mu       sync.Mutex
	seq      int
	subs     map[string]map[string]bool
	lanes    map[engine.Lane]map[string]*job // by event ID
	dead     map[string]*job
	seen     map[identity]time.Time // when a job that is over was pushed
	tickets  map[engine.Ticket]*job
	deferred map[engine.Lane]time.Time
	watchers map[*watcher]bool
	proofs   map[[2]string][]byte // by realm and user name
	attrs    map[[2]string][]byte // by group and name
	memory   map[string]thing
}

type identity struct {
	event string
	lane  engine.Lane
}

type job struct {
	id       identity
	event    *engine.Event
	ticket   engine.Ticket // of the last claim, until it is settled
	due      time.Time     // the end of the lease while there is a ticket
	order    int           // among jobs that are due at the same moment
	attempt  int
	history  []byte
	claims   int
	pushed   time.Time
	deadID   string
	buried   int
	reason   string
	buriedAt time.Time
}

// NewStore returns an empty store.
func NewStore() *Store {
	return &Store{
		subs:     map[string]map[string]bool{},
		lanes:    map[engine.Lane]map[string]*job{},
		dead:     map[string]*job{},
		seen:     map[identity]time.Time{},
		tickets:  map[engine.Ticket]*job{},
		deferred: map[engine.Lane]time.Time{},
		watchers: map[*watcher]bool{},
		proofs:   map[[2]string][]byte{},
		attrs:    map[[2]string][]byte{},
		memory:   map[string]thing{},
	}
}

// Engine is one process's view of a store.
type Engine struct {
	s *Store
	r engine.Retention

	calls    sync.RWMutex // held for writing by Close
	closed   bool
	watching map[*watcher]bool // guarded by s.mu
}

var (
	_ engine.Engine      = (*Engine)(nil)
	_ engine.DeadLetters = (*Engine)(nil)
	_ engine.Inspector   = (*Engine)(nil)
	_ engine.Credentials = (*Engine)(nil)
	_ engine.Attributes  = (*Engine)(nil)
	_ engine.Memory      = (*Engine)(nil)
)

// Open opens an engine on the store.
func (s *Store) Open(r engine.Retention) *Engine {
	return &Engine{s: s, r: r.WithDefaults(), watching: map[*watcher]bool{}}
}

// begin starts a call, end (its result) ends it.
func (e *Engine) begin(ctx context.Context) (end func(), err error) {
	e.calls.RLock()
	err = ctx.Err()
	if e.closed {
		err = fmt.Errorf("memengine: %w", engine.ErrClosed)
	}
	if err != nil {
		e.calls.RUnlock()
		return nil, err
	}
	e.s.mu.Lock()
	return func() {
		e.s.mu.Unlock()
		e.calls.RUnlock()
	}, nil
}

// AddSubscriber implements engine.Engine.
func (e *Engine) AddSubscriber(ctx context.Context, channel, url string) (bool, error) {
	end, err := e.begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	if e.s.subs[channel] == nil {
		e.s.subs[channel] = map[string]bool{}
	}
	added := !e.s.subs[channel][url]
	e.s.subs[channel][url] = true
	return added, nil
}

// RemoveSubscriber implements engine.Engine.
func (e *Engine) RemoveSubscriber(ctx context.Context, channel, url string) (bool, error) {
	end, err := e.begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	removed := e.s.subs[channel][url]
	delete(e.s.subs[channel], url)
	if len(e.s.subs[channel]) == 0 {
		delete(e.s.subs, channel)
	}
	return removed, nil
}

// Subscribers implements engine.Engine.
func (e *Engine) Subscribers(ctx context.Context, channel string) ([]string, error) {
	end, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	return slices.Sorted(maps.Keys(e.s.subs[channel])), nil
}

// Channels implements engine.Engine.
func (e *Engine) Channels(ctx context.Context, prefix string) (map[string][]string, error) {
	end, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	all := map[string][]string{}
	for c, urls := range e.s.subs {
		if strings.HasPrefix(c, prefix) {
			all[c] = slices.Sorted(maps.Keys(urls))
		}
	}
	return all, nil
}

func check(lane engine.Lane, ev *engine.Event) error {
	if ev == nil || ev.ID == "" || lane.Name == "" || lane.Kind < engine.FanOut || lane.Kind > engine.Handle {
		return fmt.Errorf("memengine: event %v in lane %v: %w", ev, lane, engine.ErrInvalid)
	}
	return nil
}

// anything stands for an event where only a lane is checked.
var anything = &engine.Event{ID: "anything"}

// Push implements engine.Engine.
func (e *Engine) Push(ctx context.Context, jobs []engine.Job) ([]engine.Ticket, error) {
	end, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	for _, j := range jobs {
		if err := check(j.Lane, j.Event); err != nil {
			return nil, err
		}
	}
	tickets := make([]engine.Ticket, len(jobs))
	for i, j := range jobs {
		tickets[i] = e.add(j, j.Event)
	}
	return tickets, nil
}

// add stores a job unless it is there already. The store is locked.
func (e *Engine) add(pushed engine.Job, ev *engine.Event) engine.Ticket {
	id := identity{ev.ID, pushed.Lane}
	if e.s.lanes[pushed.Lane][ev.ID] != nil {
		return ""
	}
	now := time.Now()
	if at, over := e.s.seen[id]; over {
		if now.Sub(at) < e.r.Dedupe {
			return ""
		}
		delete(e.s.seen, id)
	}
	j := &job{id: id, pushed: now, due: now.Add(max(pushed.Delay, 0)), event: &engine.Event{
		ID: ev.ID, Channel: ev.Channel, Body: slices.Clone(ev.Body), Meta: slices.Clone(ev.Meta),
	}}
	e.s.keep(j)
	if pushed.Lease > 0 {
		e.s.lease(j, pushed.Lease)
		return j.ticket
	}
	e.s.hint(pushed.Lane.Kind)
	return ""
}

func (s *Store) keep(j *job) {
	lane := s.lanes[j.id.lane]
	if lane == nil {
		lane = map[string]*job{}
		s.lanes[j.id.lane] = lane
	}
	lane[j.id.event] = j
	s.seq++
	j.order = s.seq
}

func (s *Store) remove(j *job) {
	lane := s.lanes[j.id.lane]
	delete(lane, j.id.event)
	if len(lane) == 0 {
		delete(s.lanes, j.id.lane)
	}
}

func (s *Store) lease(j *job, d time.Duration) {
	delete(s.tickets, j.ticket)
	s.seq++
	j.ticket = engine.Ticket(fmt.Sprintf("claim-%d", s.seq))
	s.tickets[j.ticket] = j
	j.due = time.Now().Add(d)
	j.claims++
}

// Claim implements engine.Engine.
func (e *Engine) Claim(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
	end, err := e.begin(ctx)
	if err != nil {
		return engine.ClaimResult{}, err
	}
	defer end()
	if req.Max < 1 || req.MaxPerLane < 1 || req.Lease <= 0 || check(engine.Lane{Kind: req.Kind, Name: "any"}, anything) != nil {
		return engine.ClaimResult{}, fmt.Errorf("memengine: claim %+v: %w", req, engine.ErrInvalid)
	}
	now := time.Now()
	lanes := e.s.open(req, now)
	res := engine.ClaimResult{Next: -1}
	for took := true; took; {
		took = false
		for _, l := range lanes {
			if l.taken == l.limit || l.taken == len(l.jobs) || len(res.Jobs) == req.Max || l.jobs[l.taken].due.After(now) {
				continue
			}
			j := l.jobs[l.taken]
			l.taken++
			took = true
			e.s.lease(j, req.Lease)
			res.Jobs = append(res.Jobs, engine.Claimed{
				Ticket: j.ticket, Event: j.event, Lane: j.id.lane, Attempt: j.attempt,
				History: j.history, Claims: j.claims, Age: now.Sub(j.pushed),
			})
		}
	}
	for _, l := range lanes {
		for _, j := range l.jobs {
			next := max(j.due.Sub(now), e.s.deferred[j.id.lane].Sub(now), 0)
			if res.Next < 0 || next < res.Next {
				res.Next = next
			}
		}
	}
	return res, nil
}

// claimable is a lane during a claim.
type claimable struct {
	jobs  []*job // in order
	limit int
	taken int
}

// open returns the lanes that a request does not leave out, the oldest first.
func (s *Store) open(req engine.ClaimRequest, now time.Time) []*claimable {
	var lanes []*claimable
	for lane, jobs := range s.lanes {
		limit, named := req.Limits[lane.Name]
		if !named {
			limit = req.MaxPerLane
		}
		if lane.Kind != req.Kind || limit < 1 || req.Only != nil && !slices.Contains(req.Only, lane.Name) {
			continue
		}
		if s.deferred[lane].After(now) {
			limit = 0
		}
		lanes = append(lanes, &claimable{limit: limit, jobs: slices.SortedFunc(maps.Values(jobs), func(a, b *job) int {
			return cmp.Or(a.due.Compare(b.due), cmp.Compare(a.order, b.order))
		})})
	}
	slices.SortFunc(lanes, func(a, b *claimable) int {
		return cmp.Or(a.jobs[0].due.Compare(b.jobs[0].due), cmp.Compare(a.jobs[0].order, b.jobs[0].order))
	})
	return lanes
}

// Settle implements engine.Engine.
func (e *Engine) Settle(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
	end, err := e.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	for _, o := range outcomes {
		if o.Result < engine.Done || o.Result > engine.Extend {
			return nil, fmt.Errorf("memengine: result %d: %w", o.Result, engine.ErrInvalid)
		}
		for _, f := range o.Follow {
			if err := check(f.Lane, cmp.Or(f.Event, anything)); err != nil {
				return nil, err
			}
		}
	}
	settled := make([]engine.Settled, len(outcomes))
	for i, o := range outcomes {
		j := e.s.tickets[o.Ticket]
		if j == nil {
			continue
		}
		settled[i].OK = true
		settled[i].Ticket = e.apply(j, o)
		for _, f := range o.Follow {
			settled[i].Follow = append(settled[i].Follow, e.add(f, cmp.Or(f.Event, j.event)))
		}
	}
	return settled, nil
}

func (e *Engine) apply(j *job, o engine.Outcome) (extended engine.Ticket) {
	if o.Result == engine.Extend {
		j.claims--
		e.s.lease(j, max(o.After, 0))
		return j.ticket
	}
	delete(e.s.tickets, o.Ticket)
	j.ticket = ""
	now := time.Now()
	switch o.Result {
	case engine.Done:
		e.s.remove(j)
		e.s.seen[j.id] = j.pushed
	case engine.Bury:
		e.s.remove(j)
		e.s.seen[j.id] = j.pushed
		e.s.seq++
		j.attempt, j.history, j.reason = o.Attempt, slices.Clone(o.History), o.Reason
		j.deadID, j.buried, j.buriedAt = fmt.Sprintf("dead-%d", e.s.seq), e.s.seq, now
		e.s.dead[j.deadID] = j
	default:
		if o.Result == engine.Retry {
			j.attempt, j.history = o.Attempt, slices.Clone(o.History)
		} else {
			j.claims--
		}
		j.due = now.Add(max(o.After, 0))
		e.s.seq++
		j.order = e.s.seq
		e.s.hint(j.id.lane.Kind)
	}
	return ""
}

// Defer implements engine.Engine.
func (e *Engine) Defer(ctx context.Context, lane engine.Lane, d time.Duration) error {
	end, err := e.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := check(lane, anything); err != nil {
		return err
	}
	delete(e.s.deferred, lane)
	if d > 0 {
		e.s.deferred[lane] = time.Now().Add(d)
	}
	e.s.hint(lane.Kind)
	return nil
}

// watcher calls wake from a goroutine of its own.
type watcher struct {
	wake  func(engine.Kind)
	kinds chan engine.Kind
	stop  chan struct{}
	ended chan struct{}
	once  sync.Once
}

// Watch implements engine.Engine.
func (e *Engine) Watch(wake func(engine.Kind)) (stop func()) {
	w := &watcher{wake: wake, kinds: make(chan engine.Kind, 16), stop: make(chan struct{}), ended: make(chan struct{})}
	go func() {
		defer close(w.ended)
		for {
			select {
			case <-w.stop:
				return
			case k := <-w.kinds:
				w.wake(k)
			}
		}
	}()
	e.s.mu.Lock()
	defer e.s.mu.Unlock()
	e.s.watchers[w] = true
	e.watching[w] = true
	return func() { e.s.unwatch(w) }
}

func (s *Store) unwatch(w *watcher) {
	s.mu.Lock()
	delete(s.watchers, w)
	s.mu.Unlock()
	w.once.Do(func() { close(w.stop) })
	<-w.ended
}

// hint tells watchers of work of a kind. The store is locked.
func (s *Store) hint(k engine.Kind) {
	for w := range s.watchers {
		select {
		case w.kinds <- k:
		default: // a hint too many
		}
	}
}

// Close implements engine.Engine.
func (e *Engine) Close() error {
	e.calls.Lock()
	defer e.calls.Unlock()
	e.closed = true
	e.s.mu.Lock()
	watching := slices.Collect(maps.Keys(e.watching))
	e.s.mu.Unlock()
	for _, w := range watching {
		e.s.unwatch(w)
	}
	return nil
}
