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

// OptionsRefused is the type of the problem that a publisher could not ask for
// consent, as OPTIONS was answered with 405.
const OptionsRefused = "https://github.com/watermarkchurch/toot-go/blob/main/docs/wire.md#consent"

// problem is a problem detail (RFC 9457).
type problem struct {
	Type   string `json:"type,omitempty"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Detail string `json:"detail"`
}

// Problem answers with a problem detail.
func Problem(w http.ResponseWriter, status int, detail string) {
	ProblemOfType(w, status, "", detail)
}

// ProblemOfType is Problem for one that programs recognise by its type, a URL.
func ProblemOfType(w http.ResponseWriter, status int, problemType, detail string) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(problem{problemType, http.StatusText(status), status, detail}) // whoever asked is gone if that fails
}

const (
	// maxProblem is how much of an answer is read for a problem detail, and
	// maxDetail how much of that is passed on, in bytes.
	maxProblem = 16 << 10
	maxDetail  = 500
)

// ReadProblem reads what an answer says of a problem: its type, and the detail as
// a log line may have it. Both are empty if it says nothing of the kind.
func ReadProblem(res *http.Response) (problemType, detail string) {
	mediaType, _, err := mime.ParseMediaType(res.Header.Get("Content-Type"))
	if err != nil || mediaType != "application/problem+json" {
		return "", ""
	}
	body, err := io.ReadAll(io.LimitReader(res.Body, maxProblem))
	var p problem
	if err != nil || json.Unmarshal(body, &p) != nil {
		return "", ""
	}
	detail = strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, p.Detail)
	if len(detail) > maxDetail {
		detail = strings.ToValidUTF8(detail[:maxDetail], "") + "…"
	}
	return p.Type, detail
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
