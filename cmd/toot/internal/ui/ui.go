// Package ui is how the command looks: colours, tables, numbers and progress,
// on a terminal and, plainer, on everything else.
package ui

import (
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// UI writes to one stream. On a terminal it uses colours, unless NO_COLOR is
// set (https://no-color.org) or TERM is "dumb".
type UI struct {
	io.Writer
	terminal bool
	color    bool
	fd       int
	columns  int // if not 0, instead of the terminal's
}

// New returns a UI on a stream, which is a terminal only if it is a file that
// is one.
func New(w io.Writer) *UI {
	u := &UI{Writer: w}
	if f, ok := w.(*os.File); ok {
		u.fd = int(f.Fd())
		u.terminal = term.IsTerminal(u.fd)
		u.color = u.terminal && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	}
	return u
}

// Terminal reports whether somebody is watching.
func (u *UI) Terminal() bool { return u.terminal }

// Gone reports that the terminal has been closed.
func (u *UI) Gone() bool { return u.terminal && !term.IsTerminal(u.fd) }

// Width is the number of columns, 80 where that is not known.
func (u *UI) Width() int {
	if u.columns > 0 {
		return u.columns
	}
	if u.terminal {
		if width, _, err := term.GetSize(u.fd); err == nil && width > 0 {
			return width
		}
	}
	return 80
}

// Color is one of the few that the command uses: those of the terminal's own
// palette, so that they are legible on any background.
type Color string

// The palette.
const (
	Plain  Color = ""
	Bold   Color = "1"
	Dim    Color = "2"
	Red    Color = "31"
	Green  Color = "32"
	Yellow Color = "33"
	Blue   Color = "34"
	Purple Color = "35"
	Cyan   Color = "36"
)

// Paint returns text in a colour, if colours are used.
func (u *UI) Paint(c Color, text string) string {
	if !u.color || c == Plain || text == "" {
		return text
	}
	return "\x1b[" + string(c) + "m" + text + "\x1b[0m"
}

// Clean returns text that does nothing to a terminal but stand there: control
// characters, which a stranger may have put in an event or an answer, become
// visible.
func Clean(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == '\n' || r == '\t':
			return ' '
		case r < 0x20:
			return 0x2400 + r // ␀ and so on
		case r == 0x7f || r >= 0x80 && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return '\ufffd'
		}
		return r
	}, text)
}
