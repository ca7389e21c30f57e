package main_test

import (
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestCommandsOfThePagesExist: every toot command that the documentation names
// (in an indented line, or in backticks; tests run those of fenced blocks) is one,
// and has the flags that it is given there.
func TestCommandsOfThePagesExist(t *testing.T) {
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
	pages, err := filepath.Glob("../../docs/*.md")
	if err != nil || len(pages) == 0 {
		t.Fatal("no pages: ", err)
	}
	known := slices.Collect(maps.Keys(helps))
	named := 0
	for _, page := range append(pages, "../../README.md") {
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
