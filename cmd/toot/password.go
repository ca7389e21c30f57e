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
)

// askPassword reads a password twice from the terminal, without echo, or once
// from a line of whatever else standard input is.
func (c *command) askPassword(ctx context.Context) (string, error) {
	f, ok := c.in.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(c.in, 1<<16)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("can't read the password: %w", err)
		}
		if line = strings.TrimRight(line, "\r\n"); line == "" {
			return "", usagef("no password: it is read from standard input, or asked for on a terminal")
		}
		return line, nil
	}
	before, err := term.GetState(int(f.Fd()))
	if err != nil {
		return "", fmt.Errorf("can't read the password: %w", err)
	}
	var answers [2]string
	for i, prompt := range []string{"Password: ", "Again: "} {
		fmt.Fprint(c.err, prompt)
		answer, err := interruptible(ctx, func() ([]byte, error) { return term.ReadPassword(int(f.Fd())) })
		fmt.Fprintln(c.err)
		if errors.Is(err, errInterrupted) {
			_ = term.Restore(int(f.Fd()), before) // with echo
			return "", err
		}
		if err != nil {
			return "", fmt.Errorf("can't read the password: %w", err)
		}
		answers[i] = string(answer)
	}
	if answers[0] != answers[1] {
		return "", usagef("the two passwords are not the same: nothing was changed")
	}
	return answers[0], nil
}
