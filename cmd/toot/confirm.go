package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/watermarkchurch/toot-go/internal/ui"
)

// confirm asks a question whose answer is no unless it is yes. Where nobody
// can be asked it is an error.
func (c *command) confirm(question string) (bool, error) {
	f, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, usagef("nobody is there to be asked: give --yes if you mean it")
	}
	fmt.Fprintf(c.err, "%s %s ", c.err.Paint(ui.Bold, question), c.err.Paint(ui.Dim, "[y/N]"))
	answer, err := bufio.NewReader(c.in).ReadString('\n')
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}
