package wire

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"unicode/utf8"
)

// The JSON of events is looked through by hand: what is kept is kept byte for
// byte, and nothing is decoded that nobody asked for. All of these want valid
// JSON, and panic otherwise.

// text is the value of a JSON string, or the JSON itself of anything else but
// null, which is nothing, as is a value that is missing.
func text(value []byte) string {
	if len(value) == 0 || value[0] != '"' {
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

// members are the members of an event, as they stand in its JSON; nil for those
// that are missing.
type members struct{ id, timestamp, payload, channel []byte }

// scanMembers finds the members of an event. Of several with one name the last
// counts. Nothing is decoded or copied, so that it takes no memory.
func scanMembers(body []byte) (m members, err error) {
	i := skipSpace(body, 0)
	if body[i] != '{' {
		return m, ErrNotObject
	}
	i = skipSpace(body, i+1)
	for body[i] != '}' {
		end := skipValue(body, i)
		value := m.named(body[i+1 : end-1])
		i = skipSpace(body, end) // ':'
		i = skipSpace(body, i+1) // the value
		end = skipValue(body, i)
		if value != nil {
			*value = body[i:end:end]
		}
		i = skipSpace(body, end)
		if body[i] == ',' {
			i = skipSpace(body, i+1)
		}
	}
	return m, nil
}

// named returns where the value of a member belongs, or nil.
func (m *members) named(key []byte) *[]byte {
	var room [len("timestamp")]byte // the longest of them
	if bytes.IndexByte(key, '\\') >= 0 {
		key = unescapeLetters(room[:0], key)
	}
	switch string(key) {
	case "id":
		return &m.id
	case "timestamp":
		return &m.timestamp
	case "payload":
		return &m.payload
	case "channel":
		return &m.channel
	}
	return nil
}

// unescapeLetters appends to b what a JSON string means, as far as that is ASCII
// letters and there is room in b; otherwise it returns nil.
func unescapeLetters(b, s []byte) []byte {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if c == '\\' {
			if s[i+1] != 'u' { // of the others none is a letter
				return nil
			}
			var code [2]byte
			if _, err := hex.Decode(code[:], s[i+2:i+6]); err != nil || code[0] != 0 {
				return nil
			}
			c = code[1]
			i += 5
		}
		if len(b) == cap(b) || c|0x20 < 'a' || c|0x20 > 'z' {
			return nil
		}
		b = append(b, c)
	}
	return b
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

// skipString returns the index behind the string that starts at b[i]. No byte is
// looked at twice, however many escapes there are.
func skipString(b []byte, i int) int {
	quote := -1 // the next one
	for i++; ; {
		if quote < i {
			quote = i + bytes.IndexByte(b[i:], '"')
		}
		escape := bytes.IndexByte(b[i:quote], '\\')
		if escape < 0 {
			return quote + 1
		}
		i += escape + 2 // behind the escaped character
	}
}

func endsScalar(c byte) bool {
	switch c {
	case ' ', '\t', '\n', '\r', ',', ':', ']', '}':
		return true
	}
	return false
}
