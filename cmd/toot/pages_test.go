package main_test

import (
	"maps"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/watermarkchurch/toot-go/internal/testing/pages"
)

// TestCommandsOfThePagesExist: every toot command that the documentation names
// (in an indented line, or in backticks; tests run those of fenced blocks) is one,
// and has the flags that it is given there.
func TestCommandsOfThePagesExist(t *testing.T) {
	t.Parallel()
	helps := map[string]string{} // by "dead list"
	var look func(path ...string)
	look = func(path ...string) {
		text := command(t, append(path, "--help")...).stdout
		helps[strings.Join(path, " ")] = text
		for _, m := range regexp.MustCompile(`(?m)^  ([a-z-]+)   +\S`).FindAllStringSubmatch(text, -1) {
			look(append(slices.Clone(path), m[1])...)
		}
	}
	look()
	files, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(files) == 0 {
		t.Fatal("no pages: ", err)
	}
	known := slices.Collect(maps.Keys(helps))
	named := 0
	for _, page := range append(files, "../../README.md") {
		for _, m := range regexp.MustCompile("(?m)(?:^ {4,}(?:\\$ )?|`)toot ([a-z|-]+(?: [^`\n#]*)?)").FindAllStringSubmatch(readFile(t, page), -1) {
			for _, line := range alternatives(m[1]) {
				named++
				words := strings.Fields(line)
				path := strings.Join(words[:min(2, len(words))], " ")
				if !slices.Contains(known, path) {
					path = words[0]
				}
				if !slices.Contains(known, path) {
					t.Errorf("%s: there is no command toot %s", page, line)
				}
				for _, flag := range regexp.MustCompile(`--[a-z][a-z-]+`).FindAllString(line, -1) {
					if !strings.Contains(helps[path], flag) {
						t.Errorf("%s: toot %s has no flag %s", page, path, flag)
					}
				}
			}
		}
	}
	if named < 40 {
		t.Errorf("only %d commands were found", named)
	}
}

// alternatives are the commands that "auth add|remove NAME" stands for.
func alternatives(line string) []string {
	before, after, _ := strings.Cut(line, " ")
	second, rest, _ := strings.Cut(after, " ")
	if !regexp.MustCompile(`^[a-z]+(\|[a-z]+)+$`).MatchString(second) {
		return []string{line}
	}
	var lines []string
	for word := range strings.SplitSeq(second, "|") {
		lines = append(lines, before+" "+word+" "+rest)
	}
	return lines
}

// runLines runs the lines of a page's block in a folder, one by one; ID stands
// for a dead letter that is there.
func runLines(t *testing.T, dir, page, block string, replace ...string) {
	t.Helper()
	for line := range strings.Lines(pages.Named(t, page, block)) {
		line = strings.NewReplacer(replace...).Replace(strings.TrimSpace(line))
		if strings.Contains(line, " ID ") {
			letters := objects(t, command(t, "dead", "list", "--json", "--store", "sqlite:"+filepath.Join(dir, "mailer.db")).stdout)
			if len(letters) == 0 {
				t.Fatal("no dead letter is left")
			}
			line = strings.ReplaceAll(line, " ID ", " "+letters[0]["id"].(string)+" ")
		}
		if r := startIn(t, dir, exec.Command("sh", "-c", "exec "+line)).wait(); r.code != 0 {
			t.Errorf("%s: %s ended with %d: %s%s", page, line, r.code, r.stdout, r.stderr)
		}
	}
}

// TestCommandsForTrouble runs what the pages print for those who look for an
// event, as it stands.
func TestCommandsForTrouble(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	newGraveyard(t, "sqlite:"+filepath.Join(dir, "mailer.db"))
	runLines(t, dir, "docs/poison-events.md", "dead letters")

	shop := "sqlite:" + filepath.Join(dir, "shop.db")
	takeIn(t, shop, "users.updated.v2", 24*time.Hour, 1)
	takeIn(t, shop, "users.updated.v1", 400*time.Millisecond, 2)
	takeIn(t, shop, "users.deleted.v1", 400*time.Millisecond, 2)
	eventually(t, "two subscriptions are unhandled", func() bool {
		return len(objects(t, command(t, "unhandled", "list", "--json", "--store", shop).stdout)) == 2
	})
	runLines(t, dir, "docs/rolling-deploys.md", "unhandled")

	s := serve(t)
	runLines(t, dir, "docs/troubleshooting.md", "look", "http://localhost:8001", s.url)
	s.stop()
}
