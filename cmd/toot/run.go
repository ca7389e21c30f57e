package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"regexp"
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
	err := root.ExecuteContext(ctx)
	var usage *usageError
	switch {
	case err == nil:
		return exitOK
	case errors.Is(err, errInterrupted), ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return exitInterrupted
	case !c.begun || errors.As(err, &usage) || errors.Is(err, anyengine.ErrName):
		c.complain(err)
		return exitUsage
	}
	c.complain(err)
	return exitFailed
}

// packages are the names of packages that errors begin with, which say nothing to
// who runs the command.
var packages = regexp.MustCompile(`^((toot|auth|[a-z]*engine): )+`)

// complain prints an error in one line, or several errors in a line each.
func (c *command) complain(err error) {
	for line := range strings.SplitSeq(strings.TrimSpace(err.Error()), "\n") {
		line = packages.ReplaceAllString(line, "")
		fmt.Fprintf(c.err, "%s %s\n", c.err.Paint(ui.Red, "toot:"), ui.Clean(line))
	}
}

// note writes a line about what is going on to standard error.
func (c *command) note(format string, args ...any) {
	c.err.Say("%s", c.err.Paint(ui.Dim, c.err.Fold(fmt.Sprintf(format, args...), 0)))
}

func (c *command) root() *cobra.Command {
	var version bool
	root := &cobra.Command{
		Use:   "toot",
		Short: "Durable publish/subscribe between web apps over HTTP",
		Long: `toot is durable publish/subscribe between web apps over plain HTTP: what an
app publishes is POSTed to every callback URL that is subscribed to its channel,
and tried again until it arrives.

Exit codes: 0 success; 1 failure, or something was lost; 2 the command line was
not understood; 130 stopped by a signal before it was done.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if version {
				return c.showVersion(false)
			}
			return cmd.Help()
		},
		PersistentPreRun: func(*cobra.Command, []string) {
			c.begun = true
		},
	}
	root.SetFlagErrorFunc(wrongFlag)
	root.Flags().BoolVar(&version, "version", false, "print the version, as toot version does")
	root.PersistentFlags().BoolVarP(&c.verbose, "verbose", "v", false, "log what is done, on standard error")
	root.AddCommand(c.auth(), c.serve(), c.config(), c.publish(), c.listen(), c.subscribe(), c.unsubscribe(), c.subscriptions(), c.demo(), c.dead(), c.unhandled(), c.stats(), c.outbox(), c.inbox(), c.store(), c.importSidekiq(), c.version())
	c.beautify(root)
	complete(root)
	return root
}

// logger returns a logger for commands whose output is not a log: it says
// nothing without --verbose.
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

// notes returns a logger for commands that go on when something fails: it warns
// of that without --verbose, too.
func (c *command) notes() *slog.Logger {
	level := slog.LevelWarn
	if c.verbose {
		level = slog.LevelDebug
	}
	return c.logTo(level)
}
