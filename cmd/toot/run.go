package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

// The exit codes.
const (
	exitOK          = 0
	exitFailed      = 1   // it did not work, or something was lost
	exitUsage       = 2   // it was not understood; nothing was done
	exitInterrupted = 130 // stopped by Ctrl-C or SIGTERM before it was done
)

// errInterrupted is returned by commands that a signal has cut short.
var errInterrupted = errors.New("interrupted")

// command is what the commands have in common: the streams and the flags of
// the root.
type command struct {
	in      io.Reader
	out     *ui.UI
	err     *ui.UI
	verbose bool
	begun   bool // the command line was understood
}

// run runs the command line and returns the exit code.
func run(ctx context.Context, args []string, stdin io.Reader, stdout, stderr io.Writer) int {
	c := &command{in: stdin, out: ui.New(stdout), err: ui.New(stderr)}
	root := c.root()
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errInterrupted), ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return exitInterrupted
	case !c.begun:
		c.complain(errors.New(advise(cmd, err)))
		return exitUsage
	case errors.As(err, &usage) || errors.Is(err, anyengine.ErrName):
		c.complain(err)
		return exitUsage
	}
	c.complain(err)
	return exitFailed
}

// complain prints an error in one line.
func (c *command) complain(err error) {
	text := strings.TrimPrefix(err.Error(), "toot: ")
	for line := range strings.SplitSeq(strings.TrimSpace(text), "\n") {
		fmt.Fprintf(c.err, "%s %s\n", c.err.Paint(ui.Red, "toot:"), ui.Clean(line))
	}
}

// usageError is an error in what was asked for.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

func (c *command) root() *cobra.Command {
	root := &cobra.Command{
		Use:   "toot",
		Short: "Durable publish/subscribe between web apps over HTTP",
		Long: `toot is durable publish/subscribe between web apps over plain HTTP: what an
app publishes is POSTed to every callback URL that subscribed to its channel,
and tried again until it arrives.

Exit codes: 0 all is well; 1 it did not work, or something was lost; 2 the
command line was not understood; 130 stopped by a signal before it was done.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			c.begun = true
		},
	}
	root.PersistentFlags().BoolVarP(&c.verbose, "verbose", "v", false, "tell more, on standard error")
	root.AddCommand(c.auth())
	root.AddCommand(c.serve(), c.config(), c.publish(), c.listen(), c.subscribe(), c.unsubscribe(), c.subscriptions(), c.demo(), c.dead(), c.unhandled(), c.stats(), c.outbox(), c.inbox(), c.importSidekiq(), c.version())
	c.beautify(root)
	complete(root)
	return root
}

// logger is for commands whose output is not a log: only with --verbose does
// it say anything.
func (c *command) logger() *slog.Logger {
	if !c.verbose {
		return slog.New(slog.DiscardHandler)
	}
	return c.logTo(slog.LevelDebug)
}

// logTo returns a logger to standard error, laid out if that is a terminal.
func (c *command) logTo(level slog.Level) *slog.Logger {
	if c.err.Terminal() {
		return slog.New(c.err.NewLogHandler(level))
	}
	return slog.New(slog.NewTextHandler(c.err.Writer, &slog.HandlerOptions{Level: level}))
}

// notes is for commands that tell of what fails while they go on.
func (c *command) notes() *slog.Logger {
	level := slog.LevelWarn
	if c.verbose {
		level = slog.LevelDebug
	}
	return c.logTo(level)
}
