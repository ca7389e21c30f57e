package wire

import (
	"strings"
	"testing"
)

func TestDepth(t *testing.T) {
	nested := func(n int) string {
		return strings.Repeat(`{"a":[`, n/2) + strings.Repeat("[", n%2) + strings.Repeat("]", n%2) + strings.Repeat("]}", n/2)
	}
	for _, tc := range []struct {
		json  string
		limit int
		deep  bool
	}{
		{nested(10), 10, false},
		{nested(11), 10, true},
		{nested(11), -1, false},
		{"[" + strings.Repeat("{},", 5000) + "1]", 2, false},
		{"[" + strings.Repeat("{},", 5000) + "1]", 1, true},
		{`["` + strings.Repeat("[", 1000) + `"]`, 1, false},
		{`["\"` + strings.Repeat("[", 1000) + `"]`, 1, false},
		{`["\\",` + strings.Repeat("[", 1000), 10, true},
		{strings.Repeat("[", 1<<20), 512, true},
		{`"` + strings.Repeat("[", 1000), 1, false},
		{`["\`, 0, true},
		{``, 0, false},
	} {
		if got := TooDeep([]byte(tc.json), tc.limit); got != tc.deep {
			t.Errorf("tooDeep(%.30s…, %d) = %v", tc.json, tc.limit, got)
		}
	}
}
