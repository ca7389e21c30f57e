package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
)

// The groups in which toot help lists the commands.
const (
	groupEvents  = "events"
	groupOperate = "operate"
)

// maxHelpWidth is how wide help gets: longer lines are hard to read.
const maxHelpWidth = 100

// beautify has help fit the terminal. It is written by hand, not made of cobra's
// templates: package text/template would add a half to the size of the binary.
func (c *command) beautify(root *cobra.Command) {
	root.SetUsageFunc(func(cmd *cobra.Command) error {
		c.usage(cmd)
		return nil
	})
	root.SetHelpFunc(func(cmd *cobra.Command, _ []string) {
		fmt.Fprintf(c.out, "%s\n\n", ui.Reflow(cmp.Or(cmd.Long, cmd.Short), c.helpWidth()))
		c.usage(cmd)
	})
	root.AddGroup(&cobra.Group{ID: groupEvents, Title: "Events:"}, &cobra.Group{ID: groupOperate, Title: "Looking after a store:"})
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "serve", "publish", "listen", "subscribe", "unsubscribe", "subscriptions":
			cmd.GroupID = groupEvents
		case "stats", "dead", "unhandled", "auth", "config", "import-sidekiq":
			cmd.GroupID = groupOperate
		}
	}
}

func (c *command) helpWidth() int { return min(c.out.Width(), maxHelpWidth) }

// usage tells how a command is used.
func (c *command) usage(cmd *cobra.Command) {
	section := func(title, text string) {
		if text != "" {
			fmt.Fprintf(c.out, "%s\n%s\n", c.out.Paint(ui.Bold, title), strings.TrimRight(text, "\n")+"\n")
		}
	}
	line := cmd.UseLine()
	if cmd.HasAvailableSubCommands() {
		line = cmd.CommandPath() + " COMMAND"
	}
	section("Usage:", "  "+line)
	section("Examples:", cmd.Example)
	for _, g := range cmd.Groups() {
		section(g.Title, c.entries(cmd, g.ID))
	}
	title := "Commands:"
	if len(cmd.Groups()) > 0 {
		title = "And:"
	}
	section(title, c.entries(cmd, ""))
	section("Flags:", named(cmd.LocalFlags()).FlagUsagesWrapped(c.helpWidth()))
	section("Global flags:", named(cmd.InheritedFlags()).FlagUsagesWrapped(c.helpWidth()))
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(c.out, "%s COMMAND --help tells more about a command.\n", cmd.CommandPath())
	}
}

// entries lists the commands of a group.
func (c *command) entries(cmd *cobra.Command, group string) string {
	longest := 0
	for _, sub := range cmd.Commands() {
		longest = max(longest, len(sub.Name()))
	}
	indent := 2 + longest + 3
	var b strings.Builder
	for _, sub := range cmd.Commands() {
		if sub.GroupID == group && (sub.IsAvailableCommand() || sub.Name() == "help") {
			b.WriteString("  " + c.out.Paint(ui.Cyan, sub.Name()) + strings.Repeat(" ", indent-2-len(sub.Name())) +
				ui.Wrap(sub.Short, c.helpWidth()-indent, strings.Repeat(" ", indent)) + "\n")
		}
	}
	return b.String()
}

// valueNames are what help calls the values of flags, where "string" or "int"
// would tell less.
var valueNames = map[string]string{
	"store": "STORE", "listen": "ADDRESS", "config": "FILE", "dir": "FOLDER", "exec": "COMMAND",
	"publisher": "URL", "signing-secret-file": "FILE", "callback-url": "URL", "public-url": "URL", "forward": "URL", "url": "URL", "redis": "URL", "otlp-endpoint": "URL",
	"channel": "CHANNEL", "channel-prefix": "PREFIX", "subscription": "CHANNEL=NAME", "queue": "QUEUE", "lane": "LANE", "kind": "KIND", "reason": "TEXT",
	"token": "TOKEN", "key": "KEY", "publish-auth": "CREDENTIALS", "subscriptions-auth": "CREDENTIALS", "metrics-auth": "CREDENTIALS",
	"count": "N", "events": "N", "limit": "N", "max-event-bytes": "N", "max-intake-bytes": "N", "max-retries": "N", "max-deliveries": "N", "max-deliveries-per-url": "N", "max-deliveries-per-host": "N",
	"max-rate-per-url": "N", "dead-max": "N", "max-connections": "N", "allow-host": "HOSTS", "allow-callback": "WHERE",
	"read-timeout": "TIME", "write-timeout": "TIME", "registration-lease": "TIME", "subscription-prefixes": "PREFIXES", "prefix": "PREFIX",
	"request-timeout": "TIME", "drain-timeout": "TIME", "dedupe": "TIME", "dead-age": "TIME", "interval": "TIME", "since": "WHEN", "until": "WHEN",
	"log-format": "FORMAT", "log-level": "LEVEL", "baggage-hosts": "HOSTS",
}

// named returns flags whose values have names.
func named(flags *pflag.FlagSet) *pflag.FlagSet {
	with := pflag.NewFlagSet("", pflag.ContinueOnError)
	with.SortFlags = flags.SortFlags
	flags.VisitAll(func(f *pflag.Flag) {
		shown := *f
		if name := valueNames[f.Name]; name != "" {
			shown.Value = namedValue{f.Value, name}
			shown.DefValue = strings.TrimSuffix(strings.TrimPrefix(f.DefValue, "["), "]") // of lists
		}
		with.AddFlag(&shown)
	})
	return with
}

type namedValue struct {
	pflag.Value
	name string
}

func (v namedValue) Type() string { return v.name }

// complete says what shells may offer for the values of flags: files only
// where one is meant.
func complete(root *cobra.Command) {
	root.CompletionOptions.SetDefaultShellCompDirective(cobra.ShellCompDirectiveNoFileComp)
	words := map[string][]string{
		"kind": {"deliver", "handle"}, "log-format": {"text", "json"}, "log-level": {"debug", "info", "warn", "error"},
		"dialect": {"postgres", "mysql", "sqlite"},
		"store":   {"sqlite:", "redis://"}, // to go on from
	}
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		offer := func(f *pflag.Flag) {
			var err error
			switch {
			case f.Name == "config":
				err = cmd.MarkFlagFilename(f.Name, "yaml", "yml")
			case f.Name == "dir":
				err = cmd.MarkFlagDirname(f.Name)
			case words[f.Name] != nil:
				then := cobra.ShellCompDirectiveNoFileComp
				if f.Name == "store" {
					then |= cobra.ShellCompDirectiveNoSpace
				}
				err = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(words[f.Name], then))
			}
			if err != nil {
				panic(err) // a flag is registered twice
			}
		}
		cmd.LocalNonPersistentFlags().VisitAll(offer)
		cmd.PersistentFlags().VisitAll(offer)
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(root)
}

// advise makes an error of what cobra did not understand say what to do.
func advise(cmd *cobra.Command, err error) string {
	text, suggestions, _ := strings.Cut(err.Error(), "\n")
	if _, names, ok := strings.Cut(suggestions, "Did you mean this?"); ok {
		return text + ": did you mean " + strings.Join(strings.Fields(names), " or ") + "?"
	}
	if strings.Contains(text, "--help") {
		return text
	}
	return text + ": see " + cmd.CommandPath() + " --help"
}
