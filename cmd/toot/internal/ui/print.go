package ui

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"strings"
)

// Say writes a line.
func (u *UI) Say(format string, args ...any) { fmt.Fprintf(u, format+"\n", args...) }

// JSON writes a value as one line. What cannot be written any more is an
// error: whoever reads it would miss something.
func (u *UI) JSON(v any) error {
	enc := json.NewEncoder(u.Writer)
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// Frame runs what writes one frame of something that is shown again and
// again. On a terminal it takes the place of the one before it.
func (u *UI) Frame(write func() error) error {
	if !u.terminal {
		return write()
	}
	var frame bytes.Buffer
	screen := u.Writer
	u.Writer = &frame
	err := write()
	u.Writer = screen
	if err != nil {
		return err
	}
	// From the top, each line and the rest of the screen cleared behind it:
	// in one write, so that nothing flickers.
	text := strings.ReplaceAll(frame.String(), "\n", "\x1b[K\n")
	_, err = io.WriteString(u.Writer, "\x1b[H"+text+"\x1b[J")
	return err
}

// Indent puts something in front of every line.
func Indent(text, before string) string {
	return before + strings.ReplaceAll(text, "\n", "\n"+before)
}
