// Package signing signs requests and checks signatures as Standard Webhooks 1.0
// describes (https://www.standardwebhooks.com): with an HMAC-SHA256 of the
// request's id, the time of the attempt and the body, under a secret that both
// sides know.
//
// An app does both by itself, see toot.Source.SigningSecrets and
// App.SetSigningSecret. Use this package to make secrets (NewSecret), and in
// programs that send to or receive from an app without being one.
package signing

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

const (
	secretPrefix = "whsec_"
	// minSecret and maxSecret are the specification's, in bytes.
	minSecret, maxSecret = 24, 64
)

// The names of the headers, as net/http has them.
const (
	idHeader        = "Webhook-Id"
	timestampHeader = "Webhook-Timestamp"
	signatureHeader = "Webhook-Signature"
)

// Key is what a secret stands for.
type Key []byte

// NewSecret returns a new random secret, "whsec_" and the base64 of 32 bytes.
func NewSecret() string {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return secretPrefix + base64.StdEncoding.EncodeToString(key)
}

// ParseSecret returns the key that a secret stands for, whose prefix "whsec_"
// may be missing. It must be the base64 of 24 to 64 bytes.
func ParseSecret(secret string) (Key, error) {
	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(secret, secretPrefix))
	if err != nil || len(key) < minSecret || len(key) > maxSecret {
		return nil, fmt.Errorf("signing: a secret is whsec_ and the base64 of %d to %d bytes, such as NewSecret returns", minSecret, maxSecret)
	}
	return key, nil
}

// ParseSecrets returns the keys of several secrets.
func ParseSecrets(secrets []string) ([]Key, error) {
	keys := make([]Key, len(secrets))
	for i, s := range secrets {
		key, err := ParseSecret(s)
		if err != nil {
			return nil, err
		}
		keys[i] = key
	}
	return keys, nil
}

// Sign adds the headers of a request that is made now, with a signature under
// each of the keys, so that the other side may know either of two secrets
// while one replaces the other. The id is that of the event, the same for each
// attempt; one with other characters than letters, digits, - and _ is replaced
// by a hash of it.
func Sign(h http.Header, keys []Key, id string, now time.Time, body []byte) {
	id = plainID(id)
	timestamp := strconv.FormatInt(now.Unix(), 10)
	var value []byte
	for i, key := range keys {
		if i > 0 {
			value = append(value, ' ')
		}
		value = append(append(value, "v1,"...), mac(key, id, timestamp, body)...)
	}
	h[idHeader] = []string{id}
	h[timestampHeader] = []string{timestamp}
	h[signatureHeader] = []string{string(value)}
}

// RemovalContent is what Sign is given in the place of a body for a request to
// remove a registration, DELETE with this query, as it stands in the request.
func RemovalContent(rawQuery string) []byte { return []byte("DELETE?" + rawQuery) }

// mac is the signature of a request under a key, in base64.
func mac(key Key, id, timestamp string, body []byte) []byte {
	h := hmac.New(sha256.New, key)
	_, _ = io.WriteString(h, id)
	_, _ = io.WriteString(h, ".")
	_, _ = io.WriteString(h, timestamp)
	_, _ = io.WriteString(h, ".")
	h.Write(body)
	return base64.StdEncoding.AppendEncode(nil, h.Sum(nil))
}

// plainID is an event's ID as a header may have it. A dot would make what is
// signed ambiguous.
func plainID(id string) string {
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
