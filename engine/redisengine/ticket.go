package redisengine

import (
	"encoding/binary"
	"hash/crc32"

	"github.com/watermarkchurch/toot-go/engine"
)

// claim is what a ticket says: which claim of which job, and what is needed
// to settle it without asking the server for it.
type claim struct {
	shard     int // in Engine.queues
	lane      engine.Lane
	key       string // job key
	event     string // event key
	score     uint64 // of the lane: when the lease ends. It proves the claim.
	stamp     int64  // when the job was pushed
	due       int64  // when it was due before the claim: its place in the lane
	claims    tally
	hasRecord bool
	channel   string
}

// A ticket starts with a checksum of the rest, so that one that was cut or
// altered on its way is a stale one rather than another.
const checksumSize = 4

// What the flags of a ticket say beside the lane's kind.
const (
	kindFlags      = 7
	recordFlag     = 8
	eventFlag      = 16 // the event key is not the job key
	ticketFormat   = 32 // tickets of format 1 lack it
	ticketOverhead = 96
)

//nolint:gosec // they fit: counts, times, lengths of keys
func (c *claim) ticket(a *arena) engine.Ticket {
	b := a.room(ticketOverhead + len(c.event) + len(c.lane.Name) + len(c.channel))[:checksumSize]
	flags := byte(c.lane.Kind) | ticketFormat
	if c.hasRecord {
		flags |= recordFlag
	}
	if c.event != c.key {
		flags |= eventFlag
	}
	b = append(b, flags)
	b = append(b, c.key...)
	if c.event != c.key {
		b = appendString(b, c.event)
	}
	b = binary.AppendUvarint(b, uint64(c.shard))
	b = binary.AppendUvarint(b, c.score)
	b = binary.AppendUvarint(b, uint64(c.stamp))
	b = binary.AppendVarint(b, c.due-c.stamp) // mostly nothing
	b = binary.AppendUvarint(b, uint64(c.claims))
	b = appendString(b, c.lane.Name)
	b = append(b, c.channel...)
	binary.BigEndian.PutUint32(b, crc32.ChecksumIEEE(b[checksumSize:]))
	return engine.Ticket(a.keep(b))
}

// parseTicket is the reverse; ok is false for what is no ticket.
//
//nolint:gosec // they fit: counts, times, lengths of keys
func parseTicket(t engine.Ticket) (c claim, ok bool) {
	if len(t) < checksumSize+1+jobKeySize {
		return c, false
	}
	b := stringAsBytes(string(t))
	if binary.BigEndian.Uint32(b) != crc32.ChecksumIEEE(b[checksumSize:]) {
		return c, false
	}
	r := reader{rest: string(t[checksumSize:])}
	flags := r.byte()
	c.lane.Kind = engine.Kind(flags & kindFlags)
	c.hasRecord = flags&recordFlag != 0
	c.key = r.take(jobKeySize)
	c.event = c.key
	if flags&eventFlag != 0 {
		c.event = r.string()
	}
	c.shard = int(r.uvarint())
	c.score = r.uvarint()
	c.stamp = int64(r.uvarint())
	c.due = c.stamp + r.varint()
	c.claims = tally(r.uvarint())
	c.lane.Name = r.string()
	c.channel = r.rest
	return c, !r.bad && flags&ticketFormat != 0 && c.lane.Validate() == nil
}
