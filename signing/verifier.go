package signing

import (
	"bytes"
	"crypto/hmac"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/watermarkchurch/toot-go/internal/wire"
)

const (
	// tolerance is how far the clocks of both sides may be apart, the time on
	// the way included.
	tolerance = 5 * time.Minute
	// maxSignatures is how many signatures of a request are looked at.
	maxSignatures = 16
	maxID         = 256
	// maxReplays bounds how many requests are remembered in each of two
	// generations, some 10 MiB. Beyond that, replays are for the dedupe window
	// to suppress, which is durable.
	maxReplays = 1 << 18
)

// ErrRefused is the error of a request whose signature is missing, wrong, too
// old or used before.
var ErrRefused = errors.New("signing: signature refused")

func refused(why string) error { return fmt.Errorf("%w: %s", ErrRefused, why) }

// Verify checks that a request is signed with one of the keys, no more than
// five minutes from now. It does not notice a request that is sent again; a
// Verifier does. The error is an ErrRefused.
func Verify(keys []Key, h http.Header, body []byte, now time.Time) error {
	_, err := verify(keys, h, body, now)
	return err
}

// verify also returns what tells the request from others.
func verify(keys []Key, h http.Header, body []byte, now time.Time) (r Receipt, err error) {
	id, timestamp, given := h.Get(idHeader), h.Get(timestampHeader), h.Get(signatureHeader)
	if id == "" || timestamp == "" || given == "" {
		return r, refused("webhook-id, webhook-timestamp or webhook-signature is missing")
	}
	seconds, err := strconv.ParseUint(timestamp, 10, 40)
	if err != nil || len(id) > maxID || strings.ContainsFunc(id, func(r rune) bool { return r <= ' ' || r > '~' }) {
		return r, refused("webhook-timestamp or webhook-id is not what it must be")
	}
	age := now.Sub(time.Unix(int64(seconds), 0)) //nolint:gosec // 40 bits
	if age > tolerance || age < -tolerance {
		return r, refused("webhook-timestamp is more than five minutes from now")
	}
	ok := false
	for i, key := range keys {
		want := mac(key, id, timestamp, body)
		if i == 0 {
			copy(r[:], want) // whichever of several signatures is left
		}
		rest := given
		for n := 0; rest != "" && n < maxSignatures; n++ {
			var one string
			one, rest, _ = strings.Cut(rest, " ")
			if value, isV1 := strings.CutPrefix(one, "v1,"); isV1 && hmac.Equal([]byte(value), want) {
				ok = true
			}
		}
	}
	if !ok {
		return r, refused("no signature fits")
	}
	return r, nil
}

// Verifier checks that requests are signed with one of some secrets, no more
// than five minutes from now, and come only once: a retry is signed anew. Its
// methods may be called concurrently.
//
// An App's HandlerService does this by itself for sources that have
// SigningSecrets.
type Verifier struct {
	keys []Key

	mu         sync.Mutex
	recent     map[Receipt]struct{}
	before     map[Receipt]struct{}
	generation time.Time // when recent was begun
}

// Receipt stands for one signed request.
type Receipt [16]byte

// NewVerifier returns what checks signatures under any of some secrets, of
// which there must be one.
func NewVerifier(secrets ...string) (*Verifier, error) {
	keys, err := ParseSecrets(secrets)
	if err == nil && len(keys) == 0 {
		err = errors.New("signing: NewVerifier needs a secret")
	}
	if err != nil {
		return nil, err
	}
	return &Verifier{keys: keys, recent: map[Receipt]struct{}{}}, nil
}

// Check returns a receipt for a request that is signed as it must be, and
// remembers it. Otherwise the error is an ErrRefused.
func (v *Verifier) Check(h http.Header, body []byte) (Receipt, error) {
	now := time.Now()
	r, err := verify(v.keys, h, body, now)
	if err == nil && !v.remember(r, now) {
		err = refused("the request was sent before")
	}
	return r, err
}

// remember reports whether a request is new.
func (v *Verifier) remember(r Receipt, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	// A timestamp is taken for twice the tolerance: from that much before it
	// to that much after.
	if now.Sub(v.generation) > 2*tolerance || len(v.recent) >= maxReplays {
		v.before, v.recent, v.generation = v.recent, map[Receipt]struct{}{}, now
	}
	if _, again := v.before[r]; again {
		return false
	}
	if _, again := v.recent[r]; again {
		return false
	}
	v.recent[r] = struct{}{}
	return true
}

// Forget forgets a request that could not be served, so that it may come again.
func (v *Verifier) Forget(r Receipt) {
	v.mu.Lock()
	defer v.mu.Unlock()
	delete(v.recent, r)
	delete(v.before, r)
}

// Middleware lets only signed requests pass, with bodies up to maxBytes;
// others are answered with 401. A request that is then answered with 500 or
// above may come again.
func (v *Verifier) Middleware(maxBytes int64) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			read, ok := wire.ReadBody(w, r, wire.BodyLimits{Bytes: maxBytes, Depth: -1, Within: -1})
			if !ok {
				return
			}
			defer read.Done()
			body := read.Bytes
			receipt, err := v.Check(r.Header, body)
			if err != nil {
				Unauthorized(w, err)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			r.ContentLength = int64(len(body))
			status := &statusWriter{ResponseWriter: w}
			next.ServeHTTP(status, r)
			if status.code >= 500 {
				v.Forget(receipt)
			}
		})
	}
}

// statusWriter remembers the status of an answer.
type statusWriter struct {
	http.ResponseWriter
	code int
}

func (w *statusWriter) WriteHeader(code int) {
	w.code = code
	w.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Unauthorized answers a request whose signature was refused, for the reason
// that Check gave.
func Unauthorized(w http.ResponseWriter, err error) {
	wire.Problem(w, http.StatusUnauthorized, "Expected a signature after Standard Webhooks, but "+strings.TrimPrefix(err.Error(), ErrRefused.Error()+": ")+".")
}
