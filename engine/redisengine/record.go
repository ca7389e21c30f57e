package redisengine

import (
	"encoding/binary"
	"math"
	"unsafe"

	"github.com/watermarkchurch/toot-go/engine"
)

// record is what is kept of a job that is not plain: one that was delayed,
// retried, released, or claimed more than once. The scripts know its layout.
type record struct {
	claims  tally
	attempt int
	stamp   int64  // when it was pushed
	event   string // its event key, if that is not its job key
	history string
}

// tally counts the claims of a job. Those that ended with Release are counted
// in its upper eight bits alone, over and over again. The scripts know it, too.
type tally uint32

const tallyRelease = 1 << 24

// claims is how many there have been but for those that ended with Release.
func (t tally) claims() int { return int(t % tallyRelease) }

// turn tells apart claims that follow each other.
func (t tally) turn() int { return int(t%tallyRelease + t/tallyRelease) }

// released is what is left of a claim that ends with Release.
func (t tally) released() tally { return t + tallyRelease - 1 }

const recordHeader = 4 + 4 + 8 + 1

//nolint:gosec // they fit: counts, times, lengths of keys
func (r *record) pack() string {
	b := make([]byte, 0, recordHeader+len(r.event)+len(r.history))
	b = binary.BigEndian.AppendUint32(b, uint32(r.claims))
	b = binary.BigEndian.AppendUint32(b, uint32(min(r.attempt, math.MaxUint32)))
	b = binary.BigEndian.AppendUint64(b, uint64(r.stamp))
	b = append(b, byte(len(r.event)))
	b = append(b, r.event...)
	b = append(b, r.history...)
	return bytesAsString(b)
}

//nolint:gosec // they fit: counts, times, lengths of keys
func unpackRecord(s string) (r record, ok bool) {
	if len(s) < recordHeader {
		return r, false
	}
	b := []byte(s[:recordHeader])
	r.claims = tally(binary.BigEndian.Uint32(b))
	r.attempt = int(binary.BigEndian.Uint32(b[4:]))
	r.stamp = int64(binary.BigEndian.Uint64(b[8:]))
	size := int(b[16])
	s = s[recordHeader:]
	if len(s) < size {
		return r, false
	}
	r.event, r.history = s[:size], s[size:]
	return r, true
}

// deadRecord is the record of a dead letter. The scripts read its first part,
// the event key.
type deadRecord struct {
	event   string
	key     string
	lane    engine.Lane
	channel string
	stamp   int64
	attempt int
	reason  string
	history string
}

//nolint:gosec // they fit: counts, times, lengths of keys
func (o *deadRecord) pack() string {
	b := make([]byte, 0, 64+len(o.lane.Name)+len(o.channel)+len(o.reason)+len(o.history))
	b = append(b, byte(len(o.event)))
	b = append(b, o.event...)
	b = append(b, o.key...)
	b = append(b, byte(o.lane.Kind))
	b = appendString(b, o.lane.Name)
	b = appendString(b, o.channel)
	b = binary.AppendUvarint(b, uint64(o.stamp))
	b = binary.AppendUvarint(b, uint64(o.attempt))
	b = appendString(b, o.reason)
	b = append(b, o.history...)
	return bytesAsString(b)
}

//nolint:gosec // they fit: counts, times, lengths of keys
func unpackDeadRecord(s string) (o deadRecord, ok bool) {
	r := reader{rest: s}
	o.event = r.take(int(r.byte()))
	o.key = r.take(jobKeySize)
	o.lane.Kind = engine.Kind(r.byte())
	o.lane.Name = r.string()
	o.channel = r.string()
	o.stamp = int64(r.uvarint())
	o.attempt = int(r.uvarint())
	o.reason = r.string()
	o.history = r.rest
	return o, !r.bad
}

// reader takes apart what was packed. bad is set when there is less than was
// asked for, and everything is empty from then on.
type reader struct {
	rest string
	bad  bool
}

func (r *reader) take(n int) string {
	if n < 0 || n > len(r.rest) {
		r.rest, r.bad = "", true
		return ""
	}
	s := r.rest[:n]
	r.rest = r.rest[n:]
	return s
}

func (r *reader) byte() byte {
	s := r.take(1)
	if s == "" {
		return 0
	}
	return s[0]
}

func (r *reader) uvarint() uint64 {
	var v uint64
	for shift := 0; ; shift += 7 {
		b := r.byte()
		if r.bad || shift > 63 {
			r.bad = true
			return 0
		}
		v |= uint64(b&0x7f) << shift
		if b < 0x80 {
			return v
		}
	}
}

// number reads so many bytes, the highest first.
func (r *reader) number(size int) (n int) {
	for range size {
		n = n<<8 | int(r.byte())
	}
	return n
}

func (r *reader) varint() int64 {
	v := r.uvarint()
	return int64(v>>1) ^ -int64(v&1) //nolint:gosec // as encoding/binary has it
}

func (r *reader) string() string { return r.take(int(min(r.uvarint(), 1<<40))) }

// bytesAsString avoids a copy of bytes that nobody changes any more.
//
//nolint:gosec // that is what it is for
func bytesAsString(b []byte) string {
	return unsafe.String(unsafe.SliceData(b), len(b))
}

// stringAsBytes is the reverse. Who writes to the bytes changes the string.
//
//nolint:gosec // that is what it is for
func stringAsBytes(s string) []byte {
	return unsafe.Slice(unsafe.StringData(s), len(s))
}

// arena is where the strings of one call lie together, so that each does not
// have to be allocated.
type arena struct {
	free []byte
	next int // size of the next piece
}

// pieceOfItsOwn is from when on a string is not worth the company.
const pieceOfItsOwn = 4 << 10

// room returns an empty slice that may grow to size. The next call is after
// keep.
func (a *arena) room(size int) []byte {
	if size > pieceOfItsOwn {
		return make([]byte, 0, size)
	}
	if size > len(a.free) {
		a.next = max(min(2*a.next, 32<<10), 512, size)
		a.free = make([]byte, a.next)
	}
	return a.free[:0:size]
}

// keep makes a string of what room has become.
func (a *arena) keep(b []byte) string {
	if len(b) > 0 && len(a.free) > 0 && &b[0] == &a.free[0] {
		a.free = a.free[len(b):]
	}
	return bytesAsString(b)
}
