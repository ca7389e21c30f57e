package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	toot "github.com/watermarkchurch/toot-go"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
)

func (c *command) unhandled() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "unhandled",
		Short: "List, move and discard events that nobody handles",
		Long: `Events are unhandled if they wait for a subscription that no process has any more:
its handler was removed or renamed, or belongs to a release that is not running
now. They are kept until a process has the subscription again, or until they are
moved to another one or discarded.`,
		Example: `  toot unhandled list --store sqlite:shop.db
  toot unhandled move users.updated.v1 users.updated.v2
  toot unhandled discard users.updated.v1 --yes`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var s storeFlag
	s.add(cmd.PersistentFlags())
	cmd.AddCommand(c.unhandledList(&s), c.unhandledMove(&s), c.unhandledDiscard(&s))
	return cmd
}

func (c *command) unhandledList(s *storeFlag) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "list",
		Short:   "List subscriptions that no process has, and what waits for them",
		Example: "  toot unhandled list --store sqlite:shop.db\n  toot unhandled list --json | jq .lane",
		Args:    arguments(0, 0),
		RunE: c.withStore(s, nil, func(ctx context.Context, s *openStore, _ []string) error {
			lanes, err := unhandledLanes(ctx, s)
			if err != nil {
				return err
			}
			if asJSON {
				for _, l := range lanes {
					if err := c.out.JSON(asLaneJSON(l)); err != nil {
						return err
					}
				}
				return nil
			}
			if len(lanes) == 0 {
				c.out.Say("Nothing waits unhandled")
				return nil
			}
			t := ui.Table{Columns: []ui.Column{{Title: "subscription", Flex: true, Names: true}, {Title: "waiting", Right: true}, {Title: "oldest", Right: true}}}
			for _, l := range lanes {
				t.Add(ui.Clean(l.Name), number(l.Waiting, ui.Yellow), span(l.Oldest))
			}
			c.out.Table(&t)
			return nil
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

// unhandledLanes are those in which events wait for a subscription that no
// process has.
func unhandledLanes(ctx context.Context, s *openStore) (lanes []toot.Lane, err error) {
	stats, err := s.Stats(ctx)
	for _, l := range stats.Lanes {
		if l.Unhandled && l.Waiting+l.InFlight > 0 {
			lanes = append(lanes, l)
		}
	}
	return lanes, err
}

func (c *command) unhandledMove(s *storeFlag) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "move SUBSCRIPTION OTHER",
		Short: "Move unhandled events to another subscription",
		Long: `Moves the events that wait for SUBSCRIPTION, which no process has any more, to
OTHER, which some process must have. Each is moved in one step. An event that OTHER
has handled within the dedupe window is not handled again.`,
		Example: "  toot unhandled move users.updated.v1 users.updated.v2 --store sqlite:shop.db",
		Args:    arguments(2, 2),
		RunE: c.withStore(s, nil, func(ctx context.Context, s *openStore, names []string) error {
			moved, left, err := s.MoveUnhandled(ctx, names[0], names[1])
			return c.sayCleared("moved", moved, left, asJSON, err)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

func (c *command) unhandledDiscard(s *storeFlag) *cobra.Command {
	var yes, asJSON bool
	cmd := &cobra.Command{
		Use:     "discard SUBSCRIPTION",
		Short:   "Delete unhandled events for good",
		Example: "  toot unhandled discard users.updated.v1 --store sqlite:shop.db --yes",
		Args:    arguments(1, 1),
		RunE: c.withStore(s, nil, func(ctx context.Context, s *openStore, names []string) error {
			if !yes {
				lanes, err := unhandledLanes(ctx, s)
				if err != nil {
					return err
				}
				waiting := 0
				for _, l := range lanes {
					if l.Name == names[0] {
						waiting = l.Waiting + l.InFlight
					}
				}
				ok, err := c.confirm(ctx, fmt.Sprintf("Discard %s of %s?", ui.Plural(waiting, "event"), ui.Clean(names[0])))
				if err != nil {
					return err
				}
				if !ok {
					c.out.Say("Nothing was done")
					return nil
				}
			}
			discarded, left, err := s.DiscardUnhandled(ctx, names[0])
			return c.sayCleared("discarded", discarded, left, asJSON, err)
		}),
	}
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "don't ask first")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	return cmd
}

// sayCleared says how many events were moved or discarded, also of a call that
// failed half-way.
func (c *command) sayCleared(done string, n, left int, asJSON bool, err error) error {
	switch {
	case err != nil && n > 0:
		return fmt.Errorf("after %s: %w", ui.Plural(n, "event"), err)
	case err != nil:
		return err
	case asJSON:
		return c.out.JSON(map[string]int{done: n, "left": left})
	case left > 0:
		c.out.Say("%s %s; %s left, which failed before and wait for their next try: repeat this later", ui.Plural(n, "event"), done, ui.Count(left))
	default:
		c.out.Say("%s %s", ui.Plural(n, "event"), done)
	}
	return nil
}
