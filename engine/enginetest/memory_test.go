package enginetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// memStore is a store in memory: the plainest engine that keeps the contract,
// by which the suite itself is tested. Its bug, if it has one, is a promise
// that it breaks on purpose.
type memStore struct {
	bug bug

	mu       sync.Mutex
	seq      int
	quiet    bool // for followNoHint
	shut     bool // for closesOthers
	subs     map[string]map[string]bool
	jobs     map[memKey]*memJob
	dead     map[string]*memJob
	seen     map[memKey]time.Time // when a job that is over was pushed
	tickets  map[engine.Ticket]*memJob
	deferred map[engine.Lane]time.Time
	watchers map[*memWatcher]bool
	proofs   map[[2]string][]byte // by realm and user name
	attrs    map[[2]string][]byte // by group and name
	memory   map[string]*memThing
}

type memKey struct {
	event string
	lane  engine.Lane
}

type memJob struct {
	key      memKey
	lane     engine.Lane
	event    *engine.Event
	ticket   engine.Ticket // of the last claim, until it is settled
	due      time.Time     // the end of the lease while there is a ticket
	attempt  int
	history  []byte
	claims   int
	pushed   time.Time
	by       *memEngine // who claimed it
	pusher   *memEngine
	deadID   string
	deadSeq  int
	reason   string
	buriedAt time.Time
}

func newMemStore(b bug) *memStore {
	return &memStore{
		bug:      b,
		subs:     map[string]map[string]bool{},
		jobs:     map[memKey]*memJob{},
		dead:     map[string]*memJob{},
		seen:     map[memKey]time.Time{},
		tickets:  map[engine.Ticket]*memJob{},
		deferred: map[engine.Lane]time.Time{},
		watchers: map[*memWatcher]bool{},
		proofs:   map[[2]string][]byte{},
		attrs:    map[[2]string][]byte{},
		memory:   map[string]*memThing{},
	}
}

func (s *memStore) open(r engine.Retention) (engine.Engine, error) {
	m := &memEngine{s: s, r: r.WithDefaults(), watching: map[*memWatcher]bool{}, stale: map[string][]string{}}
	m.deferred = s.deferred
	if s.bug == deferNotShared {
		m.deferred = map[engine.Lane]time.Time{}
	}
	return m, nil
}

// memEngine is one process's view of a store.
type memEngine struct {
	s        *memStore
	r        engine.Retention
	deferred map[engine.Lane]time.Time
	stale    map[string][]string // for subscribersCached

	pushes atomic.Int64 // for closeLosesCalls

	calls    sync.RWMutex // held for writing by Close
	closed   bool
	watching map[*memWatcher]bool
}

// begin starts a call, end (its result) ends it.
func (m *memEngine) begin(ctx context.Context) (end func(), err error) {
	m.calls.RLock()
	if m.closed && m.s.bug != worksAfterClose || m.s.bug == closesOthers && m.s.shut {
		m.calls.RUnlock()
		return nil, fmt.Errorf("memory: %w", engine.ErrClosed)
	}
	if err := ctx.Err(); err != nil && m.s.bug != ignoresContext {
		m.calls.RUnlock()
		return nil, err
	}
	m.s.mu.Lock()
	return func() {
		m.s.mu.Unlock()
		m.calls.RUnlock()
	}, nil
}

// channel is what a channel is found by.
func (s *memStore) channel(c string) string {
	switch s.bug {
	case oneChannel:
		return "the only one"
	case channelsLowerCase:
		return strings.ToLower(c)
	}
	return c
}

func (m *memEngine) AddSubscriber(ctx context.Context, channel, url string, _ time.Duration) (bool, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	channel = m.s.channel(channel)
	c := m.s.subs[channel]
	if c == nil {
		c = map[string]bool{}
		m.s.subs[channel] = c
	}
	added := (!c[url] || m.s.bug == addAlwaysNew) && m.s.bug != addNeverNew
	c[url] = true
	return added, nil
}

