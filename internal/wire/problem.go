package wire

import (
	"encoding/json"
	"fmt"
	"io"
	"mime"
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

const (
	// maxProblem is how much of an answer is read for a problem detail, and
	// maxDetail how much of that is passed on, in bytes.
	maxProblem = 16 << 10
	maxDetail  = 500
)

// ProblemDetail reads what an answer says of a problem (RFC 9457), as a log line
// may have it; nothing if it says nothing of the kind.
func ProblemDetail(res *http.Response) string {
	mediaType, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/problem+json" {
		return ""
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	var problem struct {
		Detail string `json:"detail"`
	}
	if err != nil || json.Unmarshal(body, &problem) != nil {
		return ""
	}
	detail := strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, problem.Detail)
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + "…"
	}
	return detail
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
