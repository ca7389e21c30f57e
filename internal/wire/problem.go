package wire

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// retryLater is the Retry-After of a service that can't do what was asked now.
const retryLater = 5 * time.Second

// Problem answers with a problem detail (RFC 9457).
func Problem(w http.ResponseWriter, status int, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // whoever asked is gone if that fails
		Title  string `json:"title"`
		Status int    `json:"status"`
		Detail string `json:"detail"`
	}{http.StatusText(status), status, detail})
}

// MethodNotAllowed answers with the methods that are.
func MethodNotAllowed(w http.ResponseWriter, allowed ...string) {
	w.Header().Set("Allow", strings.Join(allowed, ", "))
	Problem(w, http.StatusMethodNotAllowed, "Expected "+strings.Join(allowed, " or ")+".")
}

// Unavailable answers that nothing was done, and that it may be asked again.
func Unavailable(w http.ResponseWriter, detail string) {
	w.Header().Set("Retry-After", strconv.Itoa(int(retryLater.Seconds())))
	Problem(w, http.StatusServiceUnavailable, detail)
}

// TooLarge answers that a body is larger than a limit in bytes.
func TooLarge(w http.ResponseWriter, limit int64) {
	Problem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("The body is larger than the %d bytes that are accepted here.", limit))
}
