package ui

import "strings"

// Wrap breaks text between words so that no line is wider than a width, if
// its words allow it. All lines but the first begin with an indent.
func Wrap(text string, most int, indent string) string {
	var b strings.Builder
	used := 0
	for i, word := range strings.Fields(text) {
		w := width(word)
		switch {
		case i == 0:
		case used+1+w > most:
			b.WriteString("\n" + indent)
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(word)
		used += w
	}
	return b.String()
}

// Fold wraps text that begins in some column to the width of the terminal, so that
// its further lines begin there, too. What is no terminal gets one line.
func (u *UI) Fold(text string, column int) string {
	if !u.terminal {
		return text
	}
	return Wrap(text, max(u.Width()-column, 20), strings.Repeat(" ", column))
}

// Reflow wraps the paragraphs of a text. Those that are indented stay as they
// are.
func Reflow(text string, most int) string {
	paragraphs := strings.Split(strings.TrimSpace(text), "\n\n")
	for i, p := range paragraphs {
		if !strings.HasPrefix(p, " ") && !strings.Contains(p, "\n ") {
			paragraphs[i] = Wrap(p, most, "")
		}
	}
	return strings.Join(paragraphs, "\n\n")
}
