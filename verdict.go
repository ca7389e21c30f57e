package toot

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/watermarkchurch/toot-go/engine"
)

// action is what becomes of a job after a try.
type action uint8

const (
	finish   action = 1 + iota // it is done
	tryAgain                   // it failed: retry by the schedule
	bury                       // it failed for good: to the dead letters
	giveBack                   // it was not really tried: due again after a while
)

// signal is what a try says about the lane, apart from the job.
type signal uint8

const (
	neutral signal = iota // nothing
	good                  // the endpoint works
	trouble               // the endpoint is in trouble
	timeout               // the endpoint hangs
)

// verdict is the judgement on one try of one job.
type verdict struct {
	action action
	signal signal
	// after is the least time before the job's next try, if hasAfter (or if
	// giveBack).
	after    time.Duration
	hasAfter bool
	// laneWaits makes the whole lane wait for after.
	laneWaits bool
	// unsubscribe takes the callback URL off the event's channel.
	unsubscribe bool
	status      int // of the HTTP answer, 0 if there was none
	answered    bool
	cutOff      bool // the answer's body did not come whole
	batch       int  // events that the endpoint takes in one request, if answered
	// refusesBatch: whatever it says, it takes no batches.
	refusesBatch bool
	reason       string
	lost         int // claims held against the job, see lostClaims
	follow       handOff

	outcome engine.Outcome // what becomes of the job
	told    bool           // the log or the observer want to know
}

// unsubscribeHeader is set by a subscriber that has no subscription for an
// event's channel. Its presence counts.
const unsubscribeHeader = "X-Toot-Unsubscribe"

// judge is the verdict on a delivery that was answered.
//
//	2xx                             done; with X-Toot-Unsubscribe the subscriber is removed
//	410                             the subscriber is removed, the job buried
//	429, 503 with Retry-After       retry no sooner, and the lane waits too
//	anything else, 3xx included     retry by the schedule
//
// Of the failures, those that are about the one event (400, 413, 422 and
// other 4xx) say nothing about the endpoint.
func judge(status int, header http.Header, now time.Time, maxRetryAfter time.Duration) verdict {
	v := verdict{status: status}
	if status >= 200 && status <= 299 {
		v.action, v.signal = finish, good
		_, v.unsubscribe = header[unsubscribeHeader]
		return v
	}
	v.reason = (&StatusError{StatusCode: status}).Error()
	switch status {
	case http.StatusGone:
		v.action, v.signal, v.unsubscribe = bury, neutral, true
		v.reason = "the endpoint is gone (status 410): it was taken off the channel"
		return v
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if d, ok := retryAfter(header.Get("Retry-After"), now); ok {
			v.after, v.hasAfter, v.laneWaits = min(d, maxRetryAfter), true, true
		}
	}
	v.action, v.signal = tryAgain, trouble
	if aboutTheEvent(status) {
		v.signal = neutral
	}
	return v
}

// aboutTheEvent reports the client errors that do not mean that an endpoint
// is missing, locked or overloaded.
func aboutTheEvent(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusNotFound,
		http.StatusMethodNotAllowed, http.StatusProxyAuthRequired,
		http.StatusRequestTimeout, http.StatusTooManyRequests:
		return false
	}
	return status >= 400 && status <= 499
}

// retryAfter reads a Retry-After header (RFC 9110, 10.2.3): seconds or a date.
func retryAfter(value string, now time.Time) (time.Duration, bool) {
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