func (m *memEngine) RemoveSubscriber(ctx context.Context, channel, url string, _ time.Duration) (bool, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	channel = m.s.channel(channel)
	removed := m.s.subs[channel][url]
	delete(m.s.subs[channel], url)
	if len(m.s.subs[channel]) == 0 && m.s.bug != emptyChannelsStay {
		delete(m.s.subs, channel)
	}
	return removed, nil
}

func (m *memEngine) Subscribers(ctx context.Context, channel string) ([]string, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	channel = m.s.channel(channel)
	if m.s.bug == subscribersBounded && len(m.s.subs[channel]) > 100 {
		return slices.Collect(maps.Keys(m.s.subs[channel]))[:100], nil
	}
	if m.s.bug == subscribersCached {
		if _, ok := m.stale[channel]; !ok {
			m.stale[channel] = slices.Collect(maps.Keys(m.s.subs[channel]))
		}
		return m.stale[channel], nil
	}
	return slices.Collect(maps.Keys(m.s.subs[channel])), nil
}

func (m *memEngine) Channels(ctx context.Context, prefix string) (map[string][]string, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	all := map[string][]string{}
	for c, urls := range m.s.subs {
		match := strings.HasPrefix(c, prefix)
		if m.s.bug == prefixIsPattern {
			match = likeMatch(c, prefix)
		}
		if m.s.bug == prefixAnywhere {
			match = strings.Contains(c, prefix)
		}
		if match {
			all[c] = slices.Sorted(maps.Keys(urls))
		}
	}
	return all, nil
}

// likeMatch is what LIKE with an unescaped prefix would do with _.
func likeMatch(s, prefix string) bool {
	if len(s) < len(prefix) {
		return false
	}
	for i := range len(prefix) {
		if prefix[i] != '_' && prefix[i] != s[i] {
			return false
		}
	}
	return true
}

func validJob(j engine.Job, own *engine.Event) error {
	ev := j.Event
	if ev == nil {
		ev = own
	}
	if ev == nil || ev.ID == "" || validLane(j.Lane) != nil {
		return fmt.Errorf("memory: job %+v: %w", j, engine.ErrInvalid)
	}
	return nil
}

func validLane(l engine.Lane) error {
	if l.Name == "" || l.Kind < engine.FanOut || l.Kind > engine.Handle {
		return fmt.Errorf("memory: lane %+v: %w", l, engine.ErrInvalid)
	}
	return nil
}

func (m *memEngine) Ping(context.Context) error { return nil }

func (m *memEngine) Push(ctx context.Context, req engine.PushRequest) (engine.PushResult, error) {
	tickets, err := m.pushJobs(ctx, req.Jobs)
	return engine.PushResult{Tickets: tickets}, err
}

func (m *memEngine) pushJobs(ctx context.Context, jobs []engine.Job) ([]engine.Ticket, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if m.s.bug == emptyCallsFail && len(jobs) == 0 {
		return nil, engine.ErrInvalid
	}
	if m.s.bug != pushNotAtomic {
		for _, j := range jobs {
			if err := validJob(j, nil); err != nil {
				return nil, err
			}
		}
	}
	tickets := make([]engine.Ticket, len(jobs))
	if m.s.bug == closeLosesCalls && m.pushes.Add(1) > 10 {
		return tickets, nil
	}
	for i, j := range jobs {
		if err := validJob(j, nil); err != nil {
			return nil, err
		}
		tickets[i] = m.add(j, nil)
	}
	return tickets, nil
}

