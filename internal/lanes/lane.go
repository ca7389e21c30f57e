package lanes

import "time"

// hangsAfter is how long a lane may have tries under way without an answer: then
// what it has not begun is given back. Of one that adapts, no more is begun.
const hangsAfter = time.Second

// Lane is what a pool knows of one lane.
type Lane struct {
	name  string
	terms Terms
	*endpoint
	site *site // nil if it is in none

	// What follows is guarded by the pool.

	queue      queue[*Job]
	active     int         // tries under way
	held       int         // jobs in memory, and room reserved for more
	hasTurn    bool        // it is among the pool's turns
	tookAsSick bool        // what it took of its site with its last turn
	in         [lists]bool // the lists of waiting lanes that it is in
	used       time.Time   // when it was last asked for

	// waitsInStore says that jobs of the lane wait in the store, as far as
	// known, so that new ones had better queue up behind them. leftInStore
	// counts those that were left there, to notice one that comes while a claim
	// is under way.
	waitsInStore bool
	leftInStore  int
	// leftOut says that the last claim left the lane out for want of room, so
	// that nobody knows what waits for it.
	leftOut bool

	round          int         // jobs that it takes in one try; 0: one
	noRoundsBefore time.Time   // see refusalLasts
	spacing        *time.Timer // is to make it ready at nextStart

	// slow says that the last try took longer than hangsAfter, or that none has
	// ended for so long: the lane holds only what it may have under way. One that
	// adapts is never slow.
	slow bool
	// givingBack counts the jobs on their way back into the store. Until they are
	// there, a claim could bring only younger ones.
	givingBack int
	gaveBack   int // the pool's, when it last gave back what waited

	// pace is how many jobs a second were tried of late.
	pace      float64
	tried     int // since paceSince
	paceSince time.Time

	restsUntil time.Time
	// restWasAskedFor says that the lane's own answer asked for the rest, so
	// that a good answer to another request does not end it.
	restWasAskedFor bool
	// rested goes up whenever the lane is put to rest; an answer to a try begun
	// before that is not counted as a failure again.
	rested int
}

func newLane(name string, terms Terms) *Lane {
	l := &Lane{name: name, endpoint: &endpoint{}}
	l.terms.keep(terms)
	l.setTerms(terms)
	return l
}

func (l *Lane) setTerms(t Terms) {
	t.keep(l.terms)
	t.AtOnce = max(t.AtOnce, 1)
	l.nextStart = l.nextStart.Add(t.Spacing - l.terms.Spacing)
	l.stopSpacing() // for another time
	began := l.health.probe != 0 || l.health.max != 0
	l.terms = t
	switch {
	case !t.Adapts:
		l.health = newHealth(t.AtOnce, t.Probe)
		l.health.limit, l.health.proven = t.AtOnce, true
	case !began:
		l.health = newHealth(t.AtOnce, t.Probe)
	default:
		l.health.max, l.health.probe = t.AtOnce, t.Probe
		l.health.limit = min(l.health.limit, t.AtOnce)
	}
}

// stopSpacing stops the timer that is to make the lane ready.
func (l *Lane) stopSpacing() {
	if l.spacing != nil {
		l.spacing.Stop()
		l.spacing = nil
	}
}

// Name returns the lane's name.
func (l *Lane) Name() string { return l.name }

// Shown returns the lane's name as it may be logged.
func (l *Lane) Shown() string { return l.terms.Shown }

// Peer returns what its Terms had under that name when the lane was made.
func (l *Lane) Peer() any { return l.terms.Peer }

const (
	// maxCapacity is the most jobs of a lane that a process holds.
	maxCapacity = 8192
	// heldWork is for how long the jobs that a process holds of a lane are to
	// keep it busy, while others are being settled and claimed.
	heldWork = 500 * time.Millisecond
)

// capacity is how many jobs of the lane a process holds in memory: as many as
// it lately did in heldWork, or some rounds of what it may do at once. What it
// holds, no other process can do in the meantime. For a lane that is slow, or
// has yet to show that it works, there are few.
func (l *Lane) capacity() int {
	if l.slow || l.health.sick() {
		return l.health.limit
	}
	rounds := 4 * l.health.limit * max(l.round, 1)
	if l.terms.Adapts && l.round == 0 {
		rounds = min(8*rounds, 1024) // its limit is about to grow
	}
	return min(max(rounds, int(l.pace*heldWork.Seconds()), 16), maxCapacity)
}

// paceSpan is how long the lane's pace is measured for, at the least.
const paceSpan = 200 * time.Millisecond

// count takes note of n jobs that were tried.
func (l *Lane) count(n int, now time.Time) {
	l.tried += n
	if span := now.Sub(l.paceSince); span >= paceSpan {
		l.pace = float64(l.tried) / span.Seconds()
		l.paceSince, l.tried = now, 0
	}
}

// noteLeftInStore notes that a job of the lane was left to the store.
func (l *Lane) noteLeftInStore() {
	l.waitsInStore = true
	l.leftInStore++
}

// rests reports a lane that is given a rest.
func (l *Lane) rests(now time.Time) bool { return now.Before(l.restsUntil) }

// isSilent reports a lane whose tries under way have gone unanswered for long.
func (l *Lane) isSilent(now time.Time) bool {
	return l.endpoint.active > 0 && now.Sub(l.lastAnswer) > hangsAfter
}

// hangs reports a lane that is silent and is to get no more tries.
func (l *Lane) hangs(now time.Time) bool { return l.terms.Adapts && l.isSilent(now) }

// wantsMore reports that there is room enough for a claim: in half of the lane,
// as few large claims cost less than many small ones, or anywhere in one whose
// tries take so long that a claim for each costs nothing.
func (l *Lane) wantsMore() bool {
	if l.slow {
		return l.held < l.capacity()
	}
	return l.held <= l.capacity()/2
}

// isForgettable reports a lane that would be made anew much as it is, or whose
// trouble is long past.
func (l *Lane) isForgettable(now time.Time) bool {
	keep := time.Minute
	if l.health.fails > 0 {
		keep = time.Hour
	}
	return l.held == 0 && l.active == 0 && !l.hasTurn && !l.waitsInStore && now.Sub(l.used) > keep &&
		!now.Before(l.nextStart) && !now.Before(l.noRoundsBefore)
}

// nextRound moves the jobs of the lane's next try from its queue to jobs: one,
// or as many as the lane takes. An event with Meta, which says something of
// that event alone, is tried by itself.
func (l *Lane) nextRound(jobs []*Job, maxBytes int) []*Job {
	most := max(l.round, 1)
	for size := 0; len(jobs) < most && l.queue.len() > 0; {
		event := l.queue.peek().Event
		size += len(event.Body)
		if len(jobs) > 0 && (size > maxBytes || len(event.Meta) > 0) {
			break
		}
		jobs = append(jobs, l.queue.pop())
		if len(event.Meta) > 0 {
			break
		}
	}
	return jobs
}
