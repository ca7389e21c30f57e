package toot

import (
	"bufio"
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/google/uuid"

	"github.com/watermarkchurch/toot-go/engine"
)

// Event is something that happened, as publishers send it and handlers get it.
type Event struct {
	// ID is unique to the event; a lower-case UUID unless its publisher chose
	// otherwise.
	ID string
	// Timestamp is when it was published. Zero if the publisher sent
	// something that is no time; TimestampText has it as it was sent.
	Timestamp     time.Time
	TimestampText string
	// Channel is the full name, prefix included.
	Channel string
	// Payload is the publisher's JSON, byte for byte.
	Payload json.RawMessage
	// Attempt is how many tries of this handler went wrong before this one.
	Attempt int
}

// Decode stores the payload in the value that v points to, as
// encoding/json.Unmarshal does.
func (e *Event) Decode(v any) error {
	if err := json.Unmarshal(e.Payload, v); err != nil {
		return fmt.Errorf("toot: payload of event %s on %q: %w", e.ID, e.Channel, err)
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
	return e.appendWire(nil), nil
}

// UnmarshalJSON reads an event as it comes over the wire.
func (e *Event) UnmarshalJSON(body []byte) error {
	parsed, err := parseEvent(bytes.Clone(body))
	if err != nil {
		return err
	}
	*e = *parsed
	return nil
}

// appendWire appends the event's JSON with its members in the order in which
// the original sends them.
func (e *Event) appendWire(b []byte) []byte {
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

var emptyPayload = json.RawMessage(`{}`)

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

// newEventID returns a UUID of version 7. Those of one process ascend, which
// keeps the indexes of every store compact.
func newEventID() string {
	randomness.Lock()
	defer randomness.Unlock()
	return uuid.Must(uuid.NewV7FromReader(randomness.reader)).String()
}

// randomness is the system's, fetched for many IDs at once.
var randomness = struct {
	sync.Mutex
	reader *bufio.Reader
}{reader: bufio.NewReaderSize(rand.Reader, 1024)}

// What a body must be to be taken for an event.
var (
	errNotJSON   = errors.New("the body is not JSON")
	errNotObject = errors.New("the body is not a JSON object")
	errNoChannel = errors.New(`the event has no "channel", or one that is not a non-empty string`)
)

// parseEvent reads an event as it comes over the wire. The result's payload
// refers to body. Only a body that is no JSON object and an event without a
// channel are errors; whatever else is odd about an event must not lose it.
func parseEvent(body []byte) (*Event, error) {
	if !json.Valid(body) {
		return nil, errNotJSON
	}
	return parseObject(body)
}

// parseObject is parseEvent for what is known to be JSON.
func parseObject(body []byte) (*Event, error) {
	e := &Event{Payload: emptyPayload}
	err := eachMember(body, func(key, value []byte) {
		switch string(key) {
		case "id":
			e.ID = text(value)
		case "channel":
			e.Channel = channelOf(value)
		default:
			e.member(key, value)
		}
	})
	if err == nil && e.Channel == "" {
		err = errNoChannel
	}
	if err != nil {
		return nil, err
	}
	if e.ID == "" {
		e.ID = newEventID() // nothing to recognise a duplicate by
	}
	return e, nil
}

// member takes what is neither ID nor channel.
func (e *Event) member(key, value []byte) {
	switch string(key) {
	case "timestamp":
		e.TimestampText = text(value)
		e.Timestamp = parseTimestamp(e.TimestampText)
	case "payload":
		e.Payload = value
	}
}

// parseStored is parseEvent for what was found to be an event before it was
// stored, and need not be looked through again.
func parseStored(stored *engine.Event) (e *Event, err error) {
	defer func() {
		if recover() != nil { // another program wrote to the store
			e, err = nil, errNotJSON
		}
	}()
	e = &Event{ID: stored.ID, Channel: stored.Channel, Payload: emptyPayload}
	if err := eachMember(stored.Body, e.member); err != nil {
		return nil, err
	}
	return e, nil
}

// identify is parseObject for who needs to know no more than which event it is.
func identify(body []byte) (id, channel string, err error) {
	err = eachMember(body, func(key, value []byte) {
		switch string(key) {
		case "id":
			id = text(value)
		case "channel":
			channel = channelOf(value)
		}
	})
	if err == nil && channel == "" {
		err = errNoChannel
	}
	if err == nil && id == "" {
		id = newEventID()
	}
	return id, channel, err
}

func channelOf(value []byte) string {
	if value[0] != '"' {
		return ""
	}
	return text(value)
}

// text is the value of a JSON string, or the JSON itself of anything else but
// null, which is nothing.
func text(value []byte) string {
	if value[0] != '"' {
		if string(value) == "null" {
			return ""
		}
		return string(value)
	}
	inner := value[1 : len(value)-1]
	if bytes.IndexByte(inner, '\\') < 0 && utf8.Valid(inner) {
		return string(inner)
	}
	var s string
	if json.Unmarshal(value, &s) != nil { // value is valid JSON
		return string(inner)
	}
	return s
}

// eachMember calls fn with the name and the value of each member of a JSON
// object, both as they stand in body, which must be valid JSON.
func eachMember(body []byte, fn func(key, value []byte)) error {
	i := skipSpace(body, 0)
	if body[i] != '{' {
		return errNotObject
	}
	i = skipSpace(body, i+1)
	for body[i] != '}' {
		end := skipValue(body, i)
		key := body[i+1 : end-1]
		if bytes.IndexByte(key, '\\') >= 0 {
			key = []byte(text(body[i:end]))
		}
		i = skipSpace(body, end) // ':'
		i = skipSpace(body, i+1) // the value
		end = skipValue(body, i) //
		fn(key, body[i:end:end])
		i = skipSpace(body, end)
		if body[i] == ',' {
			i = skipSpace(body, i+1)
		}
	}
	return nil
}

func skipSpace(b []byte, i int) int {
	for b[i] == ' ' || b[i] == '\t' || b[i] == '\n' || b[i] == '\r' {
		i++
	}
	return i
}

// skipValue returns the index behind the value that starts at b[i].
func skipValue(b []byte, i int) int {
	for depth := 0; ; {
		switch b[i] {
		case '"':
			i = skipString(b, i)
		case '{', '[':
			depth++
			i++
		case '}', ']':
			depth--
			i++
		case ' ', '\t', '\n', '\r', ',', ':':
			i++
		default: // a number, true, false or null
			for i < len(b) && !endsScalar(b[i]) {
				i++
			}
		}
		if depth == 0 {
			return i
		}
	}
}

// skipString returns the index behind the string that starts at b[i].
func skipString(b []byte, i int) int {
	for i++; ; i++ {
		n := bytes.IndexByte(b[i:], '"')
		escape := bytes.IndexByte(b[i:i+n], '\\')
		if escape < 0 {
			return i + n + 1
		}
		i += escape + 1 // the escaped character
	}
}

func endsScalar(c byte) bool {
	switch c {
	case ' ', '\t', '\n', '\r', ',', ':', ']', '}':
		return true
	}
	return false
}

// parseTimestamp reads the forms of time that peers send: Ruby's Time#to_s in
// UTC and with an offset, and RFC 3339 with and without its T. It returns the
// zero time for anything else.
func parseTimestamp(s string) time.Time {
	form := "2006-01-02 15:04:05 -0700"
	switch {
	case len(s) < len("2006-01-02 15:04:05"):
		return time.Time{}
	case s[10] == 'T' || s[10] == 't':
		form = time.RFC3339Nano
	case strings.HasSuffix(s, " UTC"):
		form = "2006-01-02 15:04:05 UTC"
	case !strings.Contains(s[11:], " "):
		form = "2006-01-02 15:04:05.999999999Z07:00"
	}
	t, err := time.Parse(form, s)
	if err != nil {
		return time.Time{}
	}
	return t
}

// maxChannelBytes bounds a channel's full name.
const maxChannelBytes = 1024

func checkChannel(channel string) error {
	switch {
	case channel == "":
		return fmt.Errorf("%w: it is empty", ErrInvalidChannel)
	case len(channel) > maxChannelBytes:
		return fmt.Errorf("%w: %d bytes, at most %d", ErrInvalidChannel, len(channel), maxChannelBytes)
	case !utf8.ValidString(channel):
		return fmt.Errorf("%w: it is not UTF-8", ErrInvalidChannel)
	case strings.IndexFunc(channel, isControl) >= 0:
		return fmt.Errorf("%w: %q has control characters", ErrInvalidChannel, channel)
	}
	return nil
}

// isControl reports C0 and C1 control characters and the line and paragraph
// separators, which break log lines.
func isControl(r rune) bool {
	return r < 0x20 || r >= 0x7f && r < 0xa0 || r == 0x2028 || r == 0x2029
}