func (m *memEngine) add(j engine.Job, own *engine.Event) engine.Ticket {
	ev := j.Event
	if ev == nil {
		ev = own
	}
	key := m.s.key(ev.ID, j.Lane)
	if m.s.jobs[key] != nil && m.s.bug != pushOverwrites {
		return ""
	}
	if m.s.bug == deferStopsPush && m.deferred[j.Lane].After(time.Now()) {
		return ""
	}
	window := m.r.Dedupe
	if m.s.bug == dedupeForever {
		window = long
	}
	if at, ok := m.s.seen[key]; ok && time.Since(at) < window {
		return ""
	}
	stored := &engine.Event{ID: ev.ID, Channel: ev.Channel, Body: slices.Clone(ev.Body), Meta: slices.Clone(ev.Meta)}
	if m.s.bug == largeBodiesCut && len(stored.Body) > 1<<16 {
		stored.Body = stored.Body[:1<<16]
	}
	if m.s.bug == losesMeta {
		stored.Meta = nil
	}
	if m.s.bug == bodyAsText {
		stored.Body = []byte(strings.ToValidUTF8(string(ev.Body), "\uFFFD"))
	}
	now := time.Now()
	job := &memJob{key: key, lane: j.Lane, event: stored, pushed: now, due: now, pusher: m}
	m.s.jobs[key] = job
	if j.Delay > 0 && m.s.bug != ignoresDelay {
		job.due = now.Add(j.Delay)
	}
	if j.Lease > 0 {
		if m.s.bug != leasedPushNotClaimed {
			m.lease(job, j.Lease)
		}
		return job.ticket
	}
	m.hint(j.Lane.Kind)
	return ""
}

// key is the identity of a job.
func (s *memStore) key(eventID string, lane engine.Lane) memKey {
	if s.bug == identitiesRunTogether {
		return memKey{eventID + ":" + lane.Name, engine.Lane{Kind: lane.Kind}}
	}
	if s.bug == laneNotInIdentity {
		lane = engine.Lane{}
	}
	return memKey{eventID, lane}
}

func (s *memStore) dropEvent(id string) {
	for _, j := range slices.Concat(slices.Collect(maps.Values(s.jobs)), slices.Collect(maps.Values(s.dead))) {
		if j.event.ID == id {
			j.event = &engine.Event{ID: id}
		}
	}
}

func (m *memEngine) lease(j *memJob, d time.Duration) {
	m.s.seq++
	if m.s.bug != staleSettles {
		delete(m.s.tickets, j.ticket)
	}
	j.ticket = engine.Ticket(fmt.Sprintf("claim-%d", m.s.seq))
	m.s.tickets[j.ticket] = j
	j.due = time.Now().Add(d)
	switch m.s.bug {
	case leasesNeverEnd:
		j.due = time.Now().Add(d + 10*long)
	case leasesIgnored:
		j.due = time.Now()
	}
	j.claims++
	j.by = m
	if m.s.bug == claimsNotCounted {
		j.claims = 1
	}
}

