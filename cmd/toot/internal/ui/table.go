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
	// Names is for a Flex column of URLs or names, which are cut so that those
	// that differ still do. Others lose their end.
	Names bool
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

// none is what a cell holds that has nothing to say.
const none = "–"

// Table writes a table. On a terminal that is too narrow for it, the columns
// that may be cut are, those that say nothing are left out, and in the end each
// row becomes a list.
func (u *UI) Table(t *Table) {
	for _, l := range []layout{
		{gap: 3, least: 24},
		{gap: 2, least: 24},
		{gap: 2, least: 24, terse: true},
		{gap: 2, least: 14, terse: true},
	} {
		if widths, fits := u.widths(t, l); fits {
			u.rows(t, widths, l)
			return
		}
	}
	u.list(t)
}

// layout is a way to write a table.
type layout struct {
	gap   int  // between columns
	least int  // how far columns may be cut
	terse bool // leave out columns that say nothing
}

// widths are those of the columns, 0 for one that is left out.
func (u *UI) widths(t *Table, l layout) (widths []int, fits bool) {
	widths = make([]int, len(t.Columns))
	over := 2 - l.gap - u.Width()
	for i, c := range t.Columns {
		says := !l.terse
		widths[i] = max(width(c.Title), c.Min)
		for _, row := range t.rows {
			if i < len(row) {
				widths[i] = max(widths[i], width(row[i].Text))
				says = says || row[i].Text != none && row[i].Text != ""
			}
		}
		if !says {
			widths[i] = 0
			continue
		}
		over += widths[i] + l.gap
	}
	if !u.terminal {
		return widths, true
	}
	for ; over > 0; over-- {
		widest := -1
		for i, c := range t.Columns {
			if c.Flex && widths[i] > l.least && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			return nil, false
		}
		widths[widest]--
	}
	return widths, true
}

func (u *UI) rows(t *Table, widths []int, l layout) {
	t.cutNames(func(column int) int { return widths[column] })
	titles := make([]Cell, len(t.Columns))
	titled := false
	for i, c := range t.Columns {
		titles[i] = Cell{Text: c.Title, Color: Dim}
		titled = titled || strings.TrimSpace(c.Title) != ""
	}
	if titled {
		u.row(t, widths, l, titles)
	}
	for _, row := range t.rows {
		u.row(t, widths, l, row)
	}
}

func (u *UI) row(t *Table, widths []int, l layout, row []Cell) {
	var b strings.Builder
	before := "  "
	for i, cell := range row {
		if widths[i] == 0 {
			continue
		}
		text, w := u.cell(t, i, cell, widths[i])
		pad := strings.Repeat(" ", max(widths[i]-w, 0))
		b.WriteString(before)
		before = strings.Repeat(" ", l.gap)
		if t.Columns[i].Right {
			b.WriteString(pad + text)
		} else {
			b.WriteString(text + pad)
		}
	}
	fmt.Fprintln(u, strings.TrimRight(b.String(), " "))
}

// cell is a cell as it is shown, and how wide it is.
func (u *UI) cell(t *Table, i int, cell Cell, most int) (text string, w int) {
	if t.Columns[i].Flex {
		cell.Text = Fit(cell.Text, most)
	}
	if cell.Raw != "" {
		return cell.Raw, width(cell.Text)
	}
	return u.Paint(cell.Color, cell.Text), width(cell.Text)
}

// list writes each row as a list of what it says.
func (u *UI) list(t *Table) {
	longest := 0
	for _, c := range t.Columns {
		longest = max(longest, width(c.Title))
	}
	if longest > 0 {
		longest += 2
	}
	room := max(u.Width()-longest-2, 8)
	t.cutNames(func(int) int { return room })
	for n, row := range t.rows {
		if n > 0 {
			fmt.Fprintln(u)
		}
		for i, cell := range row {
			if cell.Text == none || cell.Text == "" {
				continue
			}
			title := t.Columns[i].Title
			if c := t.Columns[i]; c.Flex && !c.Names {
				lines := strings.Split(Wrap(cell.Text, room, ""), "\n")
				for n := range lines {
					lines[n] = Fit(lines[n], room)
				}
				cell.Text = strings.Join(lines, "\n"+strings.Repeat(" ", longest+2))
			}
			text := cell.Raw
			if text == "" {
				text = u.Paint(cell.Color, cell.Text)
			}
			fmt.Fprintln(u, "  "+u.Paint(Dim, title)+strings.Repeat(" ", longest-width(title))+text)
		}
	}
}

// cutNames cuts what is in the columns of names to their widths.
func (t *Table) cutNames(widthOf func(column int) int) {
	for i, c := range t.Columns {
		if !c.Names || widthOf(i) == 0 {
			continue
		}
		texts := make([]string, len(t.rows))
		for n, row := range t.rows {
			if i < len(row) {
				texts[n] = row[i].Text
			}
		}
		for n, text := range FitNames(texts, widthOf(i)) {
			if i < len(t.rows[n]) {
				t.rows[n][i].Text = text
			}
		}
	}
}

func width(s string) int { return uniseg.StringWidth(s) }
