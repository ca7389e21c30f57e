package toot

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// retryLater is the Retry-After of a service whose store is out of reach.
const retryLater = 5 * time.Second

// problem answers with a problem detail (RFC 9457).
func problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct {
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(status), status, detail})
}

func methodNotAllowed(w http.ResponseWriter, allowed ...string) {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	problem(w, http.StatusMethodNotAllowed, "Expected "+strings.Join(allowed, " or ")+".")
}

// busy answers that there is more to do than can be taken on.
func busy(w http.ResponseWriter) {
	w.Header().Set("Retry-After", strconv.Itoa(int(retryLater.Seconds())))
	problem(w, http.StatusServiceUnavailable, "Too many events are waiting to be handled here. Nothing was stored; please send it again later.")
}

// unavailable answers that nothing was stored and that it may be sent again.
func unavailable(w http.ResponseWriter) {
	w.Header().Set("Retry-After", strconv.Itoa(int(retryLater.Seconds())))
	problem(w, http.StatusServiceUnavailable, "The store can't be reached at the moment. Nothing was stored; please send it again.")
}
