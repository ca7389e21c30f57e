package wire

import (
	"encoding/json"
	"errors"
	"strings"
	"time"
)

// Event is an event as it goes over the wire.
type Event struct {
	ID string
	// Timestamp is zero if what was sent is no time; TimestampText has it as
	// it was sent.
	Timestamp     time.Time
	TimestampText string
	Channel       string
	Payload       json.RawMessage // byte for byte as it was sent
}

// Append appends the event's JSON to b, with its members in the order in which
// the original sends them.
func (e *Event) Append(b []byte) []byte {
	timestamp := e.TimestampText
	if timestamp == "" {
		timestamp = e.Timestamp.Format(time.RFC3339Nano)
	}
	payload := e.Payload
	if len(payload) == 0 {
		payload = emptyPayload
	}
	b = append(b, `{"id":`...)
	b = appendString(b, e.ID)
	b = append(b, `,"timestamp":`...)
	b = appendString(b, timestamp)
	b = append(b, `,"payload":`...)
	b = append(b, payload...)
	b = append(b, `,"channel":`...)
	b = appendString(b, e.Channel)
	return append(b, '}')
}

// appendString appends s as a JSON string.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < 0x20 || c >= 0x7f {
			quoted, err := json.Marshal(s)
			if err != nil { // a string always marshals
				panic(err)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	for from := s; ; {
		i := strings.IndexAny(from, `"\`)
		if i < 0 {
			b = append(b, from...)
			return append(b, '"')
		}
		b = append(b, from[:i]...)
		b = append(b, '\\', from[i])
		from = from[i+1:]
	}
}

// What a body must be to be taken for an event.
var (
	ErrNotJSON   = errors.New("the body is not JSON")
	ErrNotObject = errors.New("the body is not a JSON object")
	ErrNoChannel = errors.New(`the event has no "channel", or one that is not a non-empty string`)
)

// ParseEvent reads an event. Its payload refers to body. Only a body that is no
// JSON object and an event without a channel are errors; whatever else is odd
// about an event must not lose it. One without an ID gets a new one, as nothing
// tells it from another.
func ParseEvent(body []byte) (e Event, err error) {
	if !json.Valid(body) {
		return e, ErrNotJSON
	}
	m, err := scanMembers(body)
	if err != nil {
		return e, err
	}
	e = m.event()
	if e.ID = text(m.id); e.ID == "" {
		e.ID = NewEventID()
	}
	if e.Channel = channelOf(m.channel); e.Channel == "" {
		return e, ErrNoChannel
	}
	return e, nil
}

// event is the event without its ID and channel.
func (m *members) event() Event {
	e := Event{Payload: emptyPayload, TimestampText: text(m.timestamp)}
	e.Timestamp = parseTimestamp(e.TimestampText)
	if m.payload != nil {
		e.Payload = m.payload
	}
	return e
}

// ParseStored reads the event of a body that was found to be one before it was
// stored, and need not be checked again. ID and channel were stored beside it.
func ParseStored(id, channel string, body []byte) (e Event, err error) {
	defer func() {
		if recover() != nil { // another program wrote to the store
			e, err = Event{}, ErrNotJSON
		}
	}()
	m, err := scanMembers(body)
	if err != nil {
		return Event{}, err
	}
	e = m.event()
	e.ID, e.Channel = id, channel
	return e, nil
}

// Identify reads no more of an event than which one it is. The ID is empty if
// the event has none. The body must be valid JSON.
func Identify(body []byte) (id, channel string, err error) {
	m, err := scanMembers(body)
	if err != nil {
		return "", "", err
	}
	if channel = channelOf(m.channel); channel == "" {
		return "", "", ErrNoChannel
	}
	if len(m.id) > maxEscaped*maxIDBytes+2 { // rather than decode it
		return "", channel, errLongID
	}
	id = text(m.id)
	return id, channel, CheckEventID(id)
}

// maxEscaped is how many bytes one byte of a text may take in JSON: \u0000.
const maxEscaped = 6

// channelOf is the channel that a value names, or nothing. What is too long for
// one is cut rather than decoded, and still too long.
func channelOf(value []byte) string {
	switch {
	case len(value) == 0 || value[0] != '"':
		return ""
	case len(value) > maxEscaped*maxChannelBytes+2:
		return string(value[1 : maxEscaped*maxChannelBytes])
	}
	return text(value)
}
