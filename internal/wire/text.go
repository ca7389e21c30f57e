package wire

import (
	"bytes"
	"errors"
	"strconv"
	"unicode/utf8"
)

// What the text in a body must be, so that it means the same to everybody.
var (
	ErrNotUTF8   = errors.New("the body is not UTF-8")
	ErrSurrogate = errors.New(`a text has half of a surrogate pair (\ud800 to \udfff) without the other half, which is no character`)
)

// CheckText returns ErrNotUTF8 or ErrSurrogate for JSON whose texts cannot be
// passed on: encoding/json would put another character in the place of what is
// none, and peers in other languages fail. What is no JSON, too, is looked at as
// far as it goes.
func CheckText(body []byte) error {
	switch {
	case !utf8.Valid(body):
		return ErrNotUTF8
	case hasLoneSurrogate(body):
		return ErrSurrogate
	}
	return nil
}

// hasLoneSurrogate looks at the escapes of JSON.
func hasLoneSurrogate(b []byte) bool {
	for {
		i := bytes.IndexByte(b, '\\')
		if i < 0 || i+1 == len(b) {
			return false
		}
		b = b[i:]
		unit, ok := escapedUnit(b)
		switch {
		case !ok: // \n and the like
			b = b[2:]
		case unit < 0xd800 || unit > 0xdfff:
			b = b[escapeSize:]
		case unit >= 0xdc00:
			return true
		default:
			b = b[escapeSize:]
			if low, ok := escapedUnit(b); !ok || low < 0xdc00 || low > 0xdfff {
				return true
			}
			b = b[escapeSize:]
		}
	}
}

// escapeSize is the length of \uXXXX.
const escapeSize = 6

// escapedUnit reads the UTF-16 code unit of an escape at the beginning of b.
func escapedUnit(b []byte) (unit uint64, ok bool) {
	if len(b) < escapeSize || b[0] != '\\' || b[1] != 'u' {
		return 0, false
	}
	unit, err := strconv.ParseUint(string(b[2:escapeSize]), 16, 16)
	return unit, err == nil
}
