package lanes

import "time"

const (
	// maxHeld bounds the jobs of one kind that a process holds in memory,
	// whether they wait for a worker, are being tried or are being settled.
	maxHeld = 16384
	// maxHeldBytes bounds the bytes of their events, as far as they are known
	// before the events are here. An event that jobs of one Push share is counted
	// for each of them only once it is.
	maxHeldBytes = 64 << 20
)

// room counts what a pool holds.
type room struct {
	held  int // jobs in memory, and room reserved for more
	asked int // jobs that the claim under way may bring
	bytes int // of the jobs' events
	// eventBytes is how large the next events are taken to be: as large as the
	// last ones, with large ones remembered for a while.
	eventBytes int
}

// hasFor reports whether there is room for one more job.
func (r *room) hasFor(bytes int) bool {
	return r.held+r.asked < maxHeld && r.bytes+max(bytes, 1) <= maxHeldBytes
}

// isTight reports that it is better to wait for more room: a few large claims
// cost less than many small ones.
func (r *room) isTight() bool {
	return r.held > maxHeld-claimMax/4 || r.bytes > maxHeldBytes/4*3
}

// forClaim is how many jobs there is room for.
func (r *room) forClaim() int {
	return min(maxHeld-r.held, claimMax, (maxHeldBytes-r.bytes)/max(r.eventBytes, 1))
}

// took counts the bytes of an event that has come.
func (r *room) took(size int) {
	r.bytes += size
	r.eventBytes = max(size, r.eventBytes-(r.eventBytes-size)/16)
}

// reserve finds room for a job on its way into the store, and for the bytes of
// its event. It returns nil if the job had better wait there: the pool is not
// working or full, its workers hang, the lane is paused, resting or full, or older jobs of the
// lane wait in the store. since is for enqueueLocked.
func (p *Pool) reserve(lane string, bytes int) (l *Lane, since int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.state != running || p.workers.hang || !p.room.hasFor(bytes) {
		return nil, 0
	}
	l = p.meetLaneLocked(lane)
	if p.state != running || !p.room.hasFor(bytes) || l.waitsInStore || l.terms.Paused || l.held >= l.capacity() || l.rests(time.Now()) {
		return nil, 0
	}
	p.room.held++
	p.room.bytes += bytes
	l.held++
	return l, p.giveBacks
}

// cancelReservation gives back room that was reserved.
func (p *Pool) cancelReservation(l *Lane, bytes int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.freeBytesLocked(bytes)
	p.freeRoomLocked(l)
}

// freeRoomLocked lets go of the room that a job took, or was to take.
func (p *Pool) freeRoomLocked(l *Lane) {
	p.room.held--
	l.held--
	if (l.waitsInStore || l.leftOut) && l.wantsMore() || p.room.held == maxHeld/2 {
		p.Wake()
	}
	p.checkQuietLocked()
}

// forgetLocked lets go of a job.
func (p *Pool) forgetLocked(j *Job) {
	p.freeBytesLocked(len(j.Event.Body))
	p.jobs.remove(j)
	if j.givenBack {
		j.lane.givingBack--
	}
	p.freeRoomLocked(j.lane)
}

func (p *Pool) freeBytesLocked(bytes int) {
	before := p.room.bytes
	p.room.bytes -= bytes
	if before > maxHeldBytes/2 && p.room.bytes <= maxHeldBytes/2 {
		p.Wake()
	}
}
