package toot

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"time"
)

// tooDeep reports JSON that nests deeper than a limit, or anything with so
// many brackets. It reads the bytes a second time only if there are enough of
// those, and takes no memory.
func tooDeep(b []byte, limit int) bool {
	if limit < 0 || bytes.Count(b, []byte{'{'})+bytes.Count(b, []byte{'['}) <= limit {
		return false
	}
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; i < len(b) && b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
		case '{', '[':
			if depth++; depth > limit {
				return true
			}
		case '}', ']':
			depth--
		}
	}
	return false
}

// wireDepth is how deep a body may nest: an event has its payload in it, a
// batch its events.
func (a *App) wireDepth() int {
	if a.opts.MaxDepth < 0 {
		return -1
	}
	return a.opts.MaxDepth + 2
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
func (a *App) limitReading(w http.ResponseWriter, r *http.Request) readDeadliner {
	server, _ := r.Context().Value(http.ServerContextKey).(*http.Server)
	if a.opts.ReadTimeout < 0 || server == nil || server.ReadTimeout > 0 {
		return nil
	}
	d, ok := w.(readDeadliner)
	if !ok {
		d = http.NewResponseController(w) // looks inside of what wraps it
	}
	_ = d.SetReadDeadline(time.Now().Add(a.opts.ReadTimeout)) // something that hides it may wrap it
	return d
}

func tooNested(w http.ResponseWriter, limit int) {
	problem(w, http.StatusUnprocessableEntity, fmt.Sprintf("The JSON nests deeper than the %d levels that are accepted here.", limit))
}
