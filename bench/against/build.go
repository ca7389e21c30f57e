package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// program is a built bench program.
type program struct {
	name  string // here or REF
	path  string
	about string // the commit it was built from
}

// build builds the bench program of the working tree and that of a commit,
// each from its own sources, so that the library's API may change between
// them. The commit is unpacked below work; the repository is not touched.
func build(ctx context.Context, commit, work string) (here, ref program, err error) {
	root, err := output(ctx, ".", "git", "rev-parse", "--show-toplevel")
	if err != nil {
		return here, ref, err
	}
	here = program{name: "here", path: filepath.Join(work, "here")}
	ref = program{name: "REF", path: filepath.Join(work, "ref")}
	if ref.about, err = output(ctx, root, "git", "log", "-1", "--format=%h %s", "--end-of-options", commit, "--"); err != nil {
		return here, ref, err
	}
	if here.about, err = output(ctx, root, "git", "log", "-1", "--format=%h %s"); err != nil {
		return here, ref, err
	}
	changes, err := output(ctx, root, "git", "status", "--porcelain")
	if err != nil {
		return here, ref, err
	}
	if changes != "" {
		here.about += ", with changes"
	}

	source, archive := filepath.Join(work, "source"), filepath.Join(work, "source.tar")
	if err := os.Mkdir(source, 0o750); err != nil {
		return here, ref, err
	}
	if _, err := output(ctx, root, "git", "archive", "--format=tar", "--output="+archive, "--end-of-options", commit); err != nil {
		return here, ref, err
	}
	if _, err := output(ctx, source, "tar", "-xf", archive); err != nil {
		return here, ref, err
	}
	if err := compile(ctx, source, ref.path); err != nil {
		return here, ref, fmt.Errorf("the bench program of REF: %w", err)
	}
	return here, ref, compile(ctx, root, here.path)
}

// compile does as "make bench" does. Nothing of where the source lies gets
// into the program.
func compile(ctx context.Context, root, program string) error {
	_, err := output(ctx, filepath.Join(root, "bench"), "env", "CGO_ENABLED=0",
		"go", "build", "-mod=mod", "-trimpath", "-buildvcs=false", "-o", program, ".")
	return err
}

// output runs a command and returns what it printed.
func output(ctx context.Context, dir, name string, args ...string) (string, error) {
	cmd := command(ctx, name, args...)
	cmd.Dir = dir
	out, err := cmd.Output()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) {
		return "", fmt.Errorf("%s: %w\n%s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(exit.Stderr)))
	}
	return strings.TrimSpace(string(out)), err
}

// command is a command that is asked to end when ctx does, so that it can
// clean up.
func command(ctx context.Context, name string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, name, args...) //nolint:gosec // G204: all our own
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 30 * time.Second
	return cmd
}
