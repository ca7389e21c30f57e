package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
)

func (c *command) dead() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "dead",
		Short: "List, show, redrive and discard dead letters",
		Long: `Dead letters are deliveries and runs of handlers that were given up on: all their
retries failed, or to try again would have been useless. By default the newest
10,000 are kept, for 180 days.`,
		Example: `  toot dead list --store sqlite:shop.db
  toot dead show 17
  toot dead redrive 17 18
  toot dead redrive --all --url https://app.example.org/callbacks --since 2d
  toot dead discard --all --reason 'status 410' --yes`,
		Args: noSuchCommand,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	var s storeFlag
	s.add(cmd.PersistentFlags())
	cmd.AddCommand(c.deadList(&s), c.deadShow(&s), c.deadWork(&s, redrive), c.deadWork(&s, discard))
	return cmd
}

func (c *command) deadList(s *storeFlag) *cobra.Command {
	var filter deadFilter
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List dead letters, the most recently buried first",
		Example: `  toot dead list --channel org.example.users.updated.v1
  toot dead list --since 2h --reason timeout
  toot dead list --json | jq -r .id`,
		Args: arguments(0, 0),
		RunE: c.withStore(s, filter.check, func(ctx context.Context, s *openStore, _ []string) error {
			return c.listDead(ctx, s, &filter, asJSON)
		}),
	}
	filter.add(cmd.Flags())
	cmd.Flags().IntVar(&filter.limit, "limit", 100, "list at most this many; 0 lists all")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line")
	return cmd
}

func (c *command) deadShow(s *storeFlag) *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:     "show ID…",
		Short:   "Show dead letters: every try and the event",
		Example: "  toot dead show 17\n  toot dead show 17 --json | jq .event.payload",
		Args:    arguments(1, -1),
		RunE: c.withStore(s, nil, func(ctx context.Context, s *openStore, ids []string) error {
			return c.showDead(ctx, s, ids, asJSON)
		}),
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object a line, the event included")
	return cmd
}

// deadVerb is what is done to dead letters.
type deadVerb struct {
	use, short string
	done       string // "redriven"
	do         func(context.Context, *openStore, ...string) (int, error)
}

var (
	redrive = deadVerb{
		use: "redrive", done: "redriven",
		short: "Try dead letters again, with all their retries",
		do: func(ctx context.Context, s *openStore, ids ...string) (int, error) {
			return s.Redrive(ctx, ids...)
		},
	}
	discard = deadVerb{
		use: "discard", done: "discarded",
		short: "Delete dead letters for good",
		do: func(ctx context.Context, s *openStore, ids ...string) (int, error) {
			return s.Discard(ctx, ids...)
		},
	}
)

func (c *command) deadWork(s *storeFlag, verb deadVerb) *cobra.Command {
	var filter deadFilter
	var all, yes, asJSON bool
	cmd := &cobra.Command{
		Use:     verb.use + " ID…|--all",
		Short:   verb.short,
		Long:    verb.short + ": those with the given IDs or, with --all, all that match the filters.",
		Example: fmt.Sprintf("  toot dead %[1]s 17 18\n  toot dead %[1]s --all --channel org.example.users.updated.v1 --until 2026-11-01", verb.use),
		RunE: c.withStore(s, func(ids []string) error {
			switch {
			case all && len(ids) > 0:
				return usagef("name IDs, or give --all, but not both")
			case !all && len(ids) == 0:
				return usagef("which dead letters? Name IDs (toot dead list shows them), or give --all, with filters if you like")
			case !all && filter.any():
				return usagef("filters have an effect with --all only")
			}
			return filter.check(nil)
		}, func(ctx context.Context, s *openStore, ids []string) error {
			if all {
				return c.workOnAll(ctx, s, verb, &filter, yes, asJSON)
			}
			return c.workOn(ctx, s, verb, ids, asJSON)
		}),
	}
	filter.add(cmd.Flags())
	cmd.Flags().IntVar(&filter.limit, "limit", 0, "with --all, at most this many, the most recently buried first; 0 means all")
	cmd.Flags().BoolVar(&all, "all", false, "take all that match the filters")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print a JSON object")
	cmd.Flags().BoolVarP(&yes, "yes", "y", false, "with --all, don't ask first")
	return cmd
}

// workOn redrives or discards by ID.
func (c *command) workOn(ctx context.Context, s *openStore, verb deadVerb, ids []string, asJSON bool) error {
	missing, err := missingDead(ctx, s, ids)
	if err != nil {
		return err
	}
	n, err := verb.do(ctx, s, ids...)
	if err != nil {
		return err
	}
	if err := c.sayDone(verb, n, 0, asJSON); err != nil {
		return err
	}
	if len(missing) > 0 {
		return fmt.Errorf("there is no dead letter %s: see toot dead list", strings.Join(missing, ", "))
	}
	return nil
}

func missingDead(ctx context.Context, s *openStore, ids []string) ([]string, error) {
	found, err := deadByID(ctx, s, ids)
	if err != nil {
		return nil, err
	}
	var missing []string
	for _, id := range ids {
		if found[id] == nil && !slices.Contains(missing, id) {
			missing = append(missing, id)
		}
	}
	return missing, nil
}

// workOnAll redrives or discards what matches.
func (c *command) workOnAll(ctx context.Context, s *openStore, verb deadVerb, filter *deadFilter, yes, asJSON bool) error {
	var ids []string
	lanes := map[string]int{}
	for letter, err := range filter.find(ctx, s) {
		if err != nil {
			return err
		}
		ids = append(ids, letter.ID)
		lanes[letter.RedactedLane]++
	}
	if len(ids) == 0 {
		if asJSON {
			return c.sayDone(verb, 0, 0, true)
		}
		c.out.Say("No dead letter matches")
		return nil
	}
	if !yes {
		ok, err := c.confirm(ctx, fmt.Sprintf("%s%s %s of %s?", strings.ToUpper(verb.use[:1]), verb.use[1:],
			ui.Plural(len(ids), "dead letter"), lanesOf(lanes)))
		if err != nil {
			return err
		}
		if !ok {
			c.out.Say("Nothing was done")
			return nil
		}
	}
	const batch = 500
	progress := c.err.NewProgress(len(ids))
	defer progress.End()
	done := 0
	for chunk := range slices.Chunk(ids, batch) {
		if ctx.Err() != nil {
			progress.End()
			if err := c.sayDone(verb, done, len(ids)-done, asJSON); err != nil {
				return err
			}
			return errInterrupted
		}
		n, err := verb.do(ctx, s, chunk...)
		if err != nil {
			return fmt.Errorf("after %d of %d: %w", done, len(ids), err)
		}
		done += n
		progress.Set(done, verb.done)
	}
	progress.End()
	return c.sayDone(verb, done, 0, asJSON)
}

// sayDone says how many were redriven or discarded, and how many were not.
func (c *command) sayDone(verb deadVerb, done, left int, asJSON bool) error {
	switch {
	case asJSON:
		return c.out.JSON(map[string]int{verb.done: done, "left": left})
	case left > 0:
		c.out.Say("%s %s; %s left", ui.Plural(done, "dead letter"), verb.done, ui.Count(left))
	default:
		c.out.Say("%s %s", ui.Plural(done, "dead letter"), verb.done)
	}
	return nil
}

func lanesOf(lanes map[string]int) string {
	if len(lanes) == 1 {
		for name := range lanes {
			return ui.Clean(name)
		}
	}
	return ui.Plural(len(lanes), "lane")
}
