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
	// Intake bounds what this and other bodies take together; nil means no
	// bound.
	Intake *Intake
}

// firstBuffer and firstDeclared are how much memory a body gets, at most, before
// any of it has come: one of unknown length, and one that says how long it is.
const (
	firstBuffer   = 4 << 10
	firstDeclared = 32 << 10
)

// Body is the body of a request. Its memory counts against an Intake until Done
// is called.
type Body struct {
	Bytes  []byte
	intake *Intake
	held   int64
}

// Take counts n bytes more, for what is made of the body, and reports whether
// there is room for them.
func (b *Body) Take(n int) bool {
	if !b.intake.take(int64(n)) {
		return false
	}
	b.held += int64(n)
	return true
}

// Done gives back all that was taken. The bytes may be kept, if somebody else
// counts them from then on.
func (b *Body) Done() {
	b.intake.giveBack(b.held)
	b.held = 0
}

// ReadBody reads the body of a request, or answers why it can't. Its memory
// grows with what arrives, whatever the request says of its length. If ok, the
// caller calls Done once the request is answered.
func ReadBody(w http.ResponseWriter, r *http.Request, limits BodyLimits) (body Body, ok bool) {
	if r.ContentLength > limits.Bytes {
		TooLarge(w, limits.Bytes)
		return body, false
	}
	if !isPlain(r.Header) {
		Problem(w, http.StatusUnsupportedMediaType, "The body has a Content-Encoding. Expected it as it is.")
		return body, false
	}
	body.intake = limits.Intake
	slow := limitReading(w, r, limits.Within)
	var err error
	if r.ContentLength > 0 {
		err = body.read(r.Body, r.ContentLength, r.ContentLength)
	} else {
		err = body.read(http.MaxBytesReader(w, r.Body, limits.Bytes), -1, limits.Bytes+1)
	}
	if slow != nil {
		_ = slow.SetReadDeadline(time.Time{})
	}
	var over *http.MaxBytesError
	switch {
	case errors.Is(err, errFull):
		if r.ProtoMajor == 1 {
			w.Header().Set("Connection", "close") // rather than read the rest
		}
		Full(w)
	case errors.As(err, &over):
		TooLarge(w, limits.Bytes)
	case errors.Is(err, os.ErrDeadlineExceeded):
		w.Header().Set("Connection", "close")
		Problem(w, http.StatusRequestTimeout, "The body did not arrive in time.")
	case err != nil:
		Problem(w, http.StatusBadRequest, "The body ended before its end was reached.")
	case TooDeep(body.Bytes, limits.Depth):
		Problem(w, http.StatusUnprocessableEntity, fmt.Sprintf("The JSON nests deeper than the %d levels that are accepted here.", limits.Shown))
	default:
		return body, true
	}
	body.Done()
	return body, false
}

// read reads a body of a length, or to its end if that is -1, into a buffer that
// doubles up to most bytes.
func (b *Body) read(from io.Reader, length, most int64) error {
	if from == http.NoBody {
		return nil
	}
	first := int64(firstBuffer)
	if length > 0 {
		first = firstDeclared
	}
	for {
		if len(b.Bytes) == cap(b.Bytes) {
			if err := b.grow(first, most); err != nil {
				return err
			}
		}
		n, err := from.Read(b.Bytes[len(b.Bytes):cap(b.Bytes)])
		b.Bytes = b.Bytes[:len(b.Bytes)+n]
		switch {
		case int64(len(b.Bytes)) == length:
			return nil
		case err == io.EOF && length < 0: //nolint:errorlint // a Reader returns it as it is
			return nil
		case err == io.EOF: //nolint:errorlint // as above
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		}
	}
}

// grow makes room for more of the body: first bytes, then twice as much.
func (b *Body) grow(first, most int64) error {
	before := int64(cap(b.Bytes))
	size := min(max(2*before, first), most)
	if !b.intake.take(size - before) {
		return errFull
	}
	b.held += size - before
	bigger := make([]byte, len(b.Bytes), size)
	copy(bigger, b.Bytes)
	b.Bytes = bigger
	return nil
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
