package main

import (
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/watermarkchurch/toot-go/internal/ui"
)

// The groups in which toot help lists the commands.
const (
	groupEvents  = "events"
	groupOperate = "operate"
)

// maxHelpWidth is how wide help gets: longer lines are hard to read.
const maxHelpWidth = 100

const usageTemplate = `{{heading "Usage:"}}
  {{if .HasAvailableSubCommands}}{{.CommandPath}} COMMAND{{else}}{{.UseLine}}{{end}}
{{if .HasExample}}
{{heading "Examples:"}}
{{.Example}}
{{end}}{{$all := .Commands}}{{range $group := .Groups}}
{{heading $group.Title}}
{{range $all}}{{if and (eq .GroupID $group.ID) .IsAvailableCommand}}{{entry . $all}}{{end}}{{end}}{{end}}{{if .HasAvailableSubCommands}}
{{if .Groups}}{{heading "And:"}}{{else}}{{heading "Commands:"}}{{end}}
{{range $all}}{{if and (eq .GroupID "") (or .IsAvailableCommand (eq .Name "help"))}}{{entry . $all}}{{end}}{{end}}{{end}}{{if .HasAvailableLocalFlags}}
{{heading "Flags:"}}
{{flags .LocalFlags}}{{end}}{{if .HasAvailableInheritedFlags}}
{{heading "Global flags:"}}
{{flags .InheritedFlags}}{{end}}{{if .HasAvailableSubCommands}}
{{.CommandPath}} COMMAND --help tells more about a command.
{{end}}`

// beautify has help fit the terminal.
func (c *command) beautify(root *cobra.Command) {
	width := min(c.out.Width(), maxHelpWidth)
	cobra.AddTemplateFunc("heading", func(text string) string { return c.out.Paint(ui.Bold, text) })
	cobra.AddTemplateFunc("flags", func(flags *pflag.FlagSet) string { return named(flags).FlagUsagesWrapped(width) })
	cobra.AddTemplateFunc("entry", func(cmd *cobra.Command, all []*cobra.Command) string {
		longest := 0
		for _, other := range all {
			longest = max(longest, len(other.Name()))
		}
		indent := 2 + longest + 3
		return "  " + c.out.Paint(ui.Cyan, cmd.Name()) + strings.Repeat(" ", longest-len(cmd.Name())+3) +
			ui.Wrap(cmd.Short, width-indent, strings.Repeat(" ", indent)) + "\n"
	})
	cobra.AddTemplateFunc("text", func(text string) string { return ui.Reflow(text, width) })
	root.SetUsageTemplate(usageTemplate)
	root.SetHelpTemplate(`{{with (or .Long .Short)}}{{text .}}

{{end}}{{if or .Runnable .HasSubCommands}}{{.UsageString}}{{end}}`)
	root.AddGroup(&cobra.Group{ID: groupEvents, Title: "Events:"}, &cobra.Group{ID: groupOperate, Title: "Looking after a store:"})
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "serve", "publish", "listen", "subscribe", "unsubscribe", "subscriptions":
			cmd.GroupID = groupEvents
		case "stats", "dead", "auth", "config", "import-sidekiq":
			cmd.GroupID = groupOperate
		}
	}
}

// valueNames are what help calls the values of flags, where "string" or "int"
// would tell less.
var valueNames = map[string]string{
	"store": "STORE", "listen": "ADDRESS", "config": "FILE", "dir": "FOLDER", "exec": "COMMAND",
	"publisher": "URL", "callback-url": "URL", "public-url": "URL", "forward": "URL", "url": "URL", "redis": "URL", "otlp-endpoint": "URL",
	"channel": "CHANNEL", "channel-prefix": "PREFIX", "subscription": "CHANNEL=NAME", "queue": "QUEUE", "lane": "LANE", "kind": "KIND", "reason": "TEXT",
	"token": "TOKEN", "key": "KEY", "publish-auth": "CREDENTIALS", "subscriptions-auth": "CREDENTIALS", "metrics-auth": "CREDENTIALS",
	"count": "N", "events": "N", "limit": "N", "max-event-bytes": "N", "max-retries": "N", "max-deliveries": "N", "max-deliveries-per-url": "N",
	"max-rate-per-url": "N", "dead-max": "N",
	"request-timeout": "TIME", "drain-timeout": "TIME", "dedupe": "TIME", "dead-age": "TIME", "interval": "TIME", "since": "WHEN", "until": "WHEN",
	"log-format": "FORMAT", "log-level": "LEVEL",
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
		"store": {"sqlite:", "redis://"}, // to go on from
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
