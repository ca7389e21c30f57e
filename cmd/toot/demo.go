package main

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/demo"
)

func (c *command) demo() *cobra.Command {
	o := demo.Options{Out: c.out, Status: c.err}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Watch events go from one app to another",
		Long: `Runs a publisher and a subscriber, each with a store and a port of its own,
registers the subscription over HTTP, publishes events, shows the steps of the
first few, and accounts for every one. The last line is

  published N · delivered N · handled N · lost 0

and the exit code is 1 if an event was lost or handled twice. Ctrl-C finishes
what is in flight and says what is left; a second one ends at once.`,
		Example: `  toot demo
  toot demo --events 100000
  toot demo --faults
  toot demo --dir ./demo --store redis://localhost`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Events < 0 {
				return usagef("--events must not be negative")
			}
			o.Logger = c.logger()
			err := demo.Run(cmd.Context(), o)
			if errors.Is(err, demo.ErrInterrupted) {
				return errInterrupted
			}
			return err
		},
	}
	flags := cmd.Flags()
	flags.IntVarP(&o.Events, "events", "n", 1000, "how many events to publish; 0 only works on what waits in --dir")
	flags.StringVar(&o.Dir, "dir", "", "keep the stores in this folder, and go on with what waits there (default: a temporary folder)")
	flags.BoolVar(&o.Faults, "faults", false, "let the subscriber fail, hang and panic now and then")
	flags.StringVar(&o.Store, "store", "sqlite", "where to keep the events: sqlite, or redis://HOST[:PORT]")
	return cmd
}