func (m *memEngine) Claim(ctx context.Context, req engine.ClaimRequest) (engine.ClaimResult, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return engine.ClaimResult{}, err
	}
	defer end()
	if m.s.bug == acceptsInvalid {
		return engine.ClaimResult{Next: -1}, nil
	}
	if req.Max < 1 || req.MaxPerLane < 1 || req.Lease <= 0 || validLane(engine.Lane{Kind: req.Kind, Name: "x"}) != nil {
		return engine.ClaimResult{}, fmt.Errorf("memory: claim %+v: %w", req, engine.ErrInvalid)
	}
	now := time.Now()
	lanes := m.lanes(req)
	res := engine.ClaimResult{Next: -1}
	for _, l := range lanes {
		if t := m.deferred[l.lane]; t.After(now) {
			l.limit = 0
		}
	}
	// One job of each lane in turn, until nothing more may be taken.
	for took := true; took; {
		took = false
		for _, l := range lanes {
			for l.taken < l.limit && l.taken < len(l.jobs) && len(res.Jobs) < req.Max && !l.jobs[l.taken].due.After(now) {
				j := l.jobs[l.taken]
				l.taken++
				if m.s.bug == ageSinceClaim {
					j.pushed = j.due
				}
				m.lease(j, req.Lease)
				res.Jobs = append(res.Jobs, engine.Claimed{
					Ticket: j.ticket, Event: j.event, Lane: j.lane, Attempt: j.attempt,
					History: j.history, Claims: j.claims, Age: now.Sub(j.pushed),
				})
				took = true
				if m.s.bug != unfairClaim {
					break
				}
			}
		}
	}
	for _, l := range lanes {
		for _, j := range l.jobs {
			at := j.due
			if t := m.deferred[l.lane]; t.After(at) && m.s.bug != nextIgnoresDeferral {
				at = t
			}
			next := max(0, at.Sub(now))
			if m.s.bug == nextIgnoresLeases && j.ticket != "" || m.s.bug == nextIgnoresLeftBehind && next == 0 || m.s.bug == nextOnlyNow && next > 0 {
				continue
			}
			if res.Next < 0 || next < res.Next {
				res.Next = next
			}
		}
	}
	switch {
	case m.s.bug == nextAlwaysZero, m.s.bug == nextIgnoresRequest && len(m.s.jobs) > 0 && len(res.Jobs) == 0:
		res.Next = 0
	case m.s.bug == nextNeverNegative:
		res.Next = max(res.Next, 1)
	}
	return res, nil
}

type memLane struct {
	lane  engine.Lane
	limit int
	jobs  []*memJob
	taken int
}

// lanes are the lanes that a request does not leave out, the oldest first,
// with their jobs in the order in which they are or become due.
func (m *memEngine) lanes(req engine.ClaimRequest) []*memLane {
	byLane := map[engine.Lane]*memLane{}
	for _, j := range m.s.jobs {
		l := j.lane
		if m.s.bug == pushNotShared && j.pusher != m {
			continue
		}
		limit, named := req.Limits[l.Name]
		if !named || m.s.bug == ignoresLimits {
			limit = req.MaxPerLane
			if m.s.bug == ignoresMaxPerLane {
				limit = req.Max
			}
		}
		only := req.Only != nil
		if m.s.bug == emptyOnlyIsAll {
			only = len(req.Only) > 0
		}
		if l.Kind != req.Kind && m.s.bug != kindsMixed || limit < 1 || only && !slices.Contains(req.Only, l.Name) {
			continue
		}
		if byLane[l] == nil {
			byLane[l] = &memLane{lane: l, limit: limit}
		}
		byLane[l].jobs = append(byLane[l].jobs, j)
	}
	lanes := slices.Collect(maps.Values(byLane))
	for _, l := range lanes {
		sort.Slice(l.jobs, func(i, k int) bool {
			if m.s.bug == orderOfPushes {
				return l.jobs[i].pushed.Before(l.jobs[k].pushed)
			}
			return l.jobs[i].due.Before(l.jobs[k].due) != (m.s.bug == lastInFirstOut)
		})
	}
	sort.Slice(lanes, func(i, k int) bool {
		return lanes[i].jobs[0].due.Before(lanes[k].jobs[0].due) != (m.s.bug == youngestLaneFirst)
	})
	return lanes
}

