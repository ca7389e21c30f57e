package demo

import (
	"encoding/binary"
	"sync"
	"time"

	"github.com/google/uuid"
)

// eventID names an event of the demo: UUIDs of version 8, made of the run and
// of a number, so that every single one can be accounted for in a few bits.
type eventID struct {
	run uint64 // when the run began, in milliseconds since 1970
	n   int
}

func (e eventID) String() string {
	var u uuid.UUID
	binary.BigEndian.PutUint64(u[:8], e.run<<16|0x8000)
	binary.BigEndian.PutUint64(u[8:], 1<<63|uint64(e.n)) //nolint:gosec // G115: a count
	return u.String()
}

// parseID reads the ID of one of the demo's events.
func parseID(text string) (e eventID, ok bool) {
	u, err := uuid.Parse(text)
	if err != nil || u[6] != 0x80 || u[7] != 0 {
		return e, false
	}
	n := binary.BigEndian.Uint64(u[8:]) &^ (1 << 63)
	return eventID{binary.BigEndian.Uint64(u[:8]) >> 16, int(n)}, n < 1<<40 //nolint:gosec // G115: checked
}

// ledger knows of each event whether it was published, delivered and handled.
// It may be used concurrently.
type ledger struct {
	run     uint64
	carried int // events of earlier runs that had not been handled when this one began
	journal *journal

	mu   sync.Mutex
	runs map[uint64]*marks
	now  counts
	// Of what came after the first few: from when, from which counts, and
	// when the last mark of each kind was made.
	restBegan  time.Time
	restBefore counts
	last       struct{ published, delivered, handled time.Time }
}

type marks struct{ published, delivered, handled, earlier bitset }

// counts are numbers of events, each counted once.
type counts struct {
	published, delivered, handled int
	twice                         int // handled once more, in this run
	again                         int // handled in an earlier run and once more: one was killed
}

func newLedger() *ledger {
	return &ledger{run: uint64(time.Now().UnixMilli()), runs: map[uint64]*marks{}} //nolint:gosec // G115: past 1970
}

func (l *ledger) counts() counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.now
}

func (l *ledger) restBegins() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.restBegan, l.restBefore = time.Now(), l.now
}

func (l *ledger) marks(run uint64) *marks {
	m := l.runs[run]
	if m == nil {
		m = &marks{}
		l.runs[run] = m
	}
	return m
}

// markPublished notes events that Publish has taken.
func (l *ledger) markPublished(ids []eventID) error {
	if err := l.journal.published(ids); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last.published = time.Now()
	for _, id := range ids {
		if l.marks(id.run).published.set(id.n) {
			l.now.published++
		}
	}
	return nil
}

// markDelivered notes an event that the subscriber has answered for.
func (l *ledger) markDelivered(id eventID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.marks(id.run)
	if m.earlier.has(id.n) {
		return
	}
	l.admit(m, id)
	if m.delivered.set(id.n) {
		l.now.delivered++
		l.last.delivered = time.Now()
	}
}

// markHandled notes an event whose handler is about to return.
func (l *ledger) markHandled(id eventID) error {
	if err := l.journal.handled(id); err != nil {
		return err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	m := l.marks(id.run)
	if m.earlier.has(id.n) {
		l.now.again++
		return nil
	}
	l.admit(m, id)
	if !m.handled.set(id.n) {
		l.now.twice++
		return nil
	}
	l.now.handled++
	l.last.handled = time.Now()
	if id.run != l.run && m.delivered.set(id.n) {
		l.now.delivered++ // in an earlier run
	}
	return nil
}

// admit counts an event of an earlier run that was killed before it could
// note that it had published it. l.mu is held.
func (l *ledger) admit(m *marks, id eventID) {
	if id.run != l.run && m.published.set(id.n) {
		l.now.published++
	}
}

// carry takes over what earlier runs have noted.
func (l *ledger) carry(published, handled []eventID) {
	for _, id := range handled {
		m := l.marks(id.run)
		m.published.set(id.n)
		m.earlier.set(id.n)
	}
	for _, id := range published {
		if l.marks(id.run).published.set(id.n) {
			l.carried++
		}
	}
	l.now.published = l.carried
}

// bitset is a set of small numbers.
type bitset []uint64

// set adds n and reports whether it was not there.
func (b *bitset) set(n int) bool {
	word, bit := n/64, uint64(1)<<(n%64)
	if word >= len(*b) {
		*b = append(*b, make([]uint64, word+1-len(*b))...)
	}
	if (*b)[word]&bit != 0 {
		return false
	}
	(*b)[word] |= bit
	return true
}

func (b bitset) has(n int) bool {
	word := n / 64
	return word < len(b) && b[word]&(1<<(n%64)) != 0
}
