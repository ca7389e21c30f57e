//go:build linux || darwin || freebsd

package inbox_test

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestWhatThePagePrintsIsRun: the programs of docs/transactions.md are those of the
// examples, which are run.
func TestWhatThePagePrintsIsRun(t *testing.T) {
	page, err := os.ReadFile("../docs/transactions.md")
	must(t, err)
	blocks := regexp.MustCompile("(?s)<!-- (\\w+) -->\n```go\n(.*?)```").FindAllStringSubmatch(string(page), -1)
	if len(blocks) != 2 {
		t.Fatalf("%d programs", len(blocks))
	}
	for _, block := range blocks {
		source, err := os.ReadFile("../" + block[1] + "/example_test.go")
		must(t, err)
		indented := regexp.MustCompile(`(?m)^(.)`).ReplaceAllString(block[2], "\t$1")
		if !strings.Contains(string(source), indented) {
			t.Errorf("the page's program for %s is not in its example", block[1])
		}
	}
}
