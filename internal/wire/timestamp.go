package wire

import (
	"strings"
	"time"
)

// FormatTimestamp returns a time in the form in which events are sent.
func FormatTimestamp(t time.Time) string { return t.Format("2006-01-02T15:04:05.000000Z07:00") }

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