func (m *memEngine) Settle(ctx context.Context, outcomes []engine.Outcome) ([]engine.Settled, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	if m.s.bug == emptyCallsFail && len(outcomes) == 0 {
		return nil, engine.ErrInvalid
	}
	for _, o := range outcomes {
		for _, f := range o.Follow {
			if err := validJob(f, &engine.Event{ID: "own"}); err != nil && m.s.bug != settleNotAtomic {
				return nil, err
			}
		}
		if (o.Result < engine.Done || o.Result > engine.Extend) && m.s.bug != acceptsInvalid {
			return nil, fmt.Errorf("memory: result %d: %w", o.Result, engine.ErrInvalid)
		}
	}
	settled := make([]engine.Settled, len(outcomes))
	for i, o := range outcomes {
		j := m.s.tickets[o.Ticket]
		if m.s.bug == anyTicketWorks && j == nil {
			for _, j = range m.s.jobs {
				o.Ticket = j.ticket
				break
			}
		}
		if m.s.bug == ticketsOfOneEngine && j != nil && j.by != m {
			continue
		}
		if j == nil || j.ticket != o.Ticket && m.s.bug != staleSettles {
			if m.s.bug == staleStopsBatch {
				break
			}
			if m.s.bug == followForStale {
				for _, f := range o.Follow {
					if f.Event != nil {
						m.add(f, nil)
					}
				}
			}
			continue
		}
		if m.s.bug == deferStopsSettle && m.deferred[j.lane].After(time.Now()) {
			continue
		}
		if m.s.bug == lateIsStale && j.due.Before(time.Now()) {
			continue
		}
		settled[i].OK = true
		settled[i].Ticket = m.apply(j, o)
		for k, f := range o.Follow {
			if m.s.bug == losesFollowUps && k >= 1000 {
				settled[i].Follow = append(settled[i].Follow, "")
				continue
			}
			if err := validJob(f, j.event); err != nil {
				return nil, err
			}
			own := j.event
			switch m.s.bug {
			case followIgnoresLease:
				f.Lease, f.Delay = 0, 0
			case followLosesEvent:
				own = &engine.Event{ID: own.ID}
			case followAlwaysOwn:
				f.Event = nil
			case followNoHint:
				m.s.quiet = true
			}
			settled[i].Follow = append(settled[i].Follow, m.add(f, own))
			m.s.quiet = false
		}
	}
	return settled, nil
}

func (m *memEngine) apply(j *memJob, o engine.Outcome) engine.Ticket {
	now := time.Now()
	if o.Result == engine.Extend {
		if m.s.bug == extendKeepsTicket {
			j.due = now.Add(o.After)
			return j.ticket
		}
		j.claims--
		until := j.due
		m.lease(j, max(0, o.After))
		if m.s.bug == extendOnlyGrows && until.After(j.due) {
			j.due = until
		}
		return j.ticket
	}
	if m.s.bug != ticketNotSpent {
		delete(m.s.tickets, o.Ticket)
		j.ticket = ""
	}
	if m.s.bug == doneReturns && (o.Result == engine.Done || o.Result == engine.Bury) {
		j.due = now.Add(brief / 2)
		return ""
	}
	switch o.Result {
	case engine.Done:
		delete(m.s.jobs, j.key)
		if m.s.bug == eventGoesWithFirstJob {
			m.s.dropEvent(j.event.ID)
		}
		if m.s.bug != forgetsDone {
			m.s.seen[j.key] = j.pushed
		}
	case engine.Retry:
		j.due, j.attempt, j.history = now.Add(o.After), o.Attempt, slices.Clone(o.History)
		switch m.s.bug {
		case retryIgnoresAfter:
			j.due = now
		case historyAsText:
			j.history = []byte(strings.ToValidUTF8(string(o.History), "?"))
		}
		m.hint(j.lane.Kind)
	case engine.Release:
		j.due = now.Add(o.After)
		if m.s.bug != releaseCountsClaim {
			j.claims--
		}
		if m.s.bug == releaseIgnoresAfter {
			j.due = now
		}
		if m.s.bug == releaseBumpsAttempt {
			j.attempt++
		}
		m.hint(j.lane.Kind)
	case engine.Bury:
		delete(m.s.jobs, j.key)
		if m.s.bug != forgetsDead {
			m.s.seen[j.key] = j.pushed
		}
		if m.s.bug == burySameAsDone {
			return ""
		}
		m.s.seq++
		j.deadSeq = m.s.seq
		if m.s.bug == reasonOfFirstBury && j.deadID != "" {
			o.Reason = "first"
		}
		j.deadID = fmt.Sprintf("dead-%d", m.s.seq)
		j.attempt, j.history, j.reason, j.buriedAt = o.Attempt, slices.Clone(o.History), o.Reason, now
		m.s.dead[j.deadID] = j
	}
	return ""
}

