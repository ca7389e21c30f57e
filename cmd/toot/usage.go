package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/watermarkchurch/toot-go/cmd/toot/internal/ui"
)

// usageError is an error in what was asked for.
type usageError struct{ error }

func (e *usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error {
	return &usageError{fmt.Errorf(format, args...)}
}

// arguments wants at least and at most so many arguments, which the command's
// usage line names; most may be negative, for any number.
func arguments(least, most int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		n := len(args)
		if n >= least && (n <= most || most < 0) {
			return nil
		}
		if most == 0 {
			return seeHelp(cmd, fmt.Sprintf("%s takes no argument, but got %q", cmd.CommandPath(), args[0]))
		}
		got := "none was given"
		if n > 0 {
			got = ui.Plural(n, "argument") + " came"
		}
		_, names, _ := strings.Cut(cmd.Use, " ")
		return seeHelp(cmd, fmt.Sprintf("%s takes the arguments %s, but %s", cmd.CommandPath(), names, got))
	}
}

// noSuchCommand is for commands that only have others below them.
func noSuchCommand(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	text := fmt.Sprintf("there is no command %q", cmd.CommandPath()+" "+args[0])
	cmd.SuggestionsMinimumDistance = 2
	if names := cmd.SuggestionsFor(args[0]); len(names) > 0 {
		return usagef("%s: did you mean %s?", text, strings.Join(names, " or "))
	}
	return seeHelp(cmd, text)
}

// wrongFlag says what is wrong with a flag.
func wrongFlag(cmd *cobra.Command, err error) error {
	var (
		unknown *pflag.NotExistError
		empty   *pflag.ValueRequiredError
		invalid *pflag.InvalidValueError
	)
	switch {
	case errors.As(err, &unknown):
		name := "--" + unknown.GetSpecifiedName()
		if unknown.GetSpecifiedShortnames() != "" {
			name = name[1:]
		}
		return seeHelp(cmd, fmt.Sprintf("%s has no flag %s", cmd.CommandPath(), name))
	case errors.As(err, &empty):
		f := empty.GetFlag()
		return seeHelp(cmd, fmt.Sprintf("--%s needs a value: --%s %s", f.Name, f.Name, valueName(f)))
	case errors.As(err, &invalid):
		f := invalid.GetFlag()
		return seeHelp(cmd, fmt.Sprintf("--%s: %q is not %s", f.Name, invalid.GetValue(), wantedBy(f)))
	}
	return seeHelp(cmd, err.Error())
}

// wantedBy says what a flag's value has to be.
func wantedBy(f *pflag.Flag) string {
	switch f.Value.Type() {
	case "int":
		return "a whole number"
	case "bool":
		return "true or false"
	case "duration":
		return "a duration such as 500ms, 15s or 2h"
	}
	return "a " + f.Value.Type()
}

// seeHelp is a usageError that says where there is help.
func seeHelp(cmd *cobra.Command, text string) error {
	return usagef("%s: see %s --help", text, cmd.CommandPath())
}
