package wire

import (
	"strconv"
	"strings"
	"time"
)

// FormatTimestamp returns a time in the form in which events are sent: that of
// RFC 3339, in UTC, to the microsecond.
func FormatTimestamp(t time.Time) string {
	// Each event has one, and the time package is quick at its own forms only.
	b := t.UTC().AppendFormat(make([]byte, 0, len("2006-01-02T15:04:05.000000Z")), time.RFC3339)
	seconds := len(b) - len("Z")
	micros := int64(t.Nanosecond() / 1000)
	b = strconv.AppendInt(b[:seconds], 1_000_000+micros, 10) // six digits after a 1
	b[seconds] = '.'
	return string(append(b, 'Z'))
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
