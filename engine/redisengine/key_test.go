package redisengine_test

import (
	"encoding/hex"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go/engine/redisengine"
)

// Keys of events that are not the same must not be the same either.
func TestJobKeys(t *testing.T) {
	t.Parallel()
	const id = "85f05e61-9b14-4062-a0a6-f9dd7272587d"
	if got, want := hex.EncodeToString([]byte(redisengine.JobKey(id))), strings.ReplaceAll(id, "-", ""); got != want {
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
		key := redisengine.JobKey(id)
		if other, ok := seen[key]; ok && other != id || len(key) != 16 {
			t.Errorf("%q and %q have the key %x", id, other, key)
		}
		seen[key] = id
	}
}
