package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
)

// confirm asks a question whose answer is no unless it is yes. Where nobody
// can be asked it is an error.
func (c *command) confirm(ctx context.Context, question string) (bool, error) {
	f, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, usagef("there is no terminal to ask on: give --yes if you mean it")
	}
	fmt.Fprintf(c.err, "%s %s ", c.err.Paint(ui.Bold, question), c.err.Paint(ui.Dim, "[y/N]"))
	answer, err := interruptible(ctx, func() (string, error) { return bufio.NewReader(c.in).ReadString('\n') })
	if errors.Is(err, errInterrupted) {
		fmt.Fprintln(c.err)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return false, err
	}
	switch strings.ToLower(strings.TrimSpace(answer)) {
	case "y", "yes":
		return true, nil
	}
	return false, nil
}

// interruptible waits for what somebody types until ctx ends. Reading goes on
// then, in a process that is about to end.
func interruptible[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		answer T
		err    error
	}
	done := make(chan result, 1)
	go func() {
		answer, err := read()
		done <- result{answer, err}
	}()
	select {
	case r := <-done:
		return r.answer, r.err
	case <-ctx.Done():
		var none T
		return none, errInterrupted
	}
}
