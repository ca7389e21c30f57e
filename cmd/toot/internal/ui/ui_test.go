package ui

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestCleanLeavesNothingATerminalObeys(t *testing.T) {
	for in, want := range map[string]string{
		"plain – ünïcode ✓":   "plain – ünïcode ✓",
		"a\x1b[31mred\x1b[0m": "a␛[31mred␛[0m",
		"two\nlines\tand":     "two lines and",
		"\u009b31m":           "\ufffd31m",
		"\x7f\x00":            "\ufffd␀",
		"\u202eright to left": "\ufffdright to left",
	} {
		if got := Clean(in); got != want {
			t.Errorf("Clean(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestTableAligns(t *testing.T) {
	var b bytes.Buffer
	table := Table{Columns: []Column{{Title: "name"}, {Title: "n", Right: true}}}
	table.Add("é", Count(12345))
	table.Add(Cell{Text: "日本", Color: Red}, 7)
	New(&b).Table(&table)
	want := "  name        n\n  é      12,345\n  日本        7\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestTableFitsATerminal(t *testing.T) {
	var b bytes.Buffer
	u := &UI{Writer: &b, terminal: true, fd: -1} // whose width is not known: 80
	table := Table{Columns: []Column{{Title: "lane", Flex: true}, {Title: "n", Right: true}, {Title: "reason", Flex: true}}}
	table.Add(strings.Repeat("l", 100), 1, strings.Repeat("r", 20))
	u.Table(&table)
	for line := range strings.Lines(b.String()) {
		if w := width(strings.TrimSuffix(line, "\n")); w > 80 {
			t.Errorf("%d columns: %q", w, line)
		}
	}
	if !strings.Contains(b.String(), strings.Repeat("r", 20)) || !strings.Contains(b.String(), "l…") {
		t.Errorf("not the widest column was cut:\n%s", b.String())
	}
}

// TestTableOnANarrowTerminal: less and less, but never wider.
func TestTableOnANarrowTerminal(t *testing.T) {
	table := Table{Columns: []Column{{Title: "lane", Flex: true}, {Title: "waiting", Right: true}, {Title: "rests", Right: true}, {Title: "dead", Right: true}}}
	table.Add("http://app.example.org/callbacks", 12345678, none, 1)
	table.Add("short", 7, none, none)
	for columns, want := range map[int]string{
		80: "  lane                                waiting   rests   dead\n" +
			"  http://app.example.org/callbacks   12345678       –      1\n" +
			"  short                                     7       –      –\n",
		55: "",
		42: "  lane                       waiting  dead\n" +
			"  http://app.example.org/…  12345678     1\n" +
			"  short                            7     –\n",
		28: "  lane     http://app.examp…\n  waiting  12345678\n  dead     1\n\n  lane     short\n  waiting  7\n",
	} {
		var b bytes.Buffer
		(&UI{Writer: &b, terminal: true, fd: -1, columns: columns}).Table(&table)
		for line := range strings.Lines(b.String()) {
			if w := width(strings.TrimSuffix(line, "\n")); w > columns {
				t.Errorf("%d columns of %d: %q", w, columns, line)
			}
		}
		if want != "" && b.String() != want {
			t.Errorf("at %d columns got\n%s\nwant\n%s", columns, b.String(), want)
		}
	}
}

func TestWrap(t *testing.T) {
	if got, want := Reflow("one two three\nfour\n\n  as  it is\n\nfive", 9), "one two\nthree\nfour\n\n  as  it is\n\nfive"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got, want := Wrap("a very-long-word b", 6, "--"), "a\n--very-long-word\n--b"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestSpan(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 10 * time.Microsecond: "1ms", 340 * time.Millisecond: "340ms", 2140 * time.Millisecond: "2.1s", 59 * time.Second: "59s",
		250 * time.Second: "4m10s", 200 * time.Minute: "3h20m", 300 * time.Hour: "12d",
	} {
		if got := Span(d); got != want {
			t.Errorf("Span(%v) = %q, want %q", d, got, want)
		}
	}
}
