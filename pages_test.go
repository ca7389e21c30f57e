package toot_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/watermarkchurch/toot-go/internal/testing/pages"
)

// allPages are the pages of the documentation.
func allPages(t *testing.T) []string {
	t.Helper()
	all := []string{"README.md", "CHANGELOG.md", "CONTRIBUTING.md"}
	found := must2(filepath.Glob("docs/*.md"))
	if len(found) < 15 {
		t.Fatalf("docs/ has %d pages", len(found))
	}
	return append(all, found...)
}

// plain is code without what depends on where it stands: indentation, and the
// slashes of a doc comment.
func plain(code string) string {
	var lines []string
	for line := range strings.Lines(code) {
		lines = append(lines, strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "//")))
	}
	return "\n" + strings.TrimSpace(strings.Join(lines, "\n")) + "\n"
}

// TestCodeOfThePagesIsRun: what pages print in Go is a program that a test
// builds and runs, or stands in a Go file, which is compiled; what they print
// for a shell has a name, by which a test runs it.
func TestCodeOfThePagesIsRun(t *testing.T) {
	var corpus, tests strings.Builder // all of Go; of that the tests
	must(t, filepath.WalkDir(".", func(file string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && strings.HasPrefix(d.Name(), ".") && file != ".":
			return fs.SkipDir
		case strings.HasSuffix(file, ".go"):
			content := string(must2(os.ReadFile(file)))
			corpus.WriteString(plain(content))
			if strings.HasSuffix(file, "_test.go") {
				tests.WriteString(content)
			}
		}
		return nil
	}))
	for _, page := range allPages(t) {
		if !strings.Contains(string(must2(os.ReadFile(page))), "\n```") {
			continue
		}
		for _, b := range pages.Blocks(t, page) {
			isRun := b.Name != "" && (page == filepath.FromSlash("docs/tutorial.md") || strings.Contains(tests.String(), `"`+b.Name+`"`) || strings.Contains(tests.String(), "<!-- "+b.Name+" -->") || strings.HasSuffix(b.Name, "/main.go"))
			switch {
			case b.Language == "go" && isRun && strings.HasPrefix(b.Text, "package main\n"):
				corpus.WriteString(plain(b.Text)) // whose parts other pages quote
			case b.Language == "go" && !isRun && !strings.Contains(corpus.String(), plain(b.Text)):
				t.Errorf("%s: no test runs this, and no Go file has it:\n%s", page, b.Text)
			case b.Language == "sh" && !isRun && b.Name != "run":
				t.Errorf("%s: no test runs this:\n%s", page, b.Text)
			}
		}
	}
}

// TestLinksOfThePagesLeadSomewhere: to files that are there, and headings in
// them.
func TestLinksOfThePagesLeadSomewhere(t *testing.T) {
	link := regexp.MustCompile(`\]\(([^)\s]+)\)`)
	for _, page := range allPages(t) {
		for _, m := range link.FindAllStringSubmatch(string(must2(os.ReadFile(page))), -1) {
			target, heading, _ := strings.Cut(m[1], "#")
			if strings.Contains(target, "://") {
				continue
			}
			file := filepath.ToSlash(page)
			if target != "" {
				file = path.Join(path.Dir(file), target)
			}
			if _, err := os.Stat(file); err != nil {
				t.Errorf("%s: the link to %s leads nowhere", page, m[1])
			} else if heading != "" && !slices.Contains(headings(t, file), heading) {
				t.Errorf("%s: %s has no heading %q", page, file, heading)
			}
		}
	}
}

// headings are those of a page as links name them.
func headings(t *testing.T, page string) (anchors []string) {
	t.Helper()
	for line := range strings.Lines(string(must2(os.ReadFile(page)))) {
		if text := strings.TrimLeft(line, "#"); text != line {
			text = regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(strings.TrimSpace(text)), "")
			anchors = append(anchors, strings.ReplaceAll(text, " ", "-"))
		}
	}
	return anchors
}

// TestAllPagesAreListed in docs/README.md.
func TestAllPagesAreListed(t *testing.T) {
	index := string(must2(os.ReadFile("docs/README.md")))
	for _, page := range allPages(t) {
		if name := filepath.Base(page); strings.HasPrefix(page, "docs") && name != "README.md" && !strings.Contains(index, "("+name+")") {
			t.Errorf("docs/README.md does not list %s", name)
		}
	}
}
