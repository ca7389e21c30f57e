package toot

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Signatures after Standard Webhooks 1.0 (https://www.standardwebhooks.com):
// an HMAC-SHA256, under a secret that both sides know, of the request's id,
// the moment of the attempt and the body.
const (
	secretPrefix = "whsec_"
	// minSecret and maxSecret are the specification's, in bytes.
	minSecret, maxSecret = 24, 64
	// signatureTolerance is how far the clocks of both sides may be apart,
	// time on the way included.
	signatureTolerance = 5 * time.Minute
	// maxSignatures is how many signatures of a request are looked at.
	maxSignatures = 16
	maxSignedID   = 256
	// maxReplays bounds how many requests are remembered in each of two
	// generations, some 10 MiB. Beyond that, replays are for the dedupe window
	// to suppress, which is durable.
	maxReplays = 1 << 18
)

// The names of the headers, as net/http has them.
const (
	signedIDHeader   = "Webhook-Id"
	signedTimeHeader = "Webhook-Timestamp"
	signatureHeader  = "Webhook-Signature"
)

// ErrSignature is the error of a request whose signature is missing, wrong,
// too old or used before.
var ErrSignature = errors.New("toot: signature refused")

// NewSigningSecret returns a new random secret, "whsec_" and base64.
func NewSigningSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

// parseSecret returns the bytes of a secret, whose prefix may be missing.
func parseSecret(secret string) ([]byte, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, fmt.Errorf("toot: a signing secret is whsec_ and the base64 of %d to %d bytes, such as NewSigningSecret returns", minSecret, maxSecret)
	}
	return key, nil
}

func parseSecrets(secrets []string) ([][]byte, error) {
	keys := make([][]byte, len(secrets))
	for i, s := range secrets {
		key, err := parseSecret(s)
		if err != nil {
			return nil, err
		}
		keys[i] = key
	}
	return keys, nil
}

// mac is the signature of a request under a key, in base64.
func mac(key []byte, id, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = io.WriteString(h, id)
	_, _ = io.WriteString(h, ".")
	_, _ = io.WriteString(h, timestamp)
	_, _ = io.WriteString(h, ".")
	h.Write(body)
	return base64.StdEncoding.AppendEncode(nil, h.Sum(nil))
}

// sign adds the headers of a request with a signature under each of the keys.
func sign(h http.Header, keys [][]byte, id string, now time.Time, body []byte) {
	id = signedID(id)
	timestamp := strconv.FormatInt(now.Unix(), 10)
	var value []byte
	for i, key := range keys {
		if i > 0 {
			value = append(value, ' ')
		}
		value = append(append(value, "v1,"...), mac(key, id, timestamp, body)...)
	}
	h[signedIDHeader] = []string{id}
	h[signedTimeHeader] = []string{timestamp}
	h[signatureHeader] = []string{string(value)}
}

// signedID is an event's ID as a header may have it. A dot would make what is
// signed ambiguous; the ID of a retry is the same.
func signedID(id string) string {
	plain := len(id) <= 128 && id != ""
	for i := 0; plain && i < len(id); i++ {
		c := id[i]
		plain = c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '-' || c == '_'
	}
	if plain {
		return id
	}
	sum := sha256.Sum256([]byte(id))
	return "sha256-" + hex.EncodeToString(sum[:16])
}

// Signatures checks that requests are signed with one of some secrets, no
// more than five minutes ago, and came only once: a retry is signed anew. Its
// methods may be called concurrently.
//
// HandlerService does this by itself for sources that have SigningSecrets.
type Signatures struct {
	keys [][]byte

	mu         sync.Mutex
	recent     map[replay]struct{}
	before     map[replay]struct{}
	generation time.Time // when recent was begun
}

// replay stands for one signed request.
type replay [16]byte

// NewSignatures returns what checks signatures under any of some secrets, of
// which there must be one.
func NewSignatures(secrets ...string) (*Signatures, error) {
	keys, err := parseSecrets(secrets)
	if err == nil && len(keys) == 0 {
		err = errors.New("toot: NewSignatures needs a secret")
	}
	if err != nil {
		return nil, err
	}
	return &Signatures{keys: keys, recent: map[replay]struct{}{}}, nil
}

