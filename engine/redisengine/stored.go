package redisengine

import (
	"encoding/binary"

	"github.com/watermarkchurch/toot-go/engine"
)

// stampSize is the length of the time before a stored event.
const stampSize = 8

// packEvent is how an event is stored: when it was pushed, by the store's
// clock, then everything else. An event with a replay mark has an empty string
// before its ID, which is never empty itself, and the mark behind its channel;
// so events without look as they did in format 1.
func packEvent(a *arena, e *engine.Event, stamp int64) string {
	b := a.room(packedSize(e))
	b = binary.BigEndian.AppendUint64(b, uint64(stamp)) //nolint:gosec // a time
	if e.Replay != "" {
		b = appendString(b, "")
	}
	b = appendString(b, e.ID)
	b = appendString(b, e.Channel)
	if e.Replay != "" {
		b = appendString(b, e.Replay)
	}
	b = append(binary.AppendUvarint(b, uint64(len(e.Meta))), e.Meta...)
	b = append(b, e.Body...)
	return a.keep(b)
}

// packedSize is how long a stored event is, at the most.
func packedSize(e *engine.Event) int {
	return stampSize + 5*binary.MaxVarintLen32 + len(e.ID) + len(e.Channel) + len(e.Replay) + len(e.Meta) + len(e.Body)
}

// identity is what an event has in common with those that are the same.
type identity struct{ id, channel, replay string }

func readIdentity(r *reader) (i identity) {
	i.id = r.string()
	marked := i.id == ""
	if marked {
		i.id = r.string()
	}
	i.channel = r.string()
	if marked {
		i.replay = r.string()
	}
	return i
}

// storedIdentity returns the identity of a stored event; ok is false for
// something else.
func storedIdentity(stored string) (i identity, ok bool) {
	if len(stored) < stampSize {
		return i, false
	}
	r := reader{rest: stored[stampSize:]}
	i = readIdentity(&r)
	return i, !r.bad && i.id != ""
}

// unpackEvent is the reverse of packEvent; ok is false for something else. The
// event keeps what stored holds, which must be nobody else's.
func unpackEvent(stored string) (e *engine.Event, ok bool) {
	if len(stored) < stampSize {
		return nil, false
	}
	r := reader{rest: stored[stampSize:]}
	i := readIdentity(&r)
	e = &engine.Event{ID: i.id, Channel: i.channel, Replay: i.replay}
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
