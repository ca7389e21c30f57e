package pgengine

import (
	"encoding/binary"

	"github.com/jackc/pgx/v5/pgtype"

	"github.com/watermarkchurch/toot-go/engine"
)

// ticket is what a job's Ticket says: the key of its row and whose claim it is,
// where the row lies, and what settling it would otherwise have to read.
type ticket struct {
	lane, due, seq int64
	token          int64
	was            int64 // when it was due before the claim: where Release puts it
	at             pgtype.TID
	shared         bool // its event is in the table events
}

// ticketSize is the length of a ticket.
const ticketSize = 5*8 + 4 + 2 + 1

func appendTicket(b []byte, t *ticket) []byte {
	for _, v := range [...]int64{t.lane, t.due, t.seq, t.token, t.was} {
		b = binary.BigEndian.AppendUint64(b, uint64(v)) //nolint:gosec // read back as it is
	}
	b = binary.BigEndian.AppendUint32(b, t.at.BlockNumber)
	b = binary.BigEndian.AppendUint16(b, t.at.OffsetNumber)
	if t.shared {
		return append(b, 1)
	}
	return append(b, 0)
}

// parseTicket reports false for what is no ticket.
func parseTicket(s engine.Ticket) (t ticket, ok bool) {
	if len(s) != ticketSize || s[ticketSize-1] > 1 {
		return t, false
	}
	var b [ticketSize]byte
	copy(b[:], s)
	for i, v := range [...]*int64{&t.lane, &t.due, &t.seq, &t.token, &t.was} {
		*v = int64(binary.BigEndian.Uint64(b[8*i:])) //nolint:gosec // written as it was
	}
	t.at = pgtype.TID{BlockNumber: binary.BigEndian.Uint32(b[40:]), OffsetNumber: binary.BigEndian.Uint16(b[44:]), Valid: true}
	t.shared = b[46] == 1
	return t, true
}

// tickets collects the tickets of a call in one piece of memory.
type tickets struct {
	buf  []byte
	ends []int // of the i-th ticket; the same as the one before for none
}

func newTickets(n int) *tickets { return &tickets{make([]byte, 0, n*ticketSize), make([]int, 0, n)} }

func (t *tickets) add(k *ticket) {
	t.buf = appendTicket(t.buf, k)
	t.ends = append(t.ends, len(t.buf))
}

func (t *tickets) none() { t.ends = append(t.ends, len(t.buf)) }

func (t *tickets) strings() []engine.Ticket {
	all := engine.Ticket(t.buf)
	out := make([]engine.Ticket, len(t.ends))
	start := 0
	for i, end := range t.ends {
		out[i] = all[start:end]
		start = end
	}
	return out
}