func (m *memEngine) Defer(ctx context.Context, lane engine.Lane, d time.Duration) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if err := validLane(lane); err != nil && m.s.bug != acceptsInvalid {
		return err
	}
	until := time.Now().Add(d)
	if m.s.bug == deferOnlyGrows && d > 0 && m.deferred[lane].After(until) {
		return nil
	}
	if m.s.bug == deferNeedsJobs {
		found := false
		for _, j := range m.s.jobs {
			found = found || j.lane == lane
		}
		if !found {
			return nil
		}
	}
	if m.s.bug == deferIgnored || m.s.bug == deferNotLifted && d <= 0 {
		return nil
	}
	m.deferred[lane] = until
	if m.s.bug == deferWholeKind {
		for _, k := range kinds {
			m.deferred[engine.Lane{Kind: k, Name: lane.Name}] = until
		}
	}
	m.hint(lane.Kind)
	return nil
}

// memWatcher calls wake from a goroutine of its own.
type memWatcher struct {
	wake  func(engine.Kind)
	kinds chan engine.Kind
	stop  chan struct{}
	ended chan struct{}
	once  sync.Once
}

func (m *memEngine) Watch(wake func(engine.Kind)) (stop func()) {
	w := &memWatcher{wake: wake, kinds: make(chan engine.Kind, 16), stop: make(chan struct{}), ended: make(chan struct{})}
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
	m.s.mu.Lock()
	if m.s.bug == hintsFirstOnly {
		clear(m.s.watchers)
	}
	m.s.watchers[w] = true
	m.watching[w] = true
	m.s.mu.Unlock()
	return func() {
		if m.s.bug == stopAfterCloseHangs {
			m.calls.RLock()
			closed := m.closed
			m.calls.RUnlock()
			if closed {
				time.Sleep(4 * time.Second)
			}
		}
		if m.s.bug != stopDoesNotStop {
			m.unwatch(w)
		}
	}
}

func (m *memEngine) unwatch(w *memWatcher) {
	m.s.mu.Lock()
	delete(m.s.watchers, w)
	m.s.mu.Unlock()
	w.once.Do(func() { close(w.stop) })
	<-w.ended
}

func (m *memEngine) hint(k engine.Kind) {
	if m.s.bug == neverHints || m.s.quiet {
		return
	}
	for w := range m.s.watchers {
		if m.s.bug == hintsNotShared && !m.watching[w] {
			continue
		}
		select {
		case w.kinds <- k:
		default: // a hint too many
		}
		if m.s.bug == hintsFirstOnly {
			return
		}
	}
}

func (m *memEngine) Close() error {
	m.calls.Lock()
	defer m.calls.Unlock()
	if m.closed && m.s.bug == closeTwiceFails {
		return fmt.Errorf("memory: %w", engine.ErrClosed)
	}
	m.closed = true
	m.s.mu.Lock()
	m.s.shut = true
	m.s.mu.Unlock()
	for w := range m.watching {
		m.unwatch(w)
	}
	if m.s.bug == forgetsOnClose {
		clear(m.s.seen)
	}
	if m.s.bug == losesOnClose {
		m.s.mu.Lock()
		defer m.s.mu.Unlock()
		m.s.jobs = map[memKey]*memJob{}
		clear(m.s.deferred)
	}
	return nil
}

// abandon leaves behind what a process that died would.
func (m *memEngine) abandon() {
	m.calls.Lock()
	defer m.calls.Unlock()
	m.closed = true
	for w := range m.watching {
		m.unwatch(w)
	}
	if m.s.bug == losesOnCrash {
		m.s.mu.Lock()
		defer m.s.mu.Unlock()
		clear(m.deferred)
	}
}