// Check returns nil for a request that is signed as it must be, and remembers
// it. Otherwise the error is an ErrSignature.
func (s *Signatures) Check(h http.Header, body []byte) error {
	_, err := s.check(h, body, time.Now())
	return err
}

func refused(why string) error { return fmt.Errorf("%w: %s", ErrSignature, why) }

func (s *Signatures) check(h http.Header, body []byte, now time.Time) (replay, error) {
	r, err := verifySignature(s.keys, h, body, now)
	if err == nil && !s.remember(r, now) {
		err = refused("the request was sent before")
	}
	return r, err
}

// verifySignature checks all but whether the request came before.
func verifySignature(keys [][]byte, h http.Header, body []byte, now time.Time) (r replay, err error) {
	id, timestamp, given := h.Get(signedIDHeader), h.Get(signedTimeHeader), h.Get(signatureHeader)
	if id == "" || timestamp == "" || given == "" {
		return r, refused("webhook-id, webhook-timestamp or webhook-signature is missing")
	}
	seconds, err := strconv.ParseUint(timestamp, 10, 40)
	if err != nil || len(id) > maxSignedID {
		return r, refused("webhook-timestamp or webhook-id is not what it must be")
	}
	age := now.Sub(time.Unix(int64(seconds), 0)) //nolint:gosec // 40 bits
	if age > signatureTolerance || age < -signatureTolerance {
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

// remember reports whether a request is new.
func (s *Signatures) remember(r replay, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	// A timestamp is taken for twice the tolerance: from that much before it
	// to that much after.
	if now.Sub(s.generation) > 2*signatureTolerance || len(s.recent) >= maxReplays {
		s.before, s.recent, s.generation = s.recent, map[replay]struct{}{}, now
	}
	if _, again := s.before[r]; again {
		return false
	}
	if _, again := s.recent[r]; again {
		return false
	}
	s.recent[r] = struct{}{}
	return true
}

// forget lets a request come again that could not be served.
func (s *Signatures) forget(r replay) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.recent, r)
	delete(s.before, r)
}

// Middleware lets only signed requests pass, with bodies up to maxBytes;
// others are answered with 401. A request that is then answered with 500 or
// above may come again.
func (s *Signatures) Middleware(maxBytes int64) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBytes))
			var over *http.MaxBytesError
			switch {
			case errors.As(err, &over):
				tooLarge(w, maxBytes)
				return
			case err != nil:
				problem(w, http.StatusBadRequest, "The body ended before its end was reached.")
				return
			}
			seen, err := s.check(r.Header, body, time.Now())
			if err != nil {
				unsigned(w, err)
				return
			}
			r.Body = io.NopCloser(bytes.NewReader(body))
			r.ContentLength = int64(len(body))
			status := &statusWriter{ResponseWriter: w}
			next.ServeHTTP(status, r)
			if status.code >= 500 {
				s.forget(seen)
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

// unsigned answers a request whose signature was refused.
func unsigned(w http.ResponseWriter, err error) {
	problem(w, http.StatusUnauthorized, "Expected a signature after Standard Webhooks, but "+strings.TrimPrefix(err.Error(), ErrSignature.Error()+": ")+".")
}

// signed checks the signatures of one request, for the sources that its events
// are of, each of which has secrets of its own: knowing those of one is not
// enough to send events of another.
type signed struct {
	header  http.Header
	body    []byte
	checked []checked
}

type checked struct {
	by   *Signatures
	seen replay
	err  error
}

// allows says why an event of the request may not go to subscriptions, if so.
func (s *signed) allows(subscriptions []*Subscription) error {
	for _, sub := range subscriptions {
		if sub.signatures == nil {
			continue
		}
		// A request is checked once, or it would meet itself.
		i := slices.IndexFunc(s.checked, func(c checked) bool { return c.by == sub.signatures })
		if i < 0 {
			seen, err := sub.signatures.check(s.header, s.body, time.Now())
			i, s.checked = len(s.checked), append(s.checked, checked{sub.signatures, seen, err})
		}
		if err := s.checked[i].err; err != nil {
			return err
		}
	}
	return nil
}

// failed lets the request come again.
func (s *signed) failed() {
	for _, c := range s.checked {
		if c.err == nil {
			c.by.forget(c.seen)
		}
	}
}
