package toot

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// hangsAfter is how long a lane may have requests in flight without an answer
// before no more are sent.
const hangsAfter = time.Second

// lane is what a dispatcher knows of one lane. The dispatcher guards it.
type lane struct {
	name   string
	shown  string // the name, fit to be shown
	queue  queue[*job]
	active int // tries under way
	held   int // jobs in memory and room reserved for more
	inRing bool
	used   time.Time

	restAsked bool // the rest it takes was asked for by the endpoint

	// backlog says that jobs wait in the store, as far as known, so that new
	// ones had better queue up behind them. pushes counts those, to notice
	// one that comes while a claim is under way.
	backlog bool
	pushes  int
	// unasked says that the last claim left the lane out for want of room, so
	// that nobody knows what waits for it.
	unasked bool

	batch         int // events that the endpoint takes in one request; 0: one
	noBatchBefore time.Time
	endpoint      endpoint
	spacing       time.Duration // the least time between two tries
	nextStart     time.Time
	paced         bool // a timer is to make it ready at nextStart

	// pace is how many jobs a second were tried of late.
	pace      float64
	tried     int // since paceSince
	paceSince time.Time

	adapts     bool
	health     health
	progress   time.Time // when a try last ended, or the first of those under way began
	restsUntil time.Time
	epoch      int // counts the rests: answers to older requests say nothing new
}

func newLane(name string, limit laneLimit, probe time.Duration) *lane {
	l := &lane{name: name, shown: redactURL(name), adapts: limit.adapts, spacing: limit.spacing, health: newHealth(limit.max, probe)}
	if !limit.adapts {
		l.health.limit, l.health.proven = limit.max, true
	}
	return l
}

const (
	// maxCapacity is the most jobs of a lane that a process holds.
	maxCapacity = 8192
	// heldWork is for how long the jobs that a process holds of a lane are to
	// keep it busy, while others are being settled and claimed.
	heldWork = 500 * time.Millisecond
)

// capacity is how many jobs of the lane a process holds in memory: as many as
// it lately did in heldWork, or some rounds of what it may do at once. What it
// holds, no other process can do in the meantime. For an endpoint that has
// yet to show that it works there are few.
func (l *lane) capacity() int {
	if l.health.sick() {
		return l.health.limit
	}
	rounds := 4 * l.health.limit * max(l.batch, 1)
	if l.adapts && l.batch == 0 {
		rounds = min(8*rounds, 1024) // its limit is about to grow
	}
	return min(max(rounds, int(l.pace*heldWork.Seconds()), 16), maxCapacity)
}

// paceSpan is how long the lane's pace is measured for, at the least.
const paceSpan = 200 * time.Millisecond

// count takes note of n jobs that were tried.
func (l *lane) count(n int, now time.Time) {
	l.tried += n
	if span := now.Sub(l.paceSince); span >= paceSpan {
		l.pace = float64(l.tried) / span.Seconds()
		l.paceSince, l.tried = now, 0
	}
}

// leave notes that jobs of the lane are left to the store.
func (l *lane) leave() {
	l.backlog = true
	l.pushes++
}

// hangs reports a lane whose requests in flight have gone unanswered for long.
func (l *lane) hangs(now time.Time) bool {
	return l.adapts && l.active > 0 && now.Sub(l.progress) > hangsAfter
}

// forgettable reports a lane that would be made anew much as it is, or whose
// trouble is long past.
func (l *lane) forgettable(now time.Time) bool {
	keep := time.Minute
	if l.health.fails > 0 {
		keep = time.Hour
	}
	return l.held == 0 && l.active == 0 && !l.inRing && !l.backlog && now.Sub(l.used) > keep
}

// job is a claimed job in memory. The dispatcher guards it.
type job struct {
	lane   *lane
	claim  engine.Claimed
	since  time.Time // when claim.Age was true
	leased time.Time // when the lease was taken or last extended
	epoch  int       // of the lane when the try began

	cancel    context.CancelCauseFunc // of the try under way, if it can take long
	end       func(StepResult)        // tells the observer of the try's end
	settling  bool                    // its outcome is known
	extending bool                    // its ticket is being replaced
	parked    *settlement             // waits for that
	lost      bool                    // its lease was lost

	prev, next *job // in the dispatcher's list
}

// age is the time since the job was pushed.
func (j *job) age(now time.Time) time.Duration { return j.claim.Age + now.Sub(j.since) }

// queue is a first-in-first-out queue that reuses its memory.
type queue[T any] struct {
	items []T
	head  int
}

func (q *queue[T]) len() int { return len(q.items) - q.head }

func (q *queue[T]) push(item T) {
	if q.head > 32 && q.head > len(q.items)/2 {
		n := copy(q.items, q.items[q.head:])
		clear(q.items[n:])
		q.items, q.head = q.items[:n], 0
	}
	q.items = append(q.items, item)
}

func (q *queue[T]) peek() T { return q.items[q.head] }

func (q *queue[T]) pop() T {
	var none T
	item := q.items[q.head]
	q.items[q.head] = none
	q.head++
	if q.head == len(q.items) {
		q.items, q.head = q.items[:0], 0
	}
	return item
}

// jobList is a doubly linked list of jobs.
type jobList struct {
	first *job
	n     int
}

func (l *jobList) push(j *job) {
	j.next = l.first
	if l.first != nil {
		l.first.prev = j
	}
	l.first = j
	l.n++
}

func (l *jobList) remove(j *job) {
	if j.prev != nil {
		j.prev.next = j.next
	} else {
		l.first = j.next
	}
	if j.next != nil {
		j.next.prev = j.prev
	}
	j.prev, j.next = nil, nil
	l.n--
}
