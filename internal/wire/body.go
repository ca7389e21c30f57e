package wire

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"
)

// BodyLimits bound the body of a request.
type BodyLimits struct {
	Bytes int64
	// Depth is how deep its JSON may nest; negative means no bound.
	Depth int
	// Shown is the depth that a refusal names. An event nests its payload, so
	// that what is allowed of a payload is less than Depth.
	Shown int
	// Within bounds how long the body may take, where the http.Server has no
	// ReadTimeout of its own; negative means no bound.
	Within time.Duration
}

// ReadBody reads the body of a request, or answers why it can't.
func ReadBody(w http.ResponseWriter, r *http.Request, limits BodyLimits) (body []byte, ok bool) {
	if r.ContentLength > limits.Bytes {
		TooLarge(w, limits.Bytes)
		return nil, false
	}
	if !isPlain(r.Header) {
		Problem(w, http.StatusUnsupportedMediaType, "The body has a Content-Encoding. Expected it as it is.")
		return nil, false
	}
	slow := limitReading(w, r, limits.Within)
	var err error
	if r.ContentLength > 0 {
		body = make([]byte, r.ContentLength)
		_, err = io.ReadFull(r.Body, body)
	} else {
		body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, limits.Bytes))
	}
	if slow != nil {
		_ = slow.SetReadDeadline(time.Time{})
	}
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		TooLarge(w, limits.Bytes)
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		Problem(w, http.StatusRequestTimeout, "The body did not arrive in time.")
	case err != nil:
		Problem(w, http.StatusBadRequest, "The body ended before its end was reached.")
	case TooDeep(body, limits.Depth):
		Problem(w, http.StatusUnprocessableEntity, fmt.Sprintf("The JSON nests deeper than the %d levels that are accepted here.", limits.Shown))
		return nil, false
	}
	return body, err == nil
}

// isPlain reports a request whose body is not compressed. Nothing is ever
// unpacked, so nothing small becomes large.
func isPlain(h http.Header) bool {
	for _, v := range h["Content-Encoding"] {
		if v != "" && !strings.EqualFold(v, "identity") {
			return false
		}
	}
	return true
}

// readDeadliner is what the http.ResponseWriters of servers are.
type readDeadliner interface{ SetReadDeadline(time.Time) error }

// limitReading bounds how long a request's body may take from now on, unless
// the server does so itself. What it returns, if anything, ends the bound.
func limitReading(w http.ResponseWriter, r *http.Request, within time.Duration) readDeadliner {
	server, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	if within < 0 || server == nil || server.ReadTimeout > 0 {
		return nil
	}
	d, ok := w.(readDeadliner)
	if !ok {
		d = http.NewResponseController(w) // looks inside of what wraps it
	}
	_ = d.SetReadDeadline(time.Now().Add(within)) // something that hides it may wrap it
	return d
}
