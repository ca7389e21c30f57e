package wire

import (
	"testing"
	"time"
)

func TestTimestampsHaveTheFormOfRFC3339ToTheMicrosecond(t *testing.T) {
	for _, at := range []time.Time{
		{},
		time.Date(2026, 11, 29, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 1, 2, 3, 4, 5, 999, time.UTC),
		time.Date(2026, 1, 2, 3, 4, 5, 1000, time.UTC),
		time.Date(2026, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		time.Date(2026, 6, 1, 1, 30, 0, 120_000_000, time.FixedZone("", 2*60*60)),
		time.Date(1, 1, 1, 0, 0, 0, 7000, time.UTC),
		time.Date(12_345, 6, 7, 8, 9, 10, 11_000, time.UTC),
	} {
		if got, want := FormatTimestamp(at), at.UTC().Format("2006-01-02T15:04:05.000000Z"); got != want {
			t.Errorf("FormatTimestamp(%v) is %s, want %s", at, got, want)
		}
	}
}
