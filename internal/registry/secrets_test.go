package registry

import (
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/signing"
)

func TestRotation(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	one, two, three := signing.NewSecret(), signing.NewSecret(), signing.NewSecret()
	s := rotate(nil, one, now, time.Hour)
	s = rotate(s, two, now, time.Hour)
	if len(s) != 2 || s[0].Secret != two || s[0].Until != 0 || s[1].Secret != one || s[1].Until != now.Add(time.Hour).Unix() {
		t.Errorf("after a first rotation: %+v", s)
	}
	now = now.Add(30 * time.Minute)
	s = rotate(s, three, now, time.Hour)
	if len(s) != 3 || s[2].Until != now.Add(30*time.Minute).Unix() {
		t.Errorf("a second rotation prolongs the first: %+v", s)
	}
	now = now.Add(45 * time.Minute)
	s = rotate(s, one, now, 0)
	if len(s) != 1 || s[0].Secret != one {
		t.Errorf("without an overlap: %+v", s)
	}
	for range 10 {
		s = rotate(s, signing.NewSecret(), now, time.Hour)
	}
	if len(s) != maxSecrets {
		t.Errorf("%d secrets are kept", len(s))
	}
}
