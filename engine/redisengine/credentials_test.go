package redisengine_test

import (
	"crypto/sha256"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// Credentials lie where the Ruby original reads and writes them, attributes
// where it never looks.
func TestCredentialsLieWhereTheOriginalHasThem(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	e := open(t, s.URL(), nil)
	const key = "org.example.publisher.toot.auth.credentials_store"
	sum := sha256.Sum256([]byte("secret"))
	s.Do("HSET", key, "ruby", string(sum[:]))
	if proof, err := e.Credential(t.Context(), key, "ruby"); err != nil || string(proof) != string(sum[:]) {
		t.Errorf("written by the original: %x, %v", proof, err)
	}
	if err := e.PutCredential(t.Context(), key, "go", sum[:]); err != nil {
		t.Fatal(err)
	}
	if v, err := s.Try("HGET", key, "go").ToString(); err != nil || v != string(sum[:]) {
		t.Errorf("read by the original: %x, %v", v, err)
	}
	if _, err := e.SwapAttribute(t.Context(), "org.example.publisher.users", "http://a", nil, []byte("value"), 0); err != nil {
		t.Fatal(err)
	}
	keys, err := s.Try("KEYS", "*").AsStrSlice()
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		if k != key && !strings.HasPrefix(k, "{toot") {
			t.Errorf("a key outside of the namespace: %s", k)
		}
	}
}
