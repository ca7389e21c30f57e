package main

import (
	"fmt"
	"io"
	"os"
)

// progress tells on a terminal what is going on, in a line that is gone in the
// end.
type progress struct{ w io.Writer }

func newProgress(w io.Writer) *progress {
	if f, ok := w.(*os.File); ok {
		if info, err := f.Stat(); err == nil && info.Mode()&os.ModeCharDevice != 0 {
			return &progress{w}
		}
	}
	return &progress{io.Discard}
}

func (p *progress) say(format string, args ...any) {
	fmt.Fprintf(p.w, "\r\x1b[K"+format, args...)
}

func (p *progress) done() { fmt.Fprint(p.w, "\r\x1b[K") }
