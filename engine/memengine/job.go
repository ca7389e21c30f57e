package memengine

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// identity is what makes two jobs the same.
type identity struct {
	channel, event, replay string
	lane                   engine.Lane
}

func identityOf(e *engine.Event, l engine.Lane) identity {
	return identity{e.Channel, e.ID, e.Replay, l}
}

// job is one that waits, is claimed or is dead.
type job struct {
	id      identity
	event   *engine.Event
	attempt int
	history []byte
	claims  int
	pushed  time.Time
	stored  time.Time // when it came here: the dedupe window begins then

	// due and place are where it stands in its lane. They stay as they are
	// while it is claimed, so that Release can put it back.
	due   time.Time
	place int // among jobs that are due at the same moment

	ticket engine.Ticket // of the last claim, until that is settled
	until  time.Time     // when the lease of that claim ends
	later  engine.Ticket // that Later has given out, while the job waits as it did

	deadID   string
	buried   int // in the order in which jobs were buried
	buriedAt time.Time
	reason   string
}

// claimable is since when, or from when on, the job can be claimed.
func (j *job) claimable() time.Time {
	if j.ticket != "" {
		return j.until
	}
	return j.due
}

// byClaimable orders the jobs of a lane, or lanes by their first jobs.
func byClaimable(a, b *job) int {
	return cmp.Or(a.claimable().Compare(b.claimable()), cmp.Compare(a.place, b.place))
}

// keep puts a job into its lane, due at a time. The store is locked, as it is
// in all that follows.
func (s *Store) keep(j *job, due time.Time) {
	lane := s.lanes[j.id.lane]
	if lane == nil {
		lane = map[identity]*job{}
		s.lanes[j.id.lane] = lane
	}
	lane[j.id] = j
	j.due, j.place = due, s.number()
	s.spoil(j)
}

// finish takes a job out of its lane and remembers that it was there.
func (s *Store) finish(j *job, dedupe time.Duration) {
	lane := s.lanes[j.id.lane]
	delete(lane, j.id)
	if len(lane) == 0 {
		delete(s.lanes, j.id.lane)
	}
	s.spoil(j)
	s.over[j.id] = j.stored
	if len(s.over) >= s.sweepAt {
		now := time.Now()
		maps.DeleteFunc(s.over, func(_ identity, stored time.Time) bool { return now.Sub(stored) >= dedupe })
		s.sweepAt = 2*len(s.over) + 1024
	}
}

// lease gives a job to whoever gets the ticket.
func (s *Store) lease(j *job, d time.Duration) {
	s.spoil(j)
	delete(s.tickets, j.ticket)
	j.ticket = engine.Ticket(fmt.Sprintf("claim-%d", s.number()))
	j.until = time.Now().Add(d)
	s.tickets[j.ticket] = j
}

// spoil makes the ticket that Later has given out for a job a stale one.
func (s *Store) spoil(j *job) {
	delete(s.laters, j.later)
	j.later = ""
}

// unlease takes a job from who had it. It is where it was in its lane.
func (s *Store) unlease(j *job) {
	delete(s.tickets, j.ticket)
	j.ticket = ""
}

// inOrder are jobs of a lane in the order in which they are handed out.
func inOrder(lane map[identity]*job) []*job { return slices.SortedFunc(maps.Values(lane), byClaimable) }
