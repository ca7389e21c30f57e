package toot

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

// Event is something that happened, as publishers send it and handlers get it.
type Event struct {
	// ID is unique to the event; a lower-case UUID unless its publisher chose
	// otherwise.
	ID string
	// Timestamp is when it was published. It is zero if what the publisher sent
	// is not a time; TimestampText is what was sent.
	Timestamp     time.Time
	TimestampText string
	// Channel is the full name, prefix included.
	Channel string
	// Payload is the publisher's JSON, byte for byte.
	Payload json.RawMessage
	// Subscription is the name of the subscription whose handler this is given
	// to; empty for events that no handler has been given.
	Subscription string
	// Subscribers is how many callback URLs were registered on the channel when
	// the event was stored; 0 means that nobody gets it. It is set in events that
	// Publish and PublishAll return without an error. If there are more than 64,
	// the number may be some seconds old. For an ID that was published before,
	// and for an event that is to be sent later, it counts those registered now.
	Subscribers int
	// Attempt is which try of this handler this is, from 1. It is 0 for an event
	// that no handler has been given.
	Attempt int
}

// Decode stores the payload in the value that v points to, as
// encoding/json.Unmarshal does.
func (e *Event) Decode(v any) error {
	if err := json.Unmarshal(e.Payload, v); err != nil {
		return wrapf(err, "payload of event %s on %q", e.ID, e.Channel)
	}
	return nil
}

// Get returns a member of a payload that is a JSON object, nil if there is
// none. Numbers are json.Number, so that large ones survive.
func (e *Event) Get(key string) any {
	var members map[string]json.RawMessage
	if json.Unmarshal(e.Payload, &members) != nil {
		return nil
	}
	raw, ok := members[key]
	if !ok {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	if dec.Decode(&v) != nil {
		return nil
	}
	return v
}

// MarshalJSON returns the event as it goes over the wire.
func (e *Event) MarshalJSON() ([]byte, error) {
	w := wire.Event{ID: e.ID, Timestamp: e.Timestamp, TimestampText: e.TimestampText, Channel: e.Channel, Payload: e.Payload}
	return w.Append(nil), nil
}

// UnmarshalJSON reads an event as it comes over the wire.
func (e *Event) UnmarshalJSON(body []byte) error {
	w, err := wire.ParseEvent(bytes.Clone(body))
	if err != nil {
		return err
	}
	*e = *eventOf(&w)
	return nil
}

func eventOf(w *wire.Event) *Event {
	return &Event{ID: w.ID, Timestamp: w.Timestamp, TimestampText: w.TimestampText, Channel: w.Channel, Payload: w.Payload}
}
