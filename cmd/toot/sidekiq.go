package main

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/redisclient"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/sidekiq"
	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
	"github.com/watermarkchurch/toot-go/engine/anyengine"
)

// sidekiqImport is what toot import-sidekiq was asked for.
type sidekiqImport struct {
	redis, store  string
	namespace     string // of redis-namespace
	queues        []string
	subscriptions []string
	dryRun, force bool
	json          bool

	names map[string]string // of subscriptions, by channel
	used  map[string]string // those of names that there were jobs for
}

func (c *command) importSidekiq() *cobra.Command {
	var o sidekiqImport
	cmd := &cobra.Command{
		Use:   "import-sidekiq --redis URL",
		Short: "Move the Ruby gem's jobs out of Sidekiq",
		Long: `Moves the jobs of the Ruby gem that wait in Sidekiq, are scheduled, are to be
retried or are dead into a store, where an app in Go goes on with them. Jobs of
other gems and apps are left alone. Subscribers and credentials need not be moved:
the app in Go uses them where they are.

Stop Sidekiq first. Each job is stored as it is in Sidekiq (dead, or due at the same
time with its tries counted) before it is removed from there. If this is stopped
half-way, run it again within the store's dedupe window (an hour unless the app says
otherwise): what was stored already is recognised. Web processes that still run the
gem may go on adding jobs: run it again later.

If the Ruby app uses redis-namespace, name it with --redis-namespace. The app in Go
has to know it, too (?redis_namespace=… in the name of its store), because its
subscribers and credentials are in it.

Received events wait for the subscription by the channel's full name, which is
what an app calls its first one unless told otherwise. --subscription gives
another name, or none ("CHANNEL=") to leave that channel's jobs in Sidekiq.`,
		Example: `  toot import-sidekiq --redis redis://localhost --dry-run
  toot import-sidekiq --redis redis://localhost --queue default --queue toot
  toot import-sidekiq --redis redis://localhost?namespace=shop
  toot import-sidekiq --redis redis://localhost --redis-namespace myapp
  toot import-sidekiq --redis redis://localhost --store sqlite:shop.db`,
		Args: arguments(0, 0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := o.check(); err != nil {
				return err
			}
			return c.runImport(cmd.Context(), &o)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&o.redis, "redis", "", "Sidekiq's Redis: redis://HOST[:PORT][/DB]")
	flags.StringVar(&o.store, "store", "", "where to move the jobs: "+anyengine.Help+" (default: $TOOT_STORE, else the same Redis)")
	flags.StringVar(&o.namespace, "redis-namespace", "", "what the gem redis-namespace puts before Sidekiq's keys, without the colon")
	flags.StringArrayVar(&o.queues, "queue", nil, "take the jobs of this queue; repeatable (default: all queues)")
	flags.StringArrayVar(&o.subscriptions, "subscription", nil, "CHANNEL=NAME: the subscription that handles a channel's events; repeatable")
	flags.BoolVar(&o.dryRun, "dry-run", false, "only count the jobs")
	flags.BoolVar(&o.force, "force", false, "go on although Sidekiq is running; what it takes meanwhile may be done twice")
	flags.BoolVar(&o.json, "json", false, "print a JSON object")
	return cmd
}

func (o *sidekiqImport) check() error {
	if o.redis == "" {
		return usagef("where is Sidekiq's Redis? Name it with --redis: redis://HOST[:PORT][/DB]")
	}
	if scheme, _, ok := strings.Cut(o.redis, "://"); !ok || !strings.HasPrefix(scheme, "redis") && !strings.HasPrefix(scheme, "valkey") {
		return usagef("--redis must be a URL such as redis://localhost:6379/0")
	}
	named, err := anyengine.SplitRedis(o.redis)
	if err != nil {
		return err
	}
	o.namespace = strings.TrimSuffix(cmp.Or(o.namespace, named.RedisNamespace), ":")
	o.names, o.used = map[string]string{}, map[string]string{}
	for _, s := range o.subscriptions {
		channel, name, ok := strings.Cut(s, "=")
		if !ok || channel == "" {
			return usagef("--subscription wants CHANNEL=NAME, not %q", s)
		}
		o.names[channel] = name
	}
	o.store = cmp.Or(o.store, os.Getenv("TOOT_STORE"), o.redis)
	return nil
}

// subscriptionsTo names the subscription of a channel.
func (o *sidekiqImport) subscriptionsTo(channel string) []string {
	name, given := o.names[channel]
	switch {
	case !given:
		name = channel
	case name == "":
		return nil
	}
	o.used[channel] = name
	return []string{name}
}

func (c *command) runImport(ctx context.Context, o *sidekiqImport) error {
	client, err := redisclient.Connect(ctx, o.redis)
	if err != nil {
		return err
	}
	defer client.Close()
	from := &sidekiq.Installation{Client: client, Namespace: o.namespace}
	if err := c.checkSidekiq(ctx, from, o); err != nil {
		return err
	}
	var to anyengine.Store
	if !o.dryRun { // opening it would write to it
		to, err = anyengine.Open(ctx, o.store, &anyengine.Options{Existing: true, Logger: c.logger()})
		if err != nil {
			return err
		}
		defer func() { _ = to.Close() }()
	}
	total, err := from.Size(ctx, o.queues)
	if err != nil {
		return err
	}
	progress := c.err.NewProgress(total)
	defer progress.End()
	counts, err := from.Import(ctx, to, sidekiq.Options{
		Queues:        o.queues,
		Subscriptions: o.subscriptionsTo,
		DryRun:        o.dryRun,
		Progress:      func(n sidekiq.Counts) { progress.Set(n.Seen(), ui.Count(n.Moved())+" moved") },
	})
	progress.End()
	switch {
	case err != nil && o.dryRun:
		return err
	case err != nil && ctx.Err() != nil:
		c.err.Say("Stopped after %s: run it again to go on", ui.Plural(counts.Moved(), "job"))
		return errInterrupted
	case err != nil:
		return fmt.Errorf("after %s, run it again to go on: %w", ui.Plural(counts.Moved(), "job"), err)
	}
	elsewhere, err := from.Elsewhere(ctx)
	if err != nil {
		return err
	}
	if o.json {
		if err := c.out.JSON(asImportJSON(o, counts, elsewhere)); err != nil {
			return err
		}
	} else {
		c.showImport(o, counts)
	}
	return c.showElsewhere(elsewhere, counts.Moved())
}

// showElsewhere says which jobs are in other namespaces of redis-namespace. If
// nothing was moved, it is the wrong one that was looked into.
func (c *command) showElsewhere(elsewhere map[string]int, moved int) error {
	var there []string
	for _, namespace := range slices.Sorted(maps.Keys(elsewhere)) {
		do := "give --redis-namespace " + ui.Clean(namespace)
		if namespace == "" {
			do = "leave out --redis-namespace"
		}
		there = append(there, fmt.Sprintf("%s (%s)", ui.Plural(elsewhere[namespace], "job"), do))
	}
	switch {
	case len(there) == 0:
	case moved == 0:
		return fmt.Errorf("there is no job to move here, but there are on the same Redis, under other namespaces: %s", strings.Join(there, ", "))
	default:
		c.err.Say("There are more jobs on the same Redis, under other namespaces: %s", strings.Join(there, ", "))
	}
	return nil
}

// checkSidekiq makes sure that nobody runs jobs while they are moved.
func (c *command) checkSidekiq(ctx context.Context, from *sidekiq.Installation, o *sidekiqImport) error {
	if o.dryRun || o.force {
		return nil
	}
	running, err := from.Running(ctx)
	if err != nil || len(running) == 0 {
		return err
	}
	is, them := "es are", "them"
	if len(running) == 1 {
		is, them = " is", "it"
	}
	const most = 3
	names := strings.Join(running[:min(most, len(running))], ", ")
	if more := len(running) - most; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return fmt.Errorf("%d Sidekiq process%s running (%s): stop %s first, or give --force; one that was killed is forgotten after a minute",
		len(running), is, ui.Clean(names), them)
}

func (c *command) showImport(o *sidekiqImport, n sidekiq.Counts) {
	verb := "Moved"
	if o.dryRun {
		verb = "Would move"
	}
	if n.Moved() == 0 {
		c.out.Say("No job to move")
	} else {
		c.out.Say("%s %s to %s", verb, c.out.Paint(ui.Bold, ui.Plural(n.Moved(), "job")), anyengine.Redact(o.store))
		t := ui.Table{Columns: []ui.Column{{Title: "in Sidekiq"}, {Title: "to publish", Right: true}, {Title: "to deliver", Right: true}, {Title: "to handle", Right: true}}}
		var all sidekiq.Count
		for _, place := range importPlaces(n) {
			t.Add(place.name, number(place.FanOut, ui.Plain), number(place.Deliver, ui.Plain), number(place.Handle, ui.Plain))
			all.FanOut, all.Deliver, all.Handle = all.FanOut+place.FanOut, all.Deliver+place.Deliver, all.Handle+place.Handle
		}
		t.Add(ui.Cell{Text: "all", Color: ui.Bold}, number(all.FanOut, ui.Bold), number(all.Deliver, ui.Bold), number(all.Handle, ui.Bold))
		c.out.Table(&t)
	}
	if len(o.used) > 0 && n.Moved() > 0 {
		c.out.Say("\nWhat is to be handled waits for subscriptions of these names:")
		t := ui.Table{Columns: []ui.Column{{Title: "channel", Flex: true, Names: true}, {Title: "subscription", Flex: true, Names: true}}}
		for _, channel := range slices.Sorted(maps.Keys(o.used)) {
			t.Add(ui.Clean(channel), ui.Cell{Text: ui.Clean(o.used[channel]), Color: ui.Purple})
		}
		c.out.Table(&t)
	}
	var left []string
	for _, l := range []struct {
		n    int
		what string
	}{{n.Other, "of other gems and apps"}, {n.Unsubscribed, "without a subscription"}, {n.Unreadable, "that can't be read"}} {
		if l.n > 0 {
			left = append(left, fmt.Sprintf("%s %s", ui.Count(l.n), l.what))
		}
	}
	if len(left) > 0 {
		c.out.Say("\nLeft in Sidekiq: %s", strings.Join(left, ", "))
	}
}

type importPlace struct {
	name string
	sidekiq.Count
}

func importPlaces(n sidekiq.Counts) []importPlace {
	return []importPlace{{"waiting", n.Waiting}, {"scheduled", n.Scheduled}, {"retrying", n.Retrying}, {"dead", n.Dead}}
}

type importJSON struct {
	DryRun        bool                       `json:"dry_run"`
	Store         string                     `json:"store"`
	Moved         int                        `json:"moved"`
	Jobs          map[string]importCountJSON `json:"jobs"`
	Subscriptions map[string]string          `json:"subscriptions"`
	Left          importLeftJSON             `json:"left"`
	// Elsewhere has the jobs in other namespaces of redis-namespace.
	Elsewhere map[string]int `json:"elsewhere,omitempty"`
}

type importCountJSON struct {
	FanOut  int `json:"fanout"`
	Deliver int `json:"deliver"`
	Handle  int `json:"handle"`
}

type importLeftJSON struct {
	Other        int `json:"other"`
	Unsubscribed int `json:"unsubscribed"`
	Unreadable   int `json:"unreadable"`
}

func asImportJSON(o *sidekiqImport, n sidekiq.Counts, elsewhere map[string]int) importJSON {
	out := importJSON{
		DryRun: o.dryRun, Store: anyengine.Redact(o.store), Moved: n.Moved(), Jobs: map[string]importCountJSON{},
		Subscriptions: o.used, Left: importLeftJSON{n.Other, n.Unsubscribed, n.Unreadable}, Elsewhere: elsewhere,
	}
	for _, p := range importPlaces(n) {
		out.Jobs[p.name] = importCountJSON(p.Count)
	}
	return out
}
