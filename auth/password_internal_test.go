package auth

import (
	"context"
	"encoding/hex"
	"errors"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/memengine"
)

func TestProofsAreThoseOfOthers(t *testing.T) {
	// Of the description of SHA-256 and of the reference implementation of
	// argon2.
	if got := hex.EncodeToString(original("abc")); got != "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad" {
		t.Errorf("the original's form of abc is %s", got)
	}
	h, err := parsePHC([]byte("$argon2id$v=19$m=65536,t=2,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"))
	if err != nil || !h.matches("password") || h.matches("Password") {
		t.Errorf("the reference implementation's string is not understood: %v", err)
	}
}

func TestFormsAreToldApart(t *testing.T) {
	const password = "correct horse battery staple"
	for _, proof := range [][]byte{strong(password), strong(password), strong("")} {
		if isOriginal(proof) {
			t.Errorf("%s is taken for a SHA-256", proof)
		}
		if _, err := parsePHC(proof); err != nil {
			t.Errorf("%s: %v", proof, err)
		}
	}
	// A SHA-256 may begin with anything.
	if !isOriginal([]byte("$argon2id$v=19$m=65536,t=2,p=1$c")) {
		t.Error("32 bytes are not taken for a SHA-256")
	}
	good, again := string(strong(password)), string(strong(password))
	if good == again {
		t.Error("two proofs of a password are the same: there is no salt")
	}
	for name, bad := range map[string]string{
		"nothing":          "",
		"the password":     password,
		"31 bytes":         strings.Repeat("x", 31),
		"33 bytes":         strings.Repeat("x", 33),
		"hexadecimal":      hex.EncodeToString(original(password)),
		"bcrypt":           "$2a$10$N9qo8uLOickgx2ZMRZoMyeIjZAgcfl7p92ldGxad68LJZdL17lhWy",
		"argon2i":          strings.Replace(good, "argon2id", "argon2i", 1),
		"another version":  strings.Replace(good, "v=19", "v=16", 1),
		"too much memory":  strings.Replace(good, "m=19456", "m=1048576", 1),
		"too much time":    strings.Replace(good, "t=2", "t=1000", 1),
		"no time":          strings.Replace(good, "t=2", "t=0", 1),
		"no threads":       strings.Replace(good, "p=1", "p=0", 1),
		"too many threads": strings.Replace(good, "p=1", "p=256", 1),
		"a negative":       strings.Replace(good, "t=2", "t=-2", 1),
		"cut off":          good[:60],
		"no key":           good[:strings.LastIndex(good, "$")+1],
		"more behind":      good + "$",
	} {
		if _, err := parsePHC([]byte(bad)); err == nil {
			t.Errorf("%s is taken for an argon2id string: %s", name, bad)
		}
	}
}

// Strangers can't have more of the machine than that.
func TestSlowHashesAreBounded(t *testing.T) {
	eng := memengine.NewStore().Open(engine.Retention{})
	defer func() { _ = eng.Close() }()
	c, err := NewCredentials(eng, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range cap(c.hashing.running) {
		c.hashing.running <- struct{}{}
	}
	ctx, cancel := context.WithCancel(t.Context())
	results := make(chan error, 2*maxWaiting)
	for range 2 * maxWaiting {
		go func() { results <- c.hashing.enter(ctx) }()
	}
	for range maxWaiting {
		if err := <-results; !errors.Is(err, ErrBusy) {
			t.Fatalf("one too many: %v", err)
		}
	}
	cancel()
	for range maxWaiting {
		if err := <-results; !errors.Is(err, context.Canceled) {
			t.Errorf("a request that is over waits on: %v", err)
		}
	}
	if n := c.hashing.waiting.Load(); n != 0 {
		t.Errorf("%d are still counted as waiting", n)
	}
}

func FuzzStoredProofs(f *testing.F) {
	f.Add([]byte("$argon2id$v=19$m=8,t=1,p=1$c29tZXNhbHQ$CTFhFdXPJO1aFaMaO6Mm5c8y7cJHAph8ArZWb2GRPPc"))
	f.Add(original("x"))
	f.Add([]byte("$argon2id$v=19$m=,t=,p=$$"))
	f.Fuzz(func(t *testing.T, proof []byte) {
		h, err := parsePHC(proof)
		if err == nil && (isOriginal(proof) || h.memory > maxArgonMemory || h.time > maxArgonTime || h.threads == 0) {
			t.Errorf("%q was taken for %+v", proof, h)
		}
	})
}
