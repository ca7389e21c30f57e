//nolint:gosec // What a ticket says is never negative.
package sqliteengine

import (
	"encoding/binary"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/internal/identity"
)

// ticket is what a job's Ticket says: the key of its row, whose claim it is,
// and what settling it would otherwise have to read.
type ticket struct {
	lane, due, seq int64
	token          int64
	was            int64 // when it was due before the claim: where Release puts it
	shared         bool
	id             identity.Identity
}

func appendTicket(b []byte, t *ticket) []byte {
	flag := byte(0)
	if t.shared {
		flag = 1
	}
	b = append(b, flag)
	b = binary.AppendUvarint(b, uint64(t.lane))
	b = binary.AppendUvarint(b, uint64(t.due))
	b = binary.AppendUvarint(b, uint64(t.seq))
	b = binary.AppendUvarint(b, uint64(t.token))
	b = binary.AppendUvarint(b, uint64(t.due-t.was))
	return append(b, t.id[:]...)
}

// parseTicket reports false for what is no ticket.
func parseTicket(s engine.Ticket) (t ticket, ok bool) {
	if s == "" {
		return t, false
	}
	t.shared = s[0] == 1
	rest := string(s[1:])
	for _, v := range []*int64{&t.lane, &t.due, &t.seq, &t.token, &t.was} {
		u, n := uvarint(rest)
		if n <= 0 {
			return t, false
		}
		*v, rest = int64(u), rest[n:]
	}
	t.was = t.due - t.was
	return t, copy(t.id[:], rest) == len(t.id) && len(rest) == len(t.id)
}

// uvarint is binary.Uvarint for strings.
func uvarint(s string) (v uint64, n int) {
	for shift := 0; n < len(s) && shift < 64; shift += 7 {
		b := s[n]
		n++
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v, n
		}
	}
	return 0, 0
}

// tickets collects the tickets of one call in one piece of memory.
type tickets struct {
	buf  []byte
	ends []int // of the i-th ticket; the same as the one before for none
}

func (t *tickets) reset(n int) {
	t.buf = make([]byte, 0, n*48)
	t.ends = make([]int, 0, n)
}

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
