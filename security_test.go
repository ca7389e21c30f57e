package toot_test

import (
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
)

// Every test that docs/security.md names exists.
func TestTheSecurityTableNamesTests(t *testing.T) {
	page, err := os.ReadFile("docs/security.md")
	must(t, err)
	names := regexp.MustCompile("`((?:Test|Fuzz)[A-Za-z]+)`").FindAllSubmatch(page, -1)
	if len(names) < 20 {
		t.Fatalf("docs/security.md names %d tests", len(names))
	}
	files, err := exec.CommandContext(t.Context(), "git", "ls-files", "*_test.go").Output()
	must(t, err)
	var sources strings.Builder
	for file := range strings.Lines(string(files)) {
		source, err := os.ReadFile(strings.TrimSpace(file))
		must(t, err)
		sources.Write(source)
	}
	for _, m := range names {
		if !strings.Contains(sources.String(), "\nfunc "+string(m[1])+"(") {
			t.Errorf("docs/security.md names %s, which does not exist", m[1])
		}
	}
}
