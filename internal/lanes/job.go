package lanes

import (
	"context"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// jobState is what a held job is at.
//
//	working ──► extending ──► working              its lease was extended
//	   │            ├───────► leaseLost            another worker has taken it over
//	   │            └───────► settlesAfterExtending ──► settling, or gone if the lease was lost
//	   └──────────► settling ──► gone              its outcome is stored
//	                   └───────► working           the same, of a part of it
//
// A job that is leaseLost is gone as soon as its try has ended.
type jobState uint8

const (
	working               jobState = iota // waits, or is being tried
	extending                             // the same, and its ticket is being replaced
	settlesAfterExtending                 // its outcome is known, but not yet its ticket
	settling                              // its outcome is known, and on its way into the store
	leaseLost                             // its ticket is worth nothing
)

// Job is a claimed job in memory.
type Job struct {
	Event   *engine.Event
	Attempt int    // tries before this one that count
	History []byte // as the last failure left it
	Claims  int    // how often it has been claimed, this time included

	// Data is TryFunc's own, for Config.Ended.
	Data any

	lane *Lane

	// What follows is guarded by the pool.

	ticket    engine.Ticket
	pushed    time.Time // by this process's clock
	leased    time.Time // when the lease was taken or last extended
	began     time.Time // when the try under way began, zero if there is none
	rested    int       // the lane's when the try began
	state     jobState
	givenBack bool                    // on its way back into the store, see Lane.givingBack
	deferred  *settlement             // while settlesAfterExtending
	again     *engine.Claimed         // brought by a claim while settling: its ticket if the other is stale, else a new try
	cancel    context.CancelCauseFunc // of the try under way, if it can take long

	prev, next *Job // in the pool's list
}

func newJob(l *Lane, c engine.Claimed, at time.Time) *Job {
	return &Job{
		Event: c.Event, Attempt: c.Attempt, History: c.History, Claims: c.Claims,
		lane: l, ticket: c.Ticket, pushed: at.Add(-c.Age), leased: at,
	}
}

// Age is the time since the job was pushed.
func (j *Job) Age() time.Duration { return j.age(time.Now()) }

func (j *Job) age(now time.Time) time.Duration { return now.Sub(j.pushed) }

// isSettled reports that the outcome is known.
func (j *Job) isSettled() bool { return j.state == settling || j.state == settlesAfterExtending }

// CancelIfLost has cancel called, with ErrLeaseLost as the cause, if the lease
// on a job is lost while it is being tried.
func (p *Pool) CancelIfLost(j *Job, cancel context.CancelCauseFunc) {
	p.mu.Lock()
	j.cancel = cancel
	lost := j.state == leaseLost
	p.mu.Unlock()
	if lost {
		cancel(ErrLeaseLost)
	}
}

// jobList is a doubly linked list of jobs.
type jobList struct {
	first *Job
	n     int
}

func (l *jobList) push(j *Job) {
	j.next = l.first
	if l.first != nil {
		l.first.prev = j
	}
	l.first = j
	l.n++
}

func (l *jobList) remove(j *Job) {
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
