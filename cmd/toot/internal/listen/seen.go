package listen

import "sync"

// maxSeen is how many events are remembered.
const maxSeen = 10_000

// seen remembers the last events, so that one that comes again is not acted on
// again.
type seen struct {
	mu    sync.Mutex
	byID  map[string]*record
	order []string // of those that are done, the oldest first
}

// record is an event that is being acted on, or that was.
type record struct {
	turn  sync.Mutex // whose turn it is
	users int        // who has it, or waits for it
	done  bool       // with success
}

// begin waits for its turn with an event. again says that the event has been
// acted on. end has to be called.
func (s *seen) begin(id string) (again bool, end func(success bool)) {
	s.mu.Lock()
	r := s.byID[id]
	if r == nil {
		r = &record{}
		s.byID[id] = r
	}
	r.users++
	s.mu.Unlock()
	r.turn.Lock()
	return r.done, func(success bool) {
		s.mu.Lock()
		defer s.mu.Unlock()
		if success && !r.done {
			r.done = true
			s.order = append(s.order, id)
		}
		r.users--
		if !r.done && r.users == 0 {
			delete(s.byID, id)
		}
		for len(s.order) > maxSeen {
			delete(s.byID, s.order[0])
			s.order = s.order[1:]
		}
		r.turn.Unlock()
	}
}
