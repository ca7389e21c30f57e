package wire

import (
	"bytes"
	"encoding/json"
	"unicode/utf8"
)

// The JSON of events is looked through by hand: what is kept is kept byte for
// byte, and nothing is decoded that nobody asked for. All of these want valid
// JSON, and panic otherwise.

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
		return ErrNotObject
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
