package toot

import (
	"net/http"
	"time"

	"github.com/watermarkchurch/toot-go/internal/lanes"
	"github.com/watermarkchurch/toot-go/internal/wire"
)

// judge is the verdict on a delivery that was answered.
//
//	2xx                             done; with X-Toot-Unsubscribe the subscriber is removed
//	410                             the subscriber is removed, the job buried
//	422 with X-Toot-Hops            the event goes in a circle: the job is buried
//	429, 503 with Retry-After       retry no sooner, and the lane waits too
//	anything else, 3xx included     retry by the schedule
//
// Of the failures, those that are about the one event (400, 413, 422 and
// other 4xx) say nothing about the endpoint.
func judge(status int, header http.Header, now time.Time, maxRetryAfter time.Duration) lanes.Verdict {
	v := lanes.Verdict{Status: status}
	if status >= 200 && status <= 299 {
		v.Action, v.Evidence = lanes.Finish, lanes.Works
		_, v.Unsubscribe = header[wire.UnsubscribeHeader]
		return v
	}
	v.Reason = (&StatusError{StatusCode: status}).Error()
	switch status {
	case http.StatusGone:
		v.Action, v.Evidence, v.Unsubscribe = lanes.Bury, lanes.None, true
		v.Reason = "the endpoint is gone (status 410): it was taken off the channel"
		return v
	case http.StatusUnprocessableEntity:
		if _, tooFar := header[wire.HopsHeader]; tooFar {
			v.Action, v.Evidence = lanes.Bury, lanes.None
			v.Reason = "the event came there by too many hops, perhaps in a circle (status 422)"
			return v
		}
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		if d, ok := wire.RetryAfter(header.Get("Retry-After"), now); ok {
			v.After, v.HasAfter, v.LaneWaits = min(d, maxRetryAfter), true, true
		}
	}
	v.Action, v.Evidence = lanes.TryAgain, lanes.Trouble
	if aboutTheEvent(status) {
		v.Evidence = lanes.None
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
