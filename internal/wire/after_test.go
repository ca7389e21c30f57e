package wire

import (
	"testing"
	"time"
)

func TestParseAfter(t *testing.T) {
	for text, want := range map[string]time.Duration{
		"0": 0, "600": 10 * time.Minute, "10m": 10 * time.Minute, "1h30m": 90 * time.Minute, "1.5s": 1500 * time.Millisecond, "2147483647": 2147483647 * time.Second,
	} {
		if after, at, err := ParseAfter(text); after != want || !at.IsZero() || err != nil {
			t.Errorf("%q: %v, %v, %v, want %v", text, after, at, err, want)
		}
	}
	for _, text := range []string{"2026-11-23T09:11:13Z", "2026-11-23T10:11:13.000+01:00"} {
		if after, at, err := ParseAfter(text); after != 0 || !at.Equal(time.Date(2026, 11, 23, 9, 11, 13, 0, time.UTC)) || err != nil {
			t.Errorf("%q: %v, %v, %v", text, after, at, err)
		}
	}
	for _, text := range []string{"", " ", "-1", "-10m", "tomorrow", "1.5", "2147483648", "2026-11-23", "2026-11-23T09:11:13", "10 m", "NaN"} {
		if _, _, err := ParseAfter(text); err == nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}
