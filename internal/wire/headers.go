package wire

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// The names of headers, as net/http has them; docs/wire.md says what they mean.
const (
	// UnsubscribeHeader is set by a subscriber that has no subscription for an
	// event's channel. Its presence counts.
	UnsubscribeHeader = "X-Toot-Unsubscribe"
	// LeaseHeader tells a subscriber for how many seconds it is registered.
	LeaseHeader = "X-Toot-Lease"
	// DiscardParameter, if "true" in the query of a request that unsubscribes, has
	// what waits for the callback URL discarded; DiscardHeader in the answer says
	// that the publisher does.
	DiscardParameter = "discard"
	DiscardHeader    = "X-Toot-Discard"
	// ChannelHeader names, escaped as in a query, the channel of a consent.
	ChannelHeader = "X-Toot-Channel"
	// Those of the handshake of the CloudEvents specification "HTTP 1.1 Web
	// Hooks for Event Delivery", part 4.
	RequestOriginHeader = "Webhook-Request-Origin"
	AllowedOriginHeader = "Webhook-Allowed-Origin"
	AllowedRateHeader   = "Webhook-Allowed-Rate"
)

// MaxOrigin bounds the name of a sender in that handshake.
const MaxOrigin = 255

// Values of headers that are set often, ready to be put into an http.Header.
// They must not be changed.
var (
	JSONContentType = []string{"application/json"}
	UserAgent       = []string{"toot-go"}
)

// Lease reads for how long an answer says that a registration lasts; 0 for
// ever.
func Lease(h http.Header) time.Duration {
	seconds, err := strconv.ParseUint(h.Get(LeaseHeader), 10, 31)
	if err != nil {
		return 0
	}
	return time.Duration(seconds) * time.Second //nolint:gosec // 31 bits
}

// RetryAfter reads a Retry-After header (RFC 9110, 10.2.3): seconds or a date.
func RetryAfter(value string, now time.Time) (time.Duration, bool) {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0, false
	}
	if seconds, err := strconv.ParseUint(value, 10, 64); err == nil {
		const most = 1 << 31 // seconds; more would overflow and is capped anyway
		return time.Duration(min(seconds, most)) * time.Second, true
	}
	if t, err := http.ParseTime(value); err == nil {
		return max(t.Sub(now), 0), true
	}
	return 0, false
}
