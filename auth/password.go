package auth

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/crypto/argon2"
)

// What is stored of a password, its proof, has one of two forms, told apart by
// their length:
//
//   - 32 bytes: the password's SHA-256, the form of the Ruby original. It is
//     as strong as the password is random, so fit for generated ones only.
//   - longer: a PHC string, "$argon2id$v=19$m=…,t=…,p=…$salt$hash".
//
// Argon2id rather than bcrypt: it costs an attacker memory, not only time, and
// knows no limit of 72 bytes.
const (
	argonMemory  = 19 << 10 // KiB
	argonTime    = 2
	argonThreads = 1
	argonSalt    = 16
	argonKey     = 32
	argonPrefix  = "$argon2id$"
	// A store that somebody else writes to must not be able to ask for much
	// more than that.
	maxArgonMemory = 256 << 10
	maxArgonTime   = 16
)

// errProof is returned for what is neither form.
var errProof = errors.New("auth: what is stored for this user is neither a SHA-256 nor an argon2id string")

// original is the proof in the original's form.
func original(password string) []byte {
	sum := sha256.Sum256([]byte(password))
	return sum[:]
}

// strong is the proof of a password that somebody has chosen.
func strong(password string) []byte {
	salt := make([]byte, argonSalt)
	_, _ = rand.Read(salt) // never fails
	key := argon2.IDKey([]byte(password), salt, argonTime, argonMemory, argonThreads, argonKey)
	return fmt.Appendf(nil, "%sv=%d$m=%d,t=%d,p=%d$%s$%s", argonPrefix, argon2.Version, argonMemory, argonTime, argonThreads,
		base64.RawStdEncoding.EncodeToString(salt), base64.RawStdEncoding.EncodeToString(key))
}

// phc is an argon2id string, taken apart.
type phc struct {
	memory, time uint32
	threads      uint8
	salt, key    []byte
}

// isOriginal reports which of the two forms a proof has.
func isOriginal(proof []byte) bool { return len(proof) == sha256.Size }

func parsePHC(proof []byte) (phc, error) {
	rest, ok := strings.CutPrefix(string(proof), argonPrefix)
	parts := strings.Split(rest, "$")
	if !ok || len(parts) != 4 || parts[0] != "v="+strconv.Itoa(argon2.Version) {
		return phc{}, errProof
	}
	values := [3]uint64{}
	params := strings.Split(parts[1], ",")
	if len(params) != len(values) {
		return phc{}, errProof
	}
	for i, name := range []string{"m=", "t=", "p="} {
		text, ok := strings.CutPrefix(params[i], name)
		n, err := strconv.ParseUint(text, 10, 31)
		if !ok || err != nil {
			return phc{}, errProof
		}
		values[i] = n
	}
	salt, err1 := base64.RawStdEncoding.Strict().DecodeString(parts[2])
	key, err2 := base64.RawStdEncoding.Strict().DecodeString(parts[3])
	m, t, p := values[0], values[1], values[2]
	switch {
	case err1 != nil, err2 != nil, len(salt) < 8, len(salt) > 64, len(key) < 16, len(key) > 64:
		return phc{}, errProof
	case p < 1 || p > 16 || t < 1 || t > maxArgonTime || m < 8*p || m > maxArgonMemory:
		return phc{}, errProof
	}
	return phc{memory: uint32(m), time: uint32(t), threads: uint8(p), salt: salt, key: key}, nil
}

// matches compares in constant time. It takes long for the strong form.
func (h phc) matches(password string) bool {
	key := argon2.IDKey([]byte(password), h.salt, h.time, h.memory, h.threads, uint32(len(h.key))) //nolint:gosec // at most 64
	return subtle.ConstantTimeCompare(key, h.key) == 1
}

func matchesOriginal(proof []byte, password string) bool {
	return subtle.ConstantTimeCompare(original(password), proof) == 1
}
