package main

import (
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

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
			case f.Name == "signing-secret-file":
				err = cmd.RegisterFlagCompletionFunc(f.Name, cobra.FixedCompletions(nil, cobra.ShellCompDirectiveDefault)) // any file
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
	completionCommand(root)
}

// completionCommand gives cobra's own command the words of the others.
func completionCommand(root *cobra.Command) {
	root.InitDefaultCompletionCmd()
	cmd, _, err := root.Find([]string{"completion"})
	if err != nil {
		panic(err) // cobra adds it to every command with others below
	}
	cmd.Short = "Print a script that makes a shell complete toot's commands"
	cmd.Long = "Prints a script that makes a shell complete toot's commands and flags. The help of\neach of these commands says where the script goes."
	cmd.Example = "  source <(toot completion bash)\n  toot completion fish > ~/.config/fish/completions/toot.fish"
	cmd.Args = noSuchCommand
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
	for _, shell := range cmd.Commands() {
		shell.Args = arguments(0, 0)
		shell.Short = "Print the script for " + shell.Name()
	}
}
