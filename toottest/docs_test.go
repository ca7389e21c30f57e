package toottest_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestThePageShowsWhatIsRun: each example of docs/testing.md stands in
// example_test.go as it is printed, and each test that stands there is printed.
func TestThePageShowsWhatIsRun(t *testing.T) {
	read := func(name string) string {
		text, err := os.ReadFile(name)
		must(t, err)
		return string(text)
	}
	page, source := read("../docs/testing.md"), read("example_test.go")
	blocks := regexp.MustCompile("(?s)<!-- example -->\n```go\n(.*?)```").FindAllStringSubmatch(page, -1)
	if all := strings.Count(page, "```go"); len(blocks) == 0 || len(blocks) != all {
		t.Errorf("%d of %d blocks are marked as examples", len(blocks), all)
	}
	for _, block := range blocks {
		if !strings.Contains(source, block[1]) {
			t.Errorf("example_test.go does not have\n%s", block[1])
		}
	}
	for _, name := range regexp.MustCompile(`(?m)^func (Test\w+)`).FindAllStringSubmatch(source, -1) {
		if !strings.Contains(page, name[0]) {
			t.Errorf("docs/testing.md does not have %s", name[1])
		}
	}
}
