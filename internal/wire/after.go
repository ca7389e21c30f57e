package wire

import (
	"errors"
	"strconv"
	"time"
)

// AfterHeader says of what is to be published when it is to be sent, in a form
// that ParseAfter reads.
const AfterHeader = "X-Toot-After"

var errAfter = errors.New("want a duration such as 10m or 1h30m, a number of seconds, or a time such as 2026-11-23T09:11:13Z")

// ParseAfter reads when an event is to be sent: how long from now (a duration of
// Go's, or seconds), or at which time (RFC 3339).
func ParseAfter(text string) (after time.Duration, at time.Time, err error) {
	if at, err := time.Parse(time.RFC3339, text); err == nil {
		return 0, at, nil
	}
	seconds, err := strconv.ParseUint(text, 10, 31)
	if err == nil {
		return time.Duration(seconds) * time.Second, time.Time{}, nil //nolint:gosec // 31 bits
	}
	after, err = time.ParseDuration(text)
	if err != nil || after < 0 {
		return 0, time.Time{}, errAfter
	}
	return after, time.Time{}, nil
}
