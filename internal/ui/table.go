package ui

import (
	"fmt"
	"strings"

	"github.com/rivo/uniseg"
)

// Cell is one cell of a table.
type Cell struct {
	Text  string
	Color Color
	// Raw is text that is coloured already; Text then tells its width.
	Raw string
}

// Column is one column of a table.
type Column struct {
	Title string
	Right bool // numbers
	// Min is the least width.
	Min int
	// Flex lets the column be cut where a terminal is too narrow.
	Flex bool
}

// Table is aligned text. A line begins with two spaces, like everything that
// is not a message.
type Table struct {
	Columns []Column
	rows    [][]Cell
}

// Add adds a row: strings, or Cells.
func (t *Table) Add(cells ...any) {
	row := make([]Cell, len(cells))
	for i, c := range cells {
		if cell, ok := c.(Cell); ok {
			row[i] = cell
		} else {
			row[i] = Cell{Text: fmt.Sprint(c)}
		}
	}
	t.rows = append(t.rows, row)
}

// Table writes a table.
func (u *UI) Table(t *Table) {
	widths := make([]int, len(t.Columns))
	for i, c := range t.Columns {
		widths[i] = max(width(c.Title), c.Min)
		for _, row := range t.rows {
			if i < len(row) {
				widths[i] = max(widths[i], width(row[i].Text))
			}
		}
	}
	if u.terminal {
		u.narrow(t, widths)
	}
	titles := make([]Cell, len(t.Columns))
	for i, c := range t.Columns {
		titles[i] = Cell{Text: c.Title, Color: Dim}
	}
	if strings.TrimSpace(join(titles)) != "" {
		u.row(t, widths, titles)
	}
	for _, row := range t.rows {
		u.row(t, widths, row)
	}
}

// narrow takes from the widest of the columns that may be cut until the table
// fits the terminal.
func (u *UI) narrow(t *Table, widths []int) {
	const least = 12
	over := len(gap)*len(widths) - 1 - u.Width()
	for _, w := range widths {
		over += w
	}
	for ; over > 0; over-- {
		widest := -1
		for i, c := range t.Columns {
			if c.Flex && widths[i] > least && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return
		}
		widths[widest]--
	}
}

// gap is between columns.
const gap = "   "

func (u *UI) row(t *Table, widths []int, row []Cell) {
	var b strings.Builder
	before := gap[1:]
	for i, cell := range row {
		if t.Columns[i].Flex {
			cell.Text = Fit(cell.Text, widths[i])
		}
		pad := strings.Repeat(" ", max(widths[i]-width(cell.Text), 0))
		text := cell.Raw
		if text == "" {
			text = u.Paint(cell.Color, cell.Text)
		}
		b.WriteString(before)
		before = gap
		if t.Columns[i].Right {
			b.WriteString(pad + text)
		} else {
			b.WriteString(text + pad)
		}
	}
	fmt.Fprintln(u, strings.TrimRight(b.String(), " "))
}

func join(cells []Cell) string {
	var b strings.Builder
	for _, c := range cells {
		b.WriteString(c.Text)
	}
	return b.String()
}

func width(s string) int { return uniseg.StringWidth(s) }

// Fit shortens text to a width, with an ellipsis where something is missing.
func Fit(text string, most int) string {
	if width(text) <= most {
		return text
	}
	var b strings.Builder
	for used, rest := 0, text; rest != ""; {
		cluster, tail, w, _ := uniseg.FirstGraphemeClusterInString(rest, -1)
		if used+w > most-1 {
			break
		}
		b.WriteString(cluster)
		used, rest = used+w, tail
	}
	return b.String() + "…"
}
