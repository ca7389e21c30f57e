package toot

import (
	"os"
	"reflect"
	"regexp"
	"testing"
	"time"
)

// TestTimeoutsPageIsTrue holds docs/timeouts.md against the durations among the
// options: each is there, with its default.
func TestTimeoutsPageIsTrue(t *testing.T) {
	page, err := os.ReadFile("docs/timeouts.md")
	if err != nil {
		t.Fatal(err)
	}
	defaults := reflect.ValueOf(Options{}.withDefaults())
	for i := range defaults.NumField() {
		value, ok := defaults.Field(i).Interface().(time.Duration)
		if !ok {
			continue
		}
		shown := "none"
		if value > 0 {
			shown = regexp.MustCompile(`([hm])0[ms](0s)?$`).ReplaceAllString(value.String(), "$1") // 1h0m0s
		}
		name := defaults.Type().Field(i).Name
		row := regexp.MustCompile(`(?m)^\|[^|\n]*\|[^|\n]*` + "`Options\\." + name + "`" + `[^|\n]*\| ` + regexp.QuoteMeta(shown) + ` \|`)
		if !row.Match(page) {
			t.Errorf("docs/timeouts.md has no row for Options.%s with the default %s", name, shown)
		}
	}
}
