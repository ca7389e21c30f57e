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
		go func() { results <- c.hashing.enter(ctx, "") }()
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
	if n := c.hashing.waiting; n != 0 {
		t.Errorf("%d are still counted as waiting", n)
	}
}

// One address does not take all the room: others still get their turn.
func TestSlowHashesAreBoundedByAddress(t *testing.T) {
	var l limiter
	l.init()
	for range maxWaitingFrom {
		if !l.queue("192.0.2.1") {
			t.Fatal("refused before there were many")
		}
	}
	if l.queue("192.0.2.1") {
		t.Error("one address may have any number waiting")
	}
	if !l.queue("192.0.2.2") || !l.queue("") {
		t.Error("others are refused")
	}
	l.unqueue("192.0.2.1")
	if !l.queue("192.0.2.1") {
		t.Error("what is over still counts")
	}
	for remote, want := range map[string]string{
		"192.0.2.1:4000": "192.0.2.1", "[::ffff:192.0.2.1]:4000": "192.0.2.1",
		"[2001:db8:1:2:3::4]:4000": "2001:db8:1:2::/64", "@": "",
	} {
		if got := addressOf(remote); got != want {
			t.Errorf("addressOf(%q) = %q, want %q", remote, got, want)
		}
	}
}

// A wrong password takes a slow hash whoever's it is; one that is right and kept
// in the original's form takes none, nor does one that was right before.
func TestWrongPasswordsTakeAsLongForAll(t *testing.T) {
	eng := memengine.NewStore().Open(engine.Retention{})
	defer func() { _ = eng.Close() }()
	c, err := NewCredentials(eng, &Options{Recheck: -1})
	if err != nil {
		t.Fatal(err)
	}
	for _, err := range []error{
		c.Add(t.Context(), "chosen", "s3cret"),
		eng.PutCredential(t.Context(), c.realm, "original", original("s3cret")),
		eng.PutCredential(t.Context(), c.realm, "before", strong("s3cret")),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	c.recheck = 1 // is over at once, but remembered
	if ok, err := c.Verify(t.Context(), "before", "s3cret"); !ok || err != nil {
		t.Fatal(ok, err)
	}
	if err := c.Add(t.Context(), "another", "x"); err != nil { // which changes nothing for those that are there
		t.Fatal(err)
	}
	for range cap(c.hashing.running) { // nobody else gets a turn
		c.hashing.running <- struct{}{}
	}
	over, cancel := context.WithCancel(t.Context())
	cancel()
	for _, tc := range []struct {
		username, password string
		ok, hashes         bool
	}{
		{"chosen", "wrong", false, true},
		{"original", "wrong", false, true},
		{"nobody", "wrong", false, true},
		{"original", "s3cret", true, false},
		{"before", "s3cret", true, false},
	} {
		ctx := t.Context()
		if tc.hashes {
			ctx = over
		}
		rights, err := c.verify(ctx, c.verified.key(tc.username, tc.password), "", tc.username, tc.password)
		if hashes := errors.Is(err, context.Canceled); hashes != tc.hashes || (rights != nil) != tc.ok {
			t.Errorf("%s, %s: %v, %v", tc.username, tc.password, rights, err)
		}
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
