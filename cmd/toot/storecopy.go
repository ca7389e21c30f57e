package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/watermarkchurch/toot-go/auth"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/storecopy"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
	"github.com/watermarkchurch/toot-go/engine"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

func (c *command) store() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "store",
		Short:   "Move to another store",
		Example: "  toot store copy sqlite:shop.db postgres://db.internal/shop --dry-run",
		Args:    noSuchCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(c.storeCopy())
	return cmd
}

// storeCopyFlags is what toot store copy was asked for.
type storeCopyFlags struct {
	from, to     string
	prefix       string
	hasPrefix    bool
	realms       []string
	withoutJobs  bool
	wait         time.Duration
	dryRun, json bool
}

func (c *command) storeCopy() *cobra.Command {
	var o storeCopyFlags
	cmd := &cobra.Command{
		Use:   "copy FROM TO",
		Short: "Copy who gets what into another store, and move the jobs there",
		Long: `Copies the subscribers, with the ends of their registrations, signing secrets,
consents and owners, the users of package auth with their rights, and the terms of
lanes from one store to another. They stay in the first one as well.

Jobs are moved, as each must exist once: what waits, is scheduled, is to be tried again
or is dead. Each is due at the same time there, with its tries and their history.

Apps may be running on either store. Stopped at any moment, it is run again to go on; run
again later, it copies what is new. What has been changed or removed in the second store
since it was copied stays as it is there. Jobs that a process of the first store is
working on are waited for, and left if that takes longer than --wait; then the exit code
is 1.

On Redis, channels and users lie among everybody's keys, so there the app's channel prefix
has to be named; with a prefix only the channels and realms below it are copied. Users
in a realm of another name are copied if --realm names it.

How long the second store remembers what is over is raised to what the first has.`,
		Example: `  toot store copy sqlite:shop.db postgres://db.internal/shop --dry-run
  toot store copy sqlite:shop.db postgres://db.internal/shop --without-jobs
  toot store copy sqlite:shop.db postgres://db.internal/shop
  toot store copy postgres://db.internal/shop 'redis://localhost?namespace=shop' --channel-prefix org.example.shop.`,
		Args: arguments(2, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.from, o.to, o.hasPrefix = args[0], args[1], cmd.Flags().Changed("channel-prefix")
			if err := o.check(); err != nil {
				return err
			}
			return c.runStoreCopy(cmd.Context(), &o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.prefix, "channel-prefix", "", `the channel prefix of the app, such as "org.example.shop.", or "" for an app without one; needed on Redis`)
	flags.StringArrayVar(&o.realms, "realm", nil, "copy the users of this realm, too; repeatable")
	flags.BoolVar(&o.withoutJobs, "without-jobs", false, "leave the jobs and dead letters where they are")
	flags.DurationVar(&o.wait, "wait", storecopy.DefaultLease+time.Minute, "how long to wait for jobs that are being worked on, or are due in less than a minute")
	flags.BoolVar(&o.dryRun, "dry-run", false, "only count what there is in FROM")
	flags.BoolVar(&o.json, "json", false, "print a JSON object")
	return cmd
}

func (o *storeCopyFlags) check() error {
	if o.from == o.to {
		return usagef("FROM and TO are the same store")
	}
	if !o.hasPrefix && (isRedis(o.from) || isRedis(o.to)) {
		return usagef(`which channels are the app's? On Redis they lie among everybody's keys: give its --channel-prefix, such as org.example.shop., or "" if it has none`)
	}
	return nil
}

// isRedis reports the name of a store on Redis or Valkey.
func isRedis(store string) bool {
	scheme, _, isURL := strings.Cut(store, "://")
	return isURL && (strings.HasPrefix(scheme, "redis") || strings.HasPrefix(scheme, "valkey"))
}

func (o *storeCopyFlags) options() storecopy.Options {
	opts := storecopy.Options{Prefix: o.prefix, Realms: o.realms, WithoutJobs: o.withoutJobs, Wait: o.wait}
	if isRedis(o.from) && o.prefix == "" { // the realm of an app without a prefix, and nobody else's
		opts.Realms, opts.NamedRealms = append(opts.Realms, auth.Realm("")), true
	}
	return opts
}

func (c *command) runStoreCopy(ctx context.Context, o *storeCopyFlags) error {
	from, err := o.open(ctx, o.from, &anyengine.Options{Existing: true, Logger: c.logger()})
	if err != nil {
		return fmt.Errorf("FROM: %w", err)
	}
	defer func() { _ = from.Close() }()
	opts := o.options()
	if o.dryRun { // opening the other would write to it
		counts, err := storecopy.Look(ctx, from, opts)
		if err != nil {
			return err
		}
		return c.showStoreCopy(o, counts)
	}
	to, err := o.openTo(ctx, c, from)
	if err != nil {
		return fmt.Errorf("TO: %w", err)
	}
	defer func() { _ = to.Close() }()
	total, err := jobsIn(ctx, from)
	if err != nil {
		return err
	}
	progress := c.err.NewProgress(total)
	defer progress.End()
	opts.Progress = func(n storecopy.Counts) {
		progress.Set(min(n.Moved(), total), ui.Count(n.Moved())+" jobs moved")
	}
	counts, err := storecopy.Copy(ctx, from, to, opts)
	progress.End()
	switch {
	case errors.Is(err, storecopy.ErrSame):
		return &usageError{err}
	case errors.As(err, new(*storecopy.MovedAwayError)):
		return fmt.Errorf("%w, or give --without-jobs", err)
	case err != nil && ctx.Err() != nil:
		c.err.Say("Stopped after %s: run it again to go on", ui.Plural(counts.Moved(), "job"))
		return errInterrupted
	case err != nil:
		return fmt.Errorf("after %s, run it again to go on: %w", ui.Plural(counts.Moved(), "job"), err)
	}
	if err := c.showStoreCopy(o, counts); err != nil {
		return err
	}
	if left := counts.Held + counts.Soon; left > 0 {
		return fmt.Errorf("%s left in FROM, of which %s being worked on or held until a lease ends: run it again",
			ui.Plural(left, "job"), ui.Count(counts.Held))
	}
	return nil
}

// open opens a store as an app with the channel prefix does.
func (o *storeCopyFlags) open(ctx context.Context, name string, opts *anyengine.Options) (anyengine.Store, error) {
	s, err := anyengine.Open(ctx, name, opts)
	if err != nil {
		return nil, err
	}
	if names, ok := s.(engine.ChannelNames); ok && o.prefix == "" {
		names.KeepChannelsApart()
	}
	return s, nil
}

// openTo opens the second store, which remembers what is over for as long as the
// first from then on, if it did not already.
func (o *storeCopyFlags) openTo(ctx context.Context, c *command, from anyengine.Store) (anyengine.Store, error) {
	wanted, err := from.Retention(ctx)
	if err != nil {
		return nil, err
	}
	opts := &anyengine.Options{Logger: c.logger()}
	to, err := o.open(ctx, o.to, opts)
	if err != nil {
		return nil, err
	}
	has, err := to.Retention(ctx)
	if err != nil {
		return nil, errors.Join(err, to.Close())
	}
	if opts.Retention = longer(wanted, has); opts.Retention == (engine.Retention{}) {
		return to, nil
	}
	if err := to.Close(); err != nil {
		return nil, err
	}
	if to, err = o.open(ctx, o.to, opts); err != nil {
		return nil, err
	}
	// It is written with the first claim.
	_, err = to.Claim(ctx, engine.ClaimRequest{Kind: engine.Handle, Max: 1, MaxPerLane: 1, Lease: time.Minute, Only: []string{}})
	if err != nil {
		return nil, errors.Join(err, to.Close())
	}
	return to, nil
}

// longer returns the fields of a retention that are more than what a store has.
func longer(wanted, has engine.Retention) (more engine.Retention) {
	if wanted.Dedupe > has.Dedupe {
		more.Dedupe = wanted.Dedupe
	}
	if wanted.DeadAge > has.DeadAge {
		more.DeadAge = wanted.DeadAge
	}
	if wanted.DeadMax > has.DeadMax {
		more.DeadMax = wanted.DeadMax
	}
	return more
}

// jobsIn is the number of jobs in a store, dead ones included.
func jobsIn(ctx context.Context, s engine.Inspector) (n int, err error) {
	lanes, err := s.Lanes(ctx)
	for i := range lanes {
		n += lanes[i].Waiting + lanes[i].Leased + lanes[i].Dead
	}
	return n, err
}

func (c *command) showStoreCopy(o *storeCopyFlags, n storecopy.Counts) error {
	if o.json {
		return c.out.JSON(asStoreCopyJSON(o, n))
	}
	copied, moved := "copied", "moved"
	if o.dryRun {
		copied, moved = "to copy", "to move"
	}
	c.out.Say("%s → %s", ui.Clean(anyengine.Redact(o.from)), ui.Clean(anyengine.Redact(o.to)))
	t := ui.Table{Columns: []ui.Column{{}, {Title: copied, Right: true}}}
	if !o.dryRun {
		t.Columns = append(t.Columns, ui.Column{Title: "known there", Right: true})
	}
	for _, row := range []struct {
		name string
		storecopy.Copied
	}{{"subscribers", n.Subscribers}, {"users", n.Users}, {"secrets, consents and other attributes", n.Attributes}} {
		cells := []any{row.name, ui.Count(row.New)}
		if !o.dryRun {
			cells = append(cells, ui.Count(row.Known))
		}
		t.Add(cells...)
	}
	c.out.Table(&t)
	if o.withoutJobs {
		return nil
	}
	c.out.Say("")
	t = ui.Table{Columns: []ui.Column{{Title: "jobs " + moved}, {Title: "to publish", Right: true}, {Title: "to deliver", Right: true}, {Title: "to handle", Right: true}}}
	for _, row := range storeCopyJobs(n) {
		t.Add(row.name, number(row.FanOut, ui.Plain), number(row.Deliver, ui.Plain), number(row.Handle, ui.Plain))
	}
	c.out.Table(&t)
	if n.Held > 0 && o.dryRun {
		c.out.Say("\n%s more that a process is working on", ui.Plural(n.Held, "job"))
	}
	if n.Doubled > 0 {
		c.out.Say("\n%s taken by a process of FROM when already in TO: they may be done twice", ui.Plural(n.Doubled, "job"))
	}
	return nil
}

type storeCopyRow struct {
	name string
	storecopy.Jobs
}

func storeCopyJobs(n storecopy.Counts) []storeCopyRow {
	return []storeCopyRow{{"due", n.Due}, {"due later", n.Later}, {"dead", n.Dead}}
}

type storeCopyJSON struct {
	DryRun      bool                       `json:"dry_run"`
	From        string                     `json:"from"`
	To          string                     `json:"to"`
	Subscribers copiedJSON                 `json:"subscribers"`
	Users       copiedJSON                 `json:"users"`
	Attributes  copiedJSON                 `json:"attributes"`
	Moved       int                        `json:"moved"`
	Jobs        map[string]importCountJSON `json:"jobs"`
	// Held are jobs that a process of the first store is working on, Soon those that
	// were due too soon to be moved, Doubled those that may be done twice.
	Held    int `json:"held"`
	Soon    int `json:"soon"`
	Doubled int `json:"doubled"`
}

type copiedJSON struct {
	Copied int `json:"copied"`
	Known  int `json:"known"`
}

func asStoreCopyJSON(o *storeCopyFlags, n storecopy.Counts) storeCopyJSON {
	out := storeCopyJSON{
		DryRun: o.dryRun, From: anyengine.Redact(o.from), To: anyengine.Redact(o.to),
		Subscribers: copiedJSON{n.Subscribers.New, n.Subscribers.Known}, Users: copiedJSON{n.Users.New, n.Users.Known}, Attributes: copiedJSON{n.Attributes.New, n.Attributes.Known},
		Moved: n.Moved(), Jobs: map[string]importCountJSON{}, Held: n.Held, Soon: n.Soon, Doubled: n.Doubled,
	}
	for _, row := range storeCopyJobs(n) {
		out.Jobs[strings.ReplaceAll(row.name, " ", "_")] = importCountJSON(row.Jobs)
	}
	return out
}
