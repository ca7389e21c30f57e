package wire

import (
	"encoding/json"
	"errors"
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
		if c := s[i]; c < 0x20 || c >= 0x7f || c == '"' || c == '\\' {
			quoted, err := json.Marshal(s)
			if err != nil { // a string always marshals
				panic(err)
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
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
	e.Payload = emptyPayload
	err = eachMember(body, func(key, value []byte) {
		switch string(key) {
		case "id":
			e.ID = text(value)
		case "channel":
			e.Channel = channelOf(value)
		default:
			e.setMember(key, value)
		}
	})
	if err == nil && e.Channel == "" {
		err = ErrNoChannel
	}
	if e.ID == "" {
		e.ID = NewEventID()
	}
	return e, err
}

// setMember takes a member that is neither the ID nor the channel.
func (e *Event) setMember(key, value []byte) {
	switch string(key) {
	case "timestamp":
		e.TimestampText = text(value)
		e.Timestamp = parseTimestamp(e.TimestampText)
	case "payload":
		e.Payload = value
	}
}

// ParseStored reads the event of a body that was found to be one before it was
// stored, and need not be checked again. ID and channel were stored beside it.
func ParseStored(id, channel string, body []byte) (e Event, err error) {
	defer func() {
		if recover() != nil { // another program wrote to the store
			e, err = Event{}, ErrNotJSON
		}
	}()
	e = Event{ID: id, Channel: channel, Payload: emptyPayload}
	err = eachMember(body, e.setMember)
	return e, err
}

// Identify reads no more of an event than which one it is. The body must be
// valid JSON.
func Identify(body []byte) (id, channel string, err error) {
	err = eachMember(body, func(key, value []byte) {
		switch string(key) {
		case "id":
			id = text(value)
		case "channel":
			channel = channelOf(value)
		}
	})
	if err == nil && channel == "" {
		err = ErrNoChannel
	}
	if err == nil && id == "" {
		id = NewEventID()
	}
	return id, channel, err
}

func channelOf(value []byte) string {
	if value[0] != '"' {
		return ""
	}
	return text(value)
}
