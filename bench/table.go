package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

var columns = []string{"row", "events/s", "× raw", "from – to", "CPU µs", "server µs", "allocs", "RSS MB", "p50 ms", "p99 ms", "compared"}

// cells are the texts of a row; figures that don't apply are empty.
func (r *result) cells() []string {
	spread := ""
	if len(r.Ratios) > 1 {
		spread = fmt.Sprintf("%.2f – %.2f", slices.Min(r.Ratios), slices.Max(r.Ratios))
	}
	compared := ""
	if r.Against != "" {
		compared = fmt.Sprintf("%.2f × %s", r.AgainstRatio, r.Against)
	}
	return []string{
		r.Name, thousands(r.EventsPerS), figure(r.Ratio, 2), spread, figure(r.CPU, 1), figure(r.RedisCPU, 1),
		figure(r.Allocs, 0), figure(r.RSS, 0), figure(r.P50, 2), figure(r.P99, 2), compared,
	}
}

// figure is a number, or nothing for 0.
func figure(v float64, digits int) string {
	if v == 0 {
		return ""
	}
	return strconv.FormatFloat(v, 'f', digits, 64)
}

// thousands is a number in the form 1,234,567.
func thousands(v float64) string {
	text := strconv.FormatFloat(v, 'f', 0, 64)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// table writes the rows for a terminal.
func (r *report) table(w io.Writer) {
	lines := [][]string{columns}
	for _, row := range r.Rows {
		lines = append(lines, row.cells())
	}
	widths := make([]int, len(columns))
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for _, line := range lines {
		var b strings.Builder
		for i, cell := range line {
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if i == 0 || i == len(line)-1 {
				b.WriteString(cell + pad)
			} else {
				b.WriteString(pad + cell)
			}
			b.WriteString("  ")
		}
		fmt.Fprintln(w, strings.TrimRight(b.String(), " "))
	}
	fmt.Fprintln(w, "\nEvery event arrived exactly once. Figures are for each event, in the fan-out rows for each delivery.")
}

// markdown writes the settings and the rows for docs/performance.md.
func (r *report) markdown(w io.Writer) error {
	var b strings.Builder
	for _, line := range r.Settings.lines() {
		fmt.Fprintf(&b, "- %s: %s\n", line[0], line[1])
	}
	fmt.Fprintf(&b, "\n| %s |\n|---|%s\n", strings.Join(columns, " | "), strings.Repeat("---:|", len(columns)-1))
	for _, row := range r.Rows {
		cells := row.cells()
		cells[0] = "`" + cells[0] + "`"
		fmt.Fprintf(&b, "| %s |\n", strings.Join(cells, " | "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func (r *report) json(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(r)
}
