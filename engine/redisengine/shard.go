package redisengine

import (
	"crypto/sha1" //nolint:gosec // names, not secrets; the server has no other hash
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// shard is a complete queue under one hash tag. An event and all its jobs are
// in one shard.
type shard struct {
	number  int
	fixed   []string // the keys that every script is given
	lanes   string   // prefix of the keys of lanes
	records string
	dead    string
	buried  string
	events  string
	ready   [3]string
	rest    [3]string
	offset  atomic.Int64 // between the server's clock and this process
}

// kinds are the kinds of lanes, in the order of ready and rest.
var kinds = [3]engine.Kind{engine.FanOut, engine.Deliver, engine.Handle}

func newShard(namespace string, number, of int) *shard {
	t := tag(namespace, number, of) + ":"
	s := &shard{
		number: number, lanes: t + "lane:",
		records: t + "records", dead: t + "dead", buried: t + "buried", events: t + "events",
	}
	for i, k := range kinds {
		s.ready[i] = t + "ready:" + k.String()
		s.rest[i] = t + "rest:" + k.String()
	}
	s.fixed = []string{
		t + "meta", s.events, t + "refs", s.records, s.dead, s.buried, t + "seen:1", t + "seen:2",
		s.ready[0], s.ready[1], s.ready[2], s.rest[0], s.rest[1], s.rest[2],
	}
	return s
}

// lanePrefix is what the keys of a kind's lanes start with.
func (s *shard) lanePrefix(k engine.Kind) string {
	return s.lanes + k.String() + ":"
}

func (s *shard) laneKey(l engine.Lane) string { return s.lanePrefix(l.Kind) + l.Name }

// tag returns the hash tag of a shard. With several shards, tags are chosen
// such that their slots are spread evenly over the slots of a cluster.
func tag(namespace string, number, of int) string {
	name := namespace + ":" + strconv.Itoa(number)
	if of == 1 {
		return "{" + name + "}"
	}
	const slots = 16384
	for n := 0; ; n++ {
		try := name
		if n > 0 {
			try += "." + strconv.Itoa(n)
		}
		if int(crc16(try))%slots*of/slots == number {
			return "{" + try + "}"
		}
	}
}

// crc16 is the hash of Redis Cluster (CRC-16/XMODEM).
func crc16(s string) uint16 {
	var crc uint16
	for i := range len(s) {
		crc ^= uint16(s[i]) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
	}
	return crc
}

// jobKeySize is the length of a job key.
const jobKeySize = 16

// jobKey makes a key of an event's ID: the bytes of a UUID as toot writes
// them, a hash of anything else.
func jobKey(a *arena, id string) string {
	key := a.room(jobKeySize)
	if len(id) == 36 && id[8] == '-' && id[13] == '-' && id[18] == '-' && id[23] == '-' {
		wrong := byte(0)
		for _, i := range [jobKeySize]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34} {
			high, low := digits[id[i]], digits[id[i+1]]
			wrong |= high | low
			key = append(key, high<<4|low)
		}
		if wrong < 16 {
			return a.keep(key)
		}
	}
	sum := sha256.Sum256(stringAsBytes(id))
	return a.keep(append(key[:0], sum[:jobKeySize]...))
}

// digits are those of hexadecimal numbers, in lower case. Others are 16.
var digits = func() (d [256]byte) {
	for i := range d {
		d[i] = 16
	}
	for i, c := range "0123456789abcdef" {
		d[c] = byte(i) //nolint:gosec // it fits
	}
	return d
}()

// shardOf tells which of n shards a job key belongs to.
func shardOf(key string, n int) int {
	if n == 1 {
		return 0
	}
	// A UUID's bytes are not all random.
	return int(crc32.ChecksumIEEE(stringAsBytes(key)) % uint32(n)) //nolint:gosec // n is small
}

// laneCode stands for a lane where space is scarce.
func laneCode(l engine.Lane) string {
	b := make([]byte, 0, 128)
	b = strconv.AppendUint(b, uint64(l.Kind), 10)
	b = append(b, l.Name...)
	sum := sha1.Sum(b) //nolint:gosec // see above
	return string(sum[:8])
}

// packEvent is how an event is stored: when it was pushed, by the server's
// clock, then everything else.
func packEvent(a *arena, e *engine.Event, stamp int64) string {
	b := a.room(packedSize(e))
	b = binary.BigEndian.AppendUint64(b, uint64(stamp)) //nolint:gosec // a time
	b = appendString(b, e.ID)
	b = appendString(b, e.Channel)
	b = append(binary.AppendUvarint(b, uint64(len(e.Meta))), e.Meta...)
	b = append(b, e.Body...)
	return a.keep(b)
}

// packedSize is how long a stored event is, at the most.
func packedSize(e *engine.Event) int {
	return stampSize + 3*binary.MaxVarintLen32 + len(e.ID) + len(e.Channel) + len(e.Meta) + len(e.Body)
}

// stampSize is the length of the time before a stored event.
const stampSize = 8

// storedID returns the ID of a stored event.
func storedID(stored string) (id string, ok bool) {
	if len(stored) < stampSize {
		return "", false
	}
	r := reader{rest: stored[stampSize:]}
	id = r.string()
	return id, !r.bad && id != ""
}

// unpackEvent is the reverse; ok is false for something else. The event keeps
// what stored holds, which must be nobody else's.
func unpackEvent(stored string) (e *engine.Event, ok bool) {
	if len(stored) < stampSize {
		return nil, false
	}
	r := reader{rest: stored[stampSize:]}
	e = &engine.Event{ID: r.string(), Channel: r.string()}
	meta := r.string()
	if r.bad || e.ID == "" {
		return nil, false
	}
	if meta != "" {
		e.Meta = stringAsBytes(meta)
	}
	e.Body = stringAsBytes(r.rest)
	return e, true
}

// serverTime is about what the server's clock says, in microseconds. Only the
// ages of jobs depend on it, and what execSoon takes for late: whatever decides
// is done by the server itself.
func (s *shard) serverTime() int64 {
	return time.Since(processStart).Microseconds() + s.offset.Load()
}

// setTime notes what the server's clock says.
func (s *shard) setTime(now int64) {
	s.offset.Store(now - time.Since(processStart).Microseconds())
}

var processStart = time.Now()
