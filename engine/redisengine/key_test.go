package redisengine_test

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go/engine/redisengine"
	"github.com/watermarkchurch/toot-go/internal/testing/redistest"
)

// Keys of events that are not the same must not be the same either.
func TestJobKeys(t *testing.T) {
	t.Parallel()
	seen := map[string][3]string{}
	parts := []string{"", "a", "b", "ab", "a\x01b", "\x00", "\x01", "1", strings.Repeat("a", 127), strings.Repeat("a", 128), strings.Repeat("long", 100)}
	for _, channel := range parts {
		for _, id := range parts {
			for _, replay := range parts {
				key := redisengine.JobKey(channel, id, replay)
				is := [3]string{channel, id, replay}
				if other, ok := seen[key]; ok || len(key) != 16 {
					t.Errorf("%q and %q have the key %x", is, other, key)
				}
				seen[key] = is
			}
		}
	}
}

// The keys of format 1 are as they were.
func TestIDKeys(t *testing.T) {
	t.Parallel()
	const id = "85f05e61-9b14-4062-a0a6-f9dd7272587d"
	if got, want := hex.EncodeToString([]byte(redisengine.IDKey(id))), strings.ReplaceAll(id, "-", ""); got != want {
		t.Errorf("the key of a UUID is %s, want its bytes", got)
	}
	seen := map[string]string{}
	ids := []string{id, strings.ToUpper(id), "", "1", strings.Repeat("-", 36), strings.ReplaceAll(id, "-", "")}
	for i := range id {
		for _, c := range []string{"-", "g", "/", ":", "`", "\xff", "A"} {
			ids = append(ids, id[:i]+c+id[i+1:])
		}
	}
	for _, id := range ids {
		key := redisengine.IDKey(id)
		if other, ok := seen[key]; ok && other != id || len(key) != 16 {
			t.Errorf("%q and %q have the key %x", id, other, key)
		}
		seen[key] = id
	}
}

// All that belongs to a channel is in its slot, whatever its name.
func TestKeysOfAChannelAreInOneSlot(t *testing.T) {
	t.Parallel()
	s := redistest.Start(t)
	e := open(t, s.URL(), nil)
	names := []string{"a", "org.example.publisher.users.updated.v1", "{}", "{a}b", "b{a}", "}{", "{a", "a}", "a{b}c{d}", "{}{a}", "{{a}}"}
	for i := range 200 {
		names = append(names, fmt.Sprintf("channel-%d", i))
	}
	seen := map[string]bool{}
	for _, name := range names {
		slot, err := s.Try("CLUSTER", "KEYSLOT", name).AsInt64()
		if err == nil && int(slot) != redisengine.SlotOf(name) {
			t.Errorf("%q is in slot %d, not %d", name, slot, redisengine.SlotOf(name))
		}
		for _, key := range e.ChannelKeys(name) {
			if redisengine.SlotOf(key) != redisengine.SlotOf(name) {
				t.Errorf("the key %q is not in the slot of %q", key, name)
			}
			if seen[key] {
				t.Errorf("the key %q comes twice", key)
			}
			seen[key] = true
		}
	}
}
