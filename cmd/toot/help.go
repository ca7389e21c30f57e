package main

import (
	"cmp"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

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
	root.SetHelpCommand(helpCommand(root))
	root.AddGroup(&cobra.Group{ID: groupEvents, Title: "Events:"}, &cobra.Group{ID: groupOperate, Title: "Looking after a store:"})
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "serve", "publish", "listen", "subscribe", "unsubscribe", "subscriptions":
			cmd.GroupID = groupEvents
		case "stats", "dead", "unhandled", "auth", "config", "store", "import-sidekiq":
			cmd.GroupID = groupOperate
		}
	}
}

// helpCommand is toot help. Unlike cobra's, it fails on what is no command.
func helpCommand(root *cobra.Command) *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]…",
		Short:   "Show how a command is used",
		Example: "  toot help dead redrive",
		ValidArgsFunction: func(_ *cobra.Command, args []string, begun string) ([]string, cobra.ShellCompDirective) {
			var names []string
			if cmd, rest, err := root.Find(args); err == nil && len(rest) == 0 {
				for _, sub := range cmd.Commands() {
					if sub.IsAvailableCommand() && strings.HasPrefix(sub.Name(), begun) {
						names = append(names, cobra.CompletionWithDesc(sub.Name(), sub.Short))
					}
				}
			}
			return names, cobra.ShellCompDirectiveNoFileComp
		},
		RunE: func(_ *cobra.Command, args []string) error {
			cmd, rest, err := root.Find(args)
			if err == nil {
				err = noSuchCommand(cmd, rest)
			}
			if err != nil {
				return err
			}
			cmd.InitDefaultHelpFlag() // so that it is listed
			return cmd.Help()
		},
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
		title = "Other commands:"
	}
	section(title, c.entries(cmd, ""))
	section("Flags:", c.flagUsages(cmd.LocalFlags()))
	section("Global flags:", c.flagUsages(cmd.InheritedFlags()))
	if cmd.HasAvailableSubCommands() {
		fmt.Fprintf(c.out, "%s COMMAND --help shows how a command is used.\n", cmd.CommandPath())
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
