// Package identity makes of what tells a job from all others a short key, under
// which engines remember that they have had it.
package identity

import (
	"crypto/sha256"
	"encoding/binary"
)

// Identity stands for what tells an event's jobs from those of others: its
// channel, ID and replay mark. Together with the lane it is a job's identity.
//
// It begins with the beginning of the ID, so that what is pushed together lies
// together in seen: of a UUID of version 7 that are 52 bits that tell its time,
// down to a fraction of a millisecond. The other 84 bits are of SHA-256 over the
// store's salt and all three. Among a billion jobs that begin alike, and no more
// than some do, the odds of two that are taken for one are one in forty
// million; and nobody who does not know the store can look for two such.
type Identity [17]byte

// SaltSize is the length of a salt.
const SaltSize = 16

// Of returns the identity of an event.
func Of(salt *[SaltSize]byte, channel, id, replay string) (i Identity) {
	var buf [256]byte
	b := append(buf[:0], salt[:]...)
	b = append(binary.AppendUvarint(b, uint64(len(channel))), channel...)
	before := len(b)
	b = AppendID(b, id)
	// The last part needs no length to be told from the others.
	sum := sha256.Sum256(append(b, replay...))
	copy(i[6:], sum[:])
	if b[before] != idUUID {
		copy(i[:6], id)
		return i
	}
	// The time's first byte is the same for decades, and between the time and
	// its fraction is the version.
	u := b[before+1:]
	copy(i[:5], u[1:6])
	i[5] = u[6]<<4 | u[7]>>4
	i[6] = u[7]<<4 | i[6]&0x0f
	return i
}

// AppendKey appends the key of the job that is about an event in a lane, whose
// number is not negative.
func AppendKey(b []byte, i *Identity, lane int64) []byte {
	return binary.AppendUvarint(append(b, i[:]...), uint64(lane)) //nolint:gosec // not negative
}

// The forms of an ID that AppendID writes.
const (
	idUUID = iota
	idText
)

// AppendID appends an event's ID in a form that says itself where it ends:
// canonical UUIDs as 16 bytes, others as they are.
func AppendID(b []byte, id string) []byte {
	if u, ok := parseUUID(id); ok {
		return append(append(b, idUUID), u[:]...)
	}
	b = binary.AppendUvarint(append(b, idText), uint64(len(id)))
	return append(b, id...)
}

// parseUUID reads the form that google/uuid and all others write; any other
// spelling is a different ID.
func parseUUID(s string) (u [16]byte, ok bool) {
	if len(s) != 36 || s[8] != '-' || s[13] != '-' || s[18] != '-' || s[23] != '-' {
		return u, false
	}
	n := 0
	for i := 0; i < 36; i++ {
		if i == 8 || i == 13 || i == 18 || i == 23 {
			continue
		}
		c := s[i]
		switch {
		case c >= '0' && c <= '9':
			c -= '0'
		case c >= 'a' && c <= 'f':
			c -= 'a' - 10
		default:
			return u, false
		}
		u[n/2] = u[n/2]<<4 | c
		n++
	}
	return u, true
}
