package redisengine

import (
	"crypto/sha1" //nolint:gosec // names, not secrets; the server has no other hash
	"crypto/sha256"
	"encoding/binary"
	"hash/crc32"
	"strconv"

	"github.com/watermarkchurch/toot-go/engine"
)

// jobKeySize is the length of a job key.
const jobKeySize = 16

// jobKey stands for an event's identity: channel, ID and replay mark. The length
// of each goes before it, so that no two events have the same bytes hashed.
func jobKey(a *arena, channel, id, replay string) string {
	var stack [256]byte
	b := appendString(stack[:0], channel)
	b = appendString(b, id)
	b = appendString(b, replay)
	return a.keep(appendHash(a.room(jobKeySize), b))
}

// idKey is the key of an event in a queue of format 1, whose identity was its ID
// alone: the bytes of a UUID as toot writes them, a hash of anything else.
func idKey(a *arena, id string) string {
	key := a.room(jobKeySize)
	if uuid, ok := appendUUID(key, id); ok {
		return a.keep(uuid)
	}
	return a.keep(appendHash(key, stringAsBytes(id)))
}

func appendHash(key, b []byte) []byte {
	sum := sha256.Sum256(b)
	return append(key, sum[:jobKeySize]...)
}

func appendUUID(key []byte, id string) ([]byte, bool) {
	if len(id) != 36 || id[8] != '-' || id[13] != '-' || id[18] != '-' || id[23] != '-' {
		return key, false
	}
	wrong := byte(0)
	for _, i := range [jobKeySize]int{0, 2, 4, 6, 9, 11, 14, 16, 19, 21, 24, 26, 28, 30, 32, 34} {
		high, low := digits[id[i]], digits[id[i+1]]
		wrong |= high | low
		key = append(key, high<<4|low)
	}
	return key, wrong < 16
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

// shardOf tells in which of n shards an event is, by its ID alone, as it was in
// format 1: both queues of an event lie in the same slot.
func shardOf(id string, n int) int {
	if n == 1 {
		return 0
	}
	var a arena
	// A UUID's bytes are not all random.
	return int(crc32.ChecksumIEEE(stringAsBytes(idKey(&a, id))) % uint32(n)) //nolint:gosec // n is small
}

// laneCode stands for a lane where space is scarce.
func laneCode(l engine.Lane) string {
	b := make([]byte, 0, 128)
	b = strconv.AppendUint(b, uint64(l.Kind), 10)
	b = append(b, l.Name...)
	sum := sha1.Sum(b) //nolint:gosec // see above
	return string(sum[:8])
}

func appendString(b []byte, s string) []byte {
	b = binary.AppendUvarint(b, uint64(len(s)))
	return append(b, s...)
}
